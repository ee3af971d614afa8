"""The metrics, family by family: what each is, and the functions that compute a family at once."""
