"""The training loop and what it works with. Import from the modules: all of them need torch."""
