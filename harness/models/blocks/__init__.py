"""What several networks are made of. A file of this package is part of the hash of every network that imports it."""
