"""Read-only questions that answer with findings, and the verdict made of them."""
