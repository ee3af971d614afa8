"""Whether a copy of a data set is sound: everything that `bench check-data` looks for, each finding in a line."""

from harness.datasets.checkup.findings import Finding
from harness.datasets.checkup.lists import check_lists
from harness.datasets.checkup.sample import look
from harness.datasets.checkup.void import check_void
from harness.datasets.checkup.whole import Checkup, check

__all__ = ["Checkup", "Finding", "check", "check_lists", "check_void", "look"]
