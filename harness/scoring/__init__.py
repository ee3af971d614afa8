"""From networks and label maps to scores."""
