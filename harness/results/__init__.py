"""The results database: the truth about what was done and what came out."""

from harness.results.opening import network_file_system, open_existing, open_store
from harness.results.rows import Submission
from harness.results.store import ClaimLost, Store, beside

__all__ = ["ClaimLost", "Store", "Submission", "beside", "network_file_system", "open_existing", "open_store"]
