"""The databases of two labs, joined."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from pathlib import Path

import pytest

from harness.results import Store, open_store
from harness.results.check import check_database
from harness.results.merge import Merged, list_merges, merge, merge_source, undo_merge
from harness.tasks.artifacts import Artifacts
from leaderboard.queries.load import load_curves, load_gallery, load_runs
from tests.conftest import TINY, rows, run_bench


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
    evaluations = f"(select id from evaluations where run_id in {chosen})"
    return (
        *(f"delete from {t} where evaluation_id in {evaluations}" for t in ("scores", "image_scores")),
        f"delete from evaluations where run_id in {chosen}",
        *(
            f"delete from {t} where run_id in {chosen}"
            for t in ("curves", "artifacts", "gallery_predictions", "suite_entries")
        ),
        f"delete from runs where {run}",
    )


def joined(ours: Path, theirs: Path) -> tuple[Merged, Store]:
    store = open_store(str(ours))
    return merge(store, str(theirs)), store


def with_figures_of(path: Path, run: int, other: int) -> None:
    """Let a run have the statistics and scores of another one, as if it had been trained to something else."""
    connection = sqlite3.connect(path)
    for split in ("val", "test"):
        query = "select id from evaluations where run_id = ? and split = ?"
        (here,), (there,) = (connection.execute(query, (n, split)).fetchone() for n in (run, other))
        copied = "(statistics, loss, n_images) = (select statistics, loss, n_images from evaluations where id = ?)"
        connection.execute(f"update evaluations set {copied} where id = ?", (there, here))
        connection.execute("delete from scores where evaluation_id = ?", (here,))
        connection.execute(
            "insert into scores select ?, metric, class_index, value from scores where evaluation_id = ?", (here, there)
        )
        connection.execute("delete from image_scores where evaluation_id = ?", (here,))
        connection.execute(
            "insert into image_scores select ?, metric, figures from image_scores where evaluation_id = ?",
            (here, there),
        )
    connection.commit()
    connection.close()


def content(path: Path) -> dict[str, list[object]]:
    """Every row of every table, but what merges themselves leave behind; and every file of the artifacts."""
    connection = sqlite3.connect(path)
    tables = [n for (n,) in connection.execute("select name from sqlite_master where type = 'table'") if n != "merges"]
    found: dict[str, list[object]] = {t: sorted(connection.execute(f"select * from {t}"), key=repr) for t in tables}
    connection.close()
    place = path.with_suffix(".artifacts")
    files = sorted(p for p in place.rglob("*") if p.is_file()) if place.exists() else []
    return found | {"files": [(str(p.relative_to(place)), p.read_bytes()) for p in files]}


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
    assert (again.added, again.same, again.number) == (0, 6, None), "nothing was changed: nothing to undo"
    assert [m.counts["added"] for m in list_merges(store)] == [4]


@pytest.mark.slow
def test_contradictions_are_named_and_ours_are_kept(finished: Path, tmp_path: Path) -> None:
    here = lab(finished, tmp_path / "here", "update runs set state = 'failed', reason = 'x' where id = 3")
    there = lab(
        finished,
        tmp_path / "there",
        f"update artifacts set sha256 = '{'0' * 64}' where run_id = 2 and split = 'val'",
        "update runs set state = 'interrupted' where id = 4",
    )
    with_figures_of(there, 1, 5)
    before = figures(open_store(str(here), read_only=True))
    done = run_bench("merge", there, "--db", here, cwd=tmp_path, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "0 runs added, 1 that had not been done here, 6 in both" in done.stdout
    assert "1 unfinished ones were left out" in done.stdout
    conflicts = [line for line in done.stdout.splitlines() if line.startswith("conflict: ")]
    assert len(conflicts) == 3, "a figure of each split, and label maps"
    assert any(" on val is " in line and line.endswith(" there") for line in conflicts)
    assert any("predicted other label maps for val" in line for line in conflicts)
    after = figures(open_store(str(here), read_only=True))
    assert sum(after[key] != before[key] for key in before) == 1, "only the failed run was replaced"
    assert all(state == "ok" for _, state in after.values())


def test_a_database_is_not_merged_with_itself(finished: Path, tmp_path: Path) -> None:
    shutil.copyfile(finished, tmp_path / "results.db")
    done = run_bench("merge", "results.db", cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "is the same database" in done.stderr


@pytest.mark.slow
@pytest.mark.long
def test_runs_come_into_postgresql(finished: Path, postgres_url: str, tmp_path: Path) -> None:
    store, other = open_store(postgres_url), open_store(str(finished), read_only=True)
    store.keep_artifacts_at(Artifacts(tmp_path / "artifacts"))
    result = merge(store, str(finished))
    assert (result.added, result.without_label_maps) == (8, 0)
    assert figures(store) == figures(other)
    assert list(check_database(store, store.artifacts)) == []
    # And out of it again.
    back = open_store(str(tmp_path / "back.db"))
    again = merge(back, postgres_url, artifacts_from=store.artifacts)
    assert (again.added, again.without_label_maps, again.refused) == (8, 0, [])
    assert figures(back) == figures(other)
    assert list(check_database(back, back.artifacts)) == []
    assert undo_merge(store, 1) == (8, 0)
    assert figures(store) == {}
    assert not list((tmp_path / "artifacts").rglob("*.png"))
    for one in (store, back):
        one.close()
    other.engine.dispose()


def test_a_merge_is_undone_and_nothing_of_it_is_left(finished: Path, tmp_path: Path) -> None:
    here = lab(finished, tmp_path / "here", *forget("seed = 1"), "update runs set state = 'failed' where id = 1")
    for path in (tmp_path / "here").glob("results.artifacts/*"):
        if path.name not in {f[:16] for (f,) in rows(here, "select fingerprint from runs")}:
            shutil.rmtree(path)
    there = lab(finished, tmp_path / "there")
    before = content(here)
    result, store = joined(here, there)
    assert (result.number, result.added, result.replaced, result.refused) == (1, 4, 1, [])
    ((sha256, source),) = rows(here, "select sha256, source from merges")
    assert (sha256, source) == (hashlib.sha256(there.read_bytes()).hexdigest(), "results.db")
    (one, *_) = rows(here, "select merge_id from runs where id = 1")
    assert f"merge 1 from results.db (sha256 {sha256}" in str(merge_source(store, one[0]))
    told = run_bench("why", "1", "--db", here, cwd=tmp_path).stdout
    assert "merge 1 from results.db" in told
    assert undo_merge(store, 1) == (4, 1)
    store.close()
    assert content(here) == before
    listed = run_bench("merge", "--list", "--db", here, cwd=tmp_path).stdout
    assert "results.db" in listed
    twice = run_bench("merge", "--undo", "1", "--db", here, cwd=tmp_path, check=False)
    assert (twice.returncode, "was undone on" in twice.stderr) == (2, True)


@pytest.mark.slow
@pytest.mark.long
def test_another_protocol_comes_with_its_scores_and_is_undone_alone(finished: Path, tmp_path: Path) -> None:
    here, there = lab(finished, tmp_path / "here"), lab(finished, tmp_path / "there")
    (tmp_path / "data").symlink_to(finished.parent / "data")
    words = ("run", "--suite", TINY, "--set", "grid.lr=[1e-2, 2e-2]", "--set", "protocol={name: wide, bf_tolerance: 3}")
    run_bench(*words, "--local", "--models", "U-Net", "--db", there, cwd=tmp_path)
    before = content(here)
    result, store = joined(here, there)
    assert (result.added, result.same, result.scored, result.conflicts) == (0, 8, 8, []), result
    assert list(check_database(store, None)) == []
    assert {r.protocol_name for r in load_runs(store)} == {"standard", "wide"}
    assert undo_merge(store, 1) == (0, 0)
    store.close()
    assert content(here) == before


def test_what_was_withdrawn_there_is_withdrawn_here(finished: Path, tmp_path: Path) -> None:
    said = "insert into withdrawals (run_id, action, why, who, at, replaced_by) values"
    when = "'2026-01-01T00:00:00+00:00'"
    here = lab(finished, tmp_path / "here", *forget("seed = 1"))
    there = lab(
        finished,
        tmp_path / "there",
        f"{said} (2, 'withdrawn', 'wrong masks', 'me', {when}, 4)",
        f"{said} (1, 'withdrawn', 'not yours to say', 'me', {when}, null)",
    )
    (other,) = (f for (f,) in rows(there, "select fingerprint from runs where id = 4"))
    joined(here, there)[1].close()
    query = "select why, r.seed, c.fingerprint from withdrawals join runs r on r.id = run_id "
    found = rows(here, query + "left join runs c on c.id = replaced_by")
    assert found == [("wrong masks", 1, other)]
