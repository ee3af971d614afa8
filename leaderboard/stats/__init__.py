"""Statistics of boards: over repetitions with other seeds, and over the scored images."""
