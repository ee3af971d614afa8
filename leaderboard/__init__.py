"""The show room: reads the results database, never writes it."""
