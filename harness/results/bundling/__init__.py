"""What a reviewer gets: `part` is a suite's part of a database, `write` the archive; `unpack` and `verify` read it."""
