"""What the pages show, as plain data: the app and the static site draw the same. Pure functions; nothing here draws."""
