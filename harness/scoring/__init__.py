"""From networks to label maps, and from those to scores. Import from the modules: some of them need torch."""
