"""segbench as a library: plan and run suites, score label maps, and read results.

Names are imported when they are first used: `import harness` loads neither torch nor Ray. docs/python.md shows a study
from its first line to its table.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from harness.utils.version import __version__

if TYPE_CHECKING:
    from harness.config.load import load_suite
    from harness.config.suite import Suite
    from harness.errors import (
        ArtifactsError,
        BenchError,
        ClusterError,
        DatabaseError,
        DataError,
        PluginError,
        SuiteError,
        UnknownName,
        WeightsError,
    )
    from harness.metrics import Evaluator, Protocol
    from harness.results.frames import Results, load_results
    from harness.results.opening import open_results
    from harness.results.score import Ranked, score
    from harness.runner import Outcome, Plan, RunOptions, Watcher
    from harness.runner.suite_run import plan, run

__all__ = [
    "ArtifactsError",
    "BenchError",
    "ClusterError",
    "DataError",
    "DatabaseError",
    "Evaluator",
    "Outcome",
    "Plan",
    "PluginError",
    "Protocol",
    "Ranked",
    "Results",
    "RunOptions",
    "Suite",
    "SuiteError",
    "UnknownName",
    "Watcher",
    "WeightsError",
    "__version__",
    "load_results",
    "load_suite",
    "open_results",
    "plan",
    "run",
    "score",
]

# The module of each name.
_HOMES = {
    "harness.config.load": ("load_suite",),
    "harness.config.suite": ("Suite",),
    "harness.metrics": ("Evaluator", "Protocol"),
    "harness.results.frames": ("Results", "load_results"),
    "harness.results.opening": ("open_results",),
    "harness.results.score": ("Ranked", "score"),
    "harness.runner": ("Outcome", "Plan", "RunOptions", "Watcher"),
    "harness.runner.suite_run": ("plan", "run"),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'harness' has no attribute {name!r}")
    home = next((module for module, names in _HOMES.items() if name in names), "harness.errors")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
