"""The databases of two labs, joined."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from harness.results import Store, open_store
from harness.results.check import check_database
from harness.results.merge import Merged, merge
from harness.tasks.artifacts import Artifacts
from leaderboard.queries import load_curves, load_gallery, load_runs
from tests.conftest import run_bench


def lab(finished: Path, folder: Path, *statements: str) -> Path:
    """A copy of the finished database with its artifacts, changed by SQL."""
    folder.mkdir()
    shutil.copyfile(finished, folder / "results.db")
    shutil.copytree(finished.with_suffix(".artifacts"), folder / "results.artifacts")
    connection = sqlite3.connect(folder / "results.db")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()
    return folder / "results.db"


def forget(run: str) -> tuple[str, ...]:
    """Statements that remove runs."""
    chosen = f"(select id from runs where {run})"
    return (
        f"delete from scores where evaluation_id in (select id from evaluations where run_id in {chosen})",
        f"delete from evaluations where run_id in {chosen}",
        *(
            f"delete from {t} where run_id in {chosen}"
            for t in ("curves", "artifacts", "gallery_predictions", "suite_entries")
        ),
        f"delete from runs where {run}",
    )


def joined(ours: Path, theirs: Path) -> tuple[Merged, Store]:
    store, other = open_store(str(ours)), open_store(str(theirs), read_only=True)
    result = merge(store, other, store.artifacts, other.artifacts)
    other.close()
    return result, store


def figures(store: Store) -> dict[tuple[str, int, str], object]:
    return {(r.model, r.seed, str(r.grid)): (r.test, r.state) for r in load_runs(store)}


@pytest.mark.slow
@pytest.mark.long
def test_what_two_labs_trained_is_joined_once(finished: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    here = lab(finished, tmp_path / "here", *forget("seed = 1"))
    there = lab(finished, tmp_path / "there", *forget("seed = 0 and model = 'FCN'"))
    for path in (tmp_path / "here").glob("results.artifacts/*"):
        connection = sqlite3.connect(here)
        known = {f[:16] for (f,) in connection.execute("select fingerprint from runs")}
        connection.close()
        if path.name not in known:
            shutil.rmtree(path)
    result, store = joined(here, there)
    assert (result.added, result.same, result.replaced, result.conflicts) == (4, 2, 0, [])
    whole = open_store(str(finished), read_only=True)
    request.addfinalizer(whole.engine.dispose)
    assert figures(store) == figures(whole)
    assert list(check_database(store, store.artifacts)) == []
    ids = [r.run_id for r in load_runs(store)]
    assert len(load_curves(store, ids)) == len(load_curves(whole, [r.run_id for r in load_runs(whole)]))
    manifest = load_runs(store)[0].data.test_manifest
    assert len(load_gallery(store, manifest, ids)[0].predictions) == 8
    again, _ = joined(here, there)
    assert (again.added, again.same) == (0, 6)


@pytest.mark.slow
def test_contradictions_are_named_and_ours_are_kept(finished: Path, tmp_path: Path) -> None:
    here = lab(finished, tmp_path / "here", "update runs set state = 'failed', reason = 'x' where id = 3")
    there = lab(
        finished,
        tmp_path / "there",
        "update scores set value = 0.5 where metric = 'miou' and evaluation_id in "
        "(select id from evaluations where run_id = 1 and split = 'test')",
        "update artifacts set sha256 = 'other' where run_id = 2 and split = 'val'",
        "update runs set state = 'interrupted' where id = 4",
    )
    before = figures(open_store(str(here), read_only=True))
    done = run_bench("merge", there, "--db", here, cwd=tmp_path, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "0 runs added, 1 that had not been done here, 4 in both" in done.stdout
    assert "1 unfinished ones were left out" in done.stdout
    conflicts = [line for line in done.stdout.splitlines() if line.startswith("conflict: ")]
    assert len(conflicts) == 2
    assert any("miou on test is" in line and "0.5 there" in line for line in conflicts)
    assert any("predicted other label maps for val" in line for line in conflicts)
    after = figures(open_store(str(here), read_only=True))
    assert sum(after[key] != before[key] for key in before) == 1, "only the failed run was replaced"
    assert all(state == "ok" for _, state in after.values())


def test_a_database_is_not_merged_with_itself(finished: Path, tmp_path: Path) -> None:
    shutil.copyfile(finished, tmp_path / "results.db")
    done = run_bench("merge", "results.db", cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "is the same database" in done.stderr


def test_runs_come_into_postgresql(finished: Path, postgres_url: str, tmp_path: Path) -> None:
    store, other = open_store(postgres_url), open_store(str(finished), read_only=True)
    result = merge(store, other, Artifacts(tmp_path / "artifacts"), other.artifacts)
    assert result.added == 8
    assert figures(store) == figures(other)
    store.close()
    other.engine.dispose()
