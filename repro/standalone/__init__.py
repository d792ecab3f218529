"""The file that `export` writes, as a module: sections that a scenario does not need are cut out, its data is put in."""
