"""What is read from a results database: runs, their scores, images; what is not sound is told, and raises nothing."""
