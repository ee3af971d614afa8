"""Contracts as tests to inherit: for the project's own parts and for a stranger's."""

from harness.testing.models import ModelContract

__all__ = ["ModelContract"]
