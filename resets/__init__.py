"""Which reset for which state: safety table, ladder, preview, verification, journal. The mechanisms are the driver's."""
