"""Contracts as tests to inherit: for the project's own parts and for those of other packages."""

from harness.testing.datasets import DatasetContract
from harness.testing.models import ModelContract

__all__ = ["DatasetContract", "ModelContract"]
