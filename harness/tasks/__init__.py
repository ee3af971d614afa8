"""What is handed out, what comes back, and where a run's files are."""
