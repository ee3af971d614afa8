"""The results database: the truth about what was done and what came out."""

from harness.results.store import ClaimLost, Store, default_url, open_store

__all__ = ["ClaimLost", "Store", "default_url", "open_store"]
