"""Reports as tables, JSON and CSV; everything that comes from a machine is escaped here."""
