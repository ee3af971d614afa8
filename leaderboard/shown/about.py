"""One run, one model: where figures come from, how to get them again, and whom to cite."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from harness.datasets.registry import DATASETS
from harness.errors import BenchError
from harness.models.registry import find_model
from harness.results import Store
from harness.results.schema import Run
from leaderboard.boards.notes import ceiling_text
from leaderboard.queries.load import ScoredRun
from leaderboard.queries.sound import raw, reading
from leaderboard.shown.costs import hardware
from leaderboard.shown.text import lasting, on_day

Facts = list[tuple[str, str]]


def find_run(store: Store, asked: str) -> int | None:
    """The number of a run in this database.

    Args:
        store: the database.
        asked: the start of its fingerprint, as links name it, or its number.
    """
    with reading(store) as session:
        if re.fullmatch("[0-9a-f]{12,64}", asked):
            query = select(raw(Run.id)).where(Run.fingerprint.startswith(asked, autoescape=True)).limit(2)
            found = list(session.scalars(query))
            if len(found) == 1:
                return int(found[0])
        if re.fullmatch("[0-9]{1,12}", asked):
            one = session.scalars(select(raw(Run.id)).where(Run.id == int(asked))).first()
            return None if one is None else int(one)
    return None


def replay_command(run: ScoredRun, database: str) -> str:
    """The command that trains a run again from its record alone, and compares; empty for label maps from outside."""
    if run.scores_from == "label maps":
        return ""
    return shlex.join(["bench", "replay", str(run.run_id), "--db", database, "--data-dir", "DIR"])


def command(run: ScoredRun, config: Mapping[str, Any]) -> str:
    """The command that makes a run as part of its suite."""
    if run.scores_from == "label maps":
        return ""
    words = ["bench", "run", "--suite", run.suite]
    words += ["--models", run.model_name, "--datasets", run.data.name, "--seeds", str(run.seed)]
    for key, value in run.grid.items():
        text = f"{value:g}" if isinstance(value, float) else str(value)
        words += ["--set", f"{key}={text}"]
    if run.smoke:
        words.append("--smoke")
    needs = config.get("dataset")
    if isinstance(needs, Mapping) and run.data.name in DATASETS:
        words += ["--data-dir", "DIR"]
    return shlex.join(words)


def state_facts(run: ScoredRun) -> Facts:
    """How a run stands, in pairs."""
    progress = run.progress
    epoch = progress.get("selected_epoch")
    facts = [
        ("State", _state(run)),
        ("Data", f"{run.data.title or run.data.name} ({run.data.variant})"),
        ("Seed", str(run.seed)),
        ("Finished", on_day(run.finished)),
        ("Attempt", str(run.attempt)),
        ("Scored checkpoint", f"of epoch {epoch} of {progress.get('epochs', '?')}" if epoch else ""),
        ("Training took", lasting(_number(run.times.get("train"))) if run.times.get("train") else ""),
        ("On", hardware(run.provenance)),
        ("Pretrained on", _pretrained(run)),
        ("Ceiling", ceiling_text(run.ceiling) if run.ceiling else ""),
        ("Merged from", run.merged_from or ""),
    ]
    return [(name, text) for name, text in facts if text]


def _state(run: ScoredRun) -> str:
    if run.withdrawn:
        return f"withdrawn by {run.withdrawn.who}"
    if run.problem:
        return "stored, but not sound"
    return {"ok": "ended well", "oom": "out of memory", "timeout": "out of time"}.get(run.state, run.state)


def _pretrained(run: ScoredRun) -> str:
    if run.pretrained_on is None:
        return "not declared"
    return ", ".join(run.pretrained_on) or "nothing: from scratch"


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def environment_facts(run: ScoredRun) -> Facts:
    """The code, the packages and the machine of a run."""
    code = _mapping(run.provenance.get("code"))
    machine = _mapping(run.provenance.get("hardware"))
    packages = _mapping(run.provenance.get("packages"))
    changed = ", with local changes" if code.get("dirty") else ""
    facts = [
        (
            "segbench",
            f"{code.get('version', '?')}, commit {code.get('commit') or 'not known'}{changed}" if code else "",
        ),
        ("Packages", ", ".join(f"{name} {text}" for name, text in packages.items())),
        ("Machine", hardware(run.provenance)),
        ("Platform", str(machine.get("platform") or "")),
        ("Network's code", run.origin),
        ("Recipe", run.recipe),
        ("Fingerprint", run.fingerprint),
    ]
    return [(name, text) for name, text in facts if text]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def data_facts(name: str) -> Facts:
    """Whom to cite for a data set, its licence and where it comes from; nothing for one that is not known here."""
    if name not in DATASETS:
        return []
    info = DATASETS.get(name).info
    facts = [("Cite", info.citation), ("Licence", info.license), ("From", info.homepage)]
    return [(key, text) for key, text in facts if text]


def network_facts(run: ScoredRun) -> Facts:
    """What a network is, where it is known here."""
    facts = [("Network", run.model_name), ("Code", run.origin)]
    if run.params:
        facts.append(("Parameters", ", ".join(f"{key}={value}" for key, value in run.params.items())))
    try:
        entry = find_model(run.model_name) if run.origin == "built in" else None
    except BenchError:
        entry = None
    if entry is not None:
        facts += [("Paper", entry.paper), ("Licence", entry.license), ("In short", entry.summary)]
    return [(key, text) for key, text in facts if text]
