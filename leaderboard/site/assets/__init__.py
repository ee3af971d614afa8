"""Files of the static site."""
