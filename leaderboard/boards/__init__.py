"""Runs as boards: who is ranked with whom, which cell stands for a model, in which order."""
