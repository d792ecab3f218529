"""Words that everybody in gpumend shares; imports nothing else of ours."""
