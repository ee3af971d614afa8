"""The results database: the truth about what was done and what came out."""

from harness.results.store import (
    ClaimLost,
    Store,
    Submission,
    artifacts_folder,
    network_file_system,
    open_existing,
    open_store,
)

__all__ = ["ClaimLost", "Store", "Submission", "artifacts_folder", "network_file_system", "open_existing", "open_store"]
