"""Suite and recipe files, jobs and their fingerprints."""
