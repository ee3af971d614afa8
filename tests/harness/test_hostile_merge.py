"""Databases made to do harm, merged: each is refused in a line, and nothing of ours is changed."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.config.fingerprint import digest
from harness.errors import ArtifactsError, BenchError, DatabaseBusy, DatabaseError
from harness.metrics import Protocol, StatisticsTable, fold
from harness.metrics.columns import pack, unpack
from harness.metrics.protocol import EVALUATOR_VERSION
from harness.metrics.records import FORMAT_VERSION
from harness.results import open_store, opening
from harness.results.check import check_database
from harness.results.merge import Limits, Merged, merge, undo_merge
from harness.results.merging.label_maps import LabelMapSource, Staged
from harness.results.scored_as import copy_key
from harness.scoring.evaluate import write_checksums
from harness.scoring.keep import STATISTICS
from harness.tasks.artifacts import Artifacts
from tests.conftest import Shared, rows, run_bench
from tests.harness.test_merge import content, forget, lab

# Statistics that unpack to very many zeros.
BOMB = pack({"ids": np.zeros(20_000_000, dtype=np.int64)}, {"version": FORMAT_VERSION})


@pytest.fixture(scope="module")
def pattern(finished: Path, shared_once: Shared) -> Path:
    """A folder with two labs; read it, never write it."""

    def fill(folder: Path) -> None:
        for name, left_out in (("here", "id != 1"), ("there", "id not in (1, 2)")):
            path = lab(finished, folder / name, *forget(left_out), "pragma journal_mode = delete")
            change(path, "vacuum")
            known = {f[:16] for (f,) in rows(path, "select fingerprint from runs")}
            for run in path.with_suffix(".artifacts").iterdir():
                if run.name not in known:
                    shutil.rmtree(run)
                else:
                    for part in run.iterdir():
                        if part.name != "predictions":
                            shutil.rmtree(part) if part.is_dir() else part.unlink()

    return shared_once("two-labs", fill)


@pytest.fixture
def pair(pattern: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Ours with run 1; theirs with runs 1 and 2, their label maps beside them."""
    for name in ("here", "there"):
        shutil.copytree(pattern / name, tmp_path / name)
    return tmp_path / "here" / "results.db", tmp_path / "there" / "results.db"


def undone(here: Path, number: int) -> None:
    """Undo a merge."""
    store = open_store(str(here))
    undo_merge(store, number)
    store.close()


def names_below(folder: Path) -> list[Path]:
    """Everything there but what SQLite keeps beside a file while it is open."""
    return sorted(p for p in folder.rglob("*") if not p.name.endswith(("-shm", "-wal")))


def change(path: Path, *statements: str, values: tuple[Any, ...] = ()) -> None:
    """Change a database by SQL."""
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement, values)
    connection.commit()
    connection.close()


def joined(here: Path, there: Path, **options: Any) -> Merged:
    """Merge, and close."""
    store = open_store(str(here))
    try:
        return merge(store, str(there), **options)
    finally:
        store.close()


def refused_whole(here: Path, there: Path, why: str, **options: Any) -> None:
    """The merge is refused for this reason, and ours is as it was."""
    before = content(here)
    with pytest.raises(BenchError, match=why) as error:
        joined(here, there, **options)
    assert "\n" not in error.value.message
    assert content(here) == before
    assert rows(here, "select * from merges") == []


def refused_run(here: Path, there: Path, why: str, **options: Any) -> None:
    """Run 2 is refused for this reason, named, and ours is as it was."""
    before = content(here)
    result = joined(here, there, **options)
    assert (result.added, result.replaced, result.scored) == (0, 0, 0)
    (line,) = result.refused
    assert "run 2" in line
    assert why in line, line
    assert line.isprintable()
    assert content(here) == before


def files_of(there: Path, run: int = 2) -> Path:
    """The label maps of the test split of a run."""
    ((fingerprint,),) = rows(there, f"select fingerprint from runs where id = {run}")
    return there.with_suffix(".artifacts") / fingerprint[:16] / "predictions" / "test"


def claim(there: Path, folder: Path, run: int = 2) -> None:
    """Let the database name the checksums that stand in the folder."""
    listed = (folder / "SHA256SUMS").read_bytes()
    count = len([line for line in listed.split(b"\n") if line])
    change(
        there,
        f"update artifacts set sha256 = ?, files = ? where run_id = {run} and split = 'test'",
        values=(hashlib.sha256(listed).hexdigest(), count),
    )


# -- the honest one, so that the others fail for their own reason ------------------------------------------


def test_the_pair_is_joined_when_nobody_touches_it(pair: tuple[Path, Path]) -> None:
    here, there = pair
    result = joined(here, there)
    assert (result.added, result.same, result.refused, result.conflicts) == (1, 1, [], [])
    ceilings = [rows(here, f"select ceiling from evaluations where run_id = {n} and split = 'test'") for n in (1, 2)]
    assert ceilings[0] == ceilings[1] != [("{}",)], "one suite has one"
    store = open_store(str(here))
    assert list(check_database(store, store.artifacts)) == []
    store.close()


# -- paths and files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("fingerprint", ["../../victim", "/tmp/victim-of-a-merge", "0" * 64, "F" * 64, ""])
def test_a_fingerprint_is_no_path(pair: tuple[Path, Path], fingerprint: str) -> None:
    here, there = pair
    change(there, "update runs set fingerprint = ? where id = 2", values=(fingerprint,))
    victim = there.with_suffix(".artifacts") / fingerprint
    if not victim.exists() and fingerprint.startswith(".."):
        shutil.copytree(files_of(there, 1).parent, victim / "predictions")
    outside = names_below(here.parents[1])
    refused_run(here, there, "fingerprint")
    assert names_below(here.parents[1]) == outside
    assert not Path("/tmp/victim-of-a-merge").exists()


def _file_link(folder: Path, secret: Path) -> None:
    """To a file of the very content that the checksums name: it still is a link."""
    (first, *_) = sorted(folder.glob("*.png"))
    shutil.copy(first, secret / "key")
    first.unlink()
    first.symlink_to(secret / "key")


def _device(folder: Path, secret: Path) -> None:
    (first, *_) = sorted(folder.glob("*.png"))
    first.unlink()
    first.symlink_to("/dev/zero")


def _pipe(folder: Path, secret: Path) -> None:
    (first, *_) = sorted(folder.glob("*.png"))
    first.unlink()
    os.mkfifo(first)


def _split_link(folder: Path, secret: Path) -> None:
    shutil.move(folder, secret / "test")
    folder.symlink_to(secret / "test")


def _run_link(folder: Path, secret: Path) -> None:
    run = folder.parents[1]
    shutil.move(run, secret / "run")
    run.symlink_to(secret / "run")


def _list_link(folder: Path, secret: Path) -> None:
    shutil.move(folder / "SHA256SUMS", secret / "list")
    (folder / "SHA256SUMS").symlink_to(secret / "list")


def _other_content(folder: Path, secret: Path) -> None:
    (first, *_) = sorted(folder.glob("*.png"))
    first.write_bytes(first.read_bytes() + b"more")


def _missing(folder: Path, secret: Path) -> None:
    sorted(folder.glob("*.png"))[0].unlink()


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (_file_link, "no plain file"),
        (_device, "no plain file"),
        (_pipe, "no plain file"),
        (_split_link, "no plain folder"),
        (_run_link, "no plain folder"),
        (_list_link, "no plain file"),
        (_other_content, "SHA-256 differs"),
        (_missing, "missing"),
    ],
)
def test_only_plain_files_that_are_what_the_run_wrote_are_copied(
    pair: tuple[Path, Path], tmp_path: Path, harm: Callable[[Path, Path], None], why: str
) -> None:
    here, there = pair
    (tmp_path / "secret").mkdir()
    harm(files_of(there), tmp_path / "secret")
    refused_run(here, there, why)


@pytest.mark.parametrize(
    "name", ["../../../victim.png", "/tmp/victim.png", "a/../b.png", "key", "a\x1b.png", "x" * 300 + ".png"]
)
def test_what_a_list_of_checksums_names_has_to_be_a_label_map(pair: tuple[Path, Path], name: str) -> None:
    here, there = pair
    folder = files_of(there)
    with (folder / "SHA256SUMS").open("a") as file:
        file.write(f"{'0' * 64}  {name}\n")
    claim(there, folder)
    refused_run(here, there, "which is no label map")


def test_only_what_the_list_names_is_copied(pair: tuple[Path, Path]) -> None:
    here, there = pair
    (files_of(there) / "more.png").write_bytes(b"not named")
    (files_of(there).parents[1] / "checkpoints").mkdir(exist_ok=True)
    assert joined(here, there).added == 1
    ours = files_of(here, 2)
    assert ours.is_dir()
    assert not (ours / "more.png").exists()
    assert {p.name for p in ours.parents[1].iterdir()} == {"predictions"}


def test_label_maps_and_statistics_beside_them_have_a_limit(pair: tuple[Path, Path]) -> None:
    here, there = pair
    refused_run(here, there, "is too large", limits=Limits(split_bytes=1000))
    refused_run(here, there, "files, the database says", limits=Limits(label_map_files=3))
    (files_of(there) / STATISTICS).write_bytes(BOMB)
    (files_of(there) / "SHA256SUMS").unlink()
    write_checksums(files_of(there))
    claim(there, files_of(there))
    refused_run(here, there, "too many values", limits=Limits(statistics_bytes=10_000_000))


def test_the_place_that_the_other_database_names_is_not_believed(
    pair: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = pair
    for place in ("ftp://192.0.2.1/runs", "github://a:b@/runs", "file:///etc", str(tmp_path)):
        change(there, "delete from meta where key = 'artifacts'")
        change(there, "insert into meta values ('artifacts', ?)", values=(place,))
    monkeypatch.setattr("harness.tasks.artifacts.open_url", lambda url: pytest.fail(f"{url} was opened"))
    result = joined(here, there)
    assert (result.added, result.without_label_maps) == (1, 0), "from the folder beside the file"
    store = open_store(str(here))
    assert store.artifacts.location == str(here.with_suffix(".artifacts"))
    store.close()


def test_label_maps_can_be_elsewhere_if_the_user_says_so(pair: tuple[Path, Path], tmp_path: Path) -> None:
    here, there = pair
    shutil.move(there.with_suffix(".artifacts"), tmp_path / "elsewhere")
    before = content(here)
    assert joined(here, there).without_label_maps == 1
    store = open_store(str(here))
    assert list(check_database(store, store.artifacts)) == []
    store.close()
    undone(here, 1)
    assert content(here) == before
    for place in (Artifacts.named(str(tmp_path / "elsewhere")), Artifacts((tmp_path / "elsewhere").as_uri())):
        result = joined(here, there, artifacts_from=place)
        assert (result.without_label_maps, files_of(here, 2).is_dir()) == (0, True)
        undone(here, result.number or 0)
        assert content(here) == before


# -- rows --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        """update datasets set classes = '["f", "e", "d", "c", "b", "a"]'""",
        "update datasets set title = 'Ours, corrected'",
        "update datasets set foreground = 1",
        f"update datasets set test_manifest = '{'1' * 64}'",
        "update datasets set palette = '[[1,1,1],[2,2,2],[3,3,3],[4,4,4],[5,5,5],[6,6,6]]'",
    ],
)
def test_our_data_sets_are_never_changed(pair: tuple[Path, Path], statement: str) -> None:
    here, there = pair
    change(there, statement)
    before = content(here)
    result = joined(here, there)
    assert (result.added, result.same) == (0, 0)
    told = result.conflicts + result.refused
    assert len(told) == 2, "a line for each run on it"
    assert content(here) == before


def test_the_same_images_with_other_classes_are_another_data_set_only_if_both_say_so(pair: tuple[Path, Path]) -> None:
    here, there = pair
    fresh = "2" * 64
    ((classes, scored),) = rows(there, "select classes, scored_as from datasets")
    reversed_ = json.dumps(json.loads(classes)[::-1])
    key = copy_key(fresh, scored)
    change(there, "pragma foreign_keys = off", f"update datasets set manifest = '{key}'")
    change(there, "update datasets set classes = ?", values=(reversed_,))
    ((parts,),) = rows(there, "select parts from runs where id = 2")
    new = json.loads(parts) | {"data": fresh}
    change(there, f"update runs set manifest = '{key}'")
    change(
        there,
        "update runs set parts = ?, fingerprint = ?, cell = ? where id = 2",
        values=(json.dumps(new), digest(new), digest({k: v for k, v in new.items() if k != "seed"})),
    )
    change(there, *forget("id = 1"))
    for number, hash_ in rows(there, "select id, protocol_hash from evaluations"):
        about = {"train": digest(new), "protocol": hash_, "evaluator": EVALUATOR_VERSION}
        change(there, "update evaluations set score_fingerprint = ? where id = ?", values=(digest(about), number))
    result = joined(here, there)
    assert result.added == 0
    assert "other classes or colours" in result.conflicts[0]


BAD_VALUES: list[tuple[str, Any, str]] = [
    ("datasets.classes", "3", "classes"),
    ("datasets.classes", "null", "classes"),
    ("datasets.classes", '{"a": 1}', "classes"),
    ("datasets.classes", "[1, 2]", "classes"),
    ("datasets.classes", "[" * 100_000, "classes"),
    ("datasets.classes", '["a", "a"]', "classes"),
    ("datasets.classes", '["<b>", "\\u001b[2J"]', "classes"),
    ("datasets.palette", "[[300, 0, 0]]", "palette"),
    ("datasets.palette", '[["red;}</style>", 0, 0]]', "palette"),
    ("datasets.counts", '{"test": -1}', "counts"),
    ("runs.model", "U\x00Net", "model"),
    ("runs.model", "\x1b]0;owned\x07", "model"),
    ("runs.model", "abc\u202egnp.exe", "model"),
    ("runs.model", "", "model"),
    ("runs.model", "x" * 2000, "model"),
    ("runs.seed", "seven", "seed"),
    ("runs.seed", 3, "seed is not what"),
    ("runs.config", "{}", "dataset"),
    ("runs.config", '{"a": NaN}', "NaN"),
    ("runs.config", '{"a": 1e999}', "too large"),
    ("runs.config", '{"a": ' + "9" * 5000 + "}", "config"),
    ("runs.config", '{"dataset": {"name": "\\ud800"}}', "config"),
    ("runs.parts", '{"a": 1}', "fingerprint"),
    ("runs.manifest", "3" * 64, "data set"),
    ("runs.provenance", '{"code": 3}', "code"),
    ("runs.provenance", '{"pretrained_on": {"a": 1}}', "pretrained_on"),
    ("runs.times", '{"train": "long"}', "times"),
    ("runs.history", '[{"attempt": "x"}]', "attempt"),
    ("runs.search", "[1]", "search"),
    ("runs.created", "yesterday", "created"),
    ("runs.selection", '{"rule": "best", "split": "test", "metric": "miou"}', "does not say so"),
    ("runs.traceback", b"\xff", "traceback"),
    ("runs.selected_on_test", "maybe", "selected_on_test"),
    ("runs.parameters", -1, "parameters"),
    ("suite_entries.suite", "a\nb", "suite"),
    ("curves.name", "a\x00", "name"),
    ("curves.value", "high", "value"),
    ("evaluations.protocol_hash", "4" * 64, "protocol"),
    ("evaluations.score_fingerprint", "5" * 64, "score fingerprint"),
    ("evaluations.evaluator_version", EVALUATOR_VERSION + 1, f"has evaluator version {EVALUATOR_VERSION + 1}"),
    ("evaluations.split", "hidden", "split"),
    ("evaluations.statistics", b"PK", "statistics"),
    ("evaluations.statistics", "text", "statistics"),
    ("evaluations.n_images", 10**6, "images are stored"),
    ("evaluations.loss", 0.001, "loss is stored as 0.001"),
    ("evaluations.protocol", '{"name": "standard", "void": "all"}', "void"),
    ("evaluations.ceiling", "{", "ceiling"),
    ("evaluations.ceiling", "[1]", "ceiling"),
    ("evaluations.ceiling", '{"input": "8×8", "scores": {"miou": 1.5}}', "scores.miou"),
    ("evaluations.ceiling", '{"input": 8, "scores": {}}', "input"),
    ("scores.value", "high", "value"),
    ("scores.value", 0.999, "is stored as 0.999, its statistics give"),
    ("gallery_predictions.prediction", b"no image", "is no PNG"),
    ("gallery_predictions.image_id", "../../x", "plain path"),
    ("image_scores.figures", b"\0" * 40, "of single images"),
    ("image_scores.metric", "beauty", "of an unknown name"),
    ("image_lists.images", b"no list", "list of images"),
    ("evaluations.image_list", "6" * 64, "list of images is missing"),
    ("artifacts.path", "../../../etc", "and nowhere else"),
    ("artifacts.sha256", "x", "sha256"),
]


@pytest.mark.parametrize(
    ("column", "value", "why"), BAD_VALUES, ids=[f"{n}-{c}" for n, (c, _, _) in enumerate(BAD_VALUES)]
)
def test_a_row_that_is_not_sound_is_named_and_left_out(
    pair: tuple[Path, Path], column: str, value: Any, why: str
) -> None:
    here, there = pair
    change(there, *forget("id = 1"))
    table, name = column.split(".")
    if name == "image_id":
        change(there, "delete from gallery_predictions where rowid not in (select min(rowid) from gallery_predictions)")
    where = {"scores": " where metric = 'miou' and class_index = -1", "suite_entries": " where suite = 'tiny'"}
    first = " where epoch = 1 and name = 'lr'" if table == "curves" else where.get(table, "")
    limit = " where rowid = (select min(rowid) from evaluations)" if table == "evaluations" else first
    change(there, f"update or ignore {table} set {name} = ?{limit}", values=(value,))
    before = content(here)
    result = joined(here, there)
    assert result.added == 0
    (line,) = result.refused
    assert why in line, line
    assert line.isprintable()
    assert content(here) == before


def test_text_that_is_no_unicode_is_refused_and_free_text_is_cleaned(pair: tuple[Path, Path]) -> None:
    here, there = pair
    change(there, "update runs set model = cast(x'ff41' as text) where id = 2")
    before = content(here)
    assert len(joined(here, there).refused) == 1
    assert content(here) == before
    ((label,),) = rows(here, "select model from runs where id = 1")
    change(there, "update runs set model = ?, state = 'failed' where id = 2", values=(label,))
    change(
        there, "update runs set reason = ?, traceback = ? where id = 2", values=("\x1b[2Jgone\nnext", "a\x00b\n" * 9999)
    )
    assert joined(here, there).added == 1
    ((reason, traceback),) = rows(here, "select reason, traceback from runs where state = 'failed'")
    assert reason == "\ufffd[2Jgone next"
    assert traceback.startswith("a\ufffdb\n")
    assert len(traceback) <= 20_000


# -- figures -----------------------------------------------------------------------------------------------


def forge(there: Path, run: int, statistics_of: int) -> None:
    """Give a run an evaluation under another protocol whose figures agree with the statistics of another run."""
    connection = sqlite3.connect(there)
    connection.row_factory = sqlite3.Row
    pattern = dict(
        connection.execute("select * from evaluations where run_id = ? and split = 'test'", (statistics_of,)).fetchone()
    )
    ((classes, foreground),) = connection.execute("select classes, foreground from datasets").fetchall()
    ((fingerprint,),) = connection.execute("select fingerprint from runs where id = ?", (run,)).fetchall()
    protocol = Protocol(name="best", bf_tolerance=0.5)
    folded = fold(StatisticsTable.from_bytes(pattern["statistics"]), len(json.loads(classes)), protocol, foreground)
    pattern |= {
        "id": 999,
        "run_id": run,
        "protocol": json.dumps(protocol.stored()),
        "protocol_name": "best",
        "protocol_hash": protocol.hash,
        "score_fingerprint": digest({"train": fingerprint, "protocol": protocol.hash, "evaluator": EVALUATOR_VERSION}),
    }
    names = ", ".join(pattern)
    connection.execute(
        f"insert into evaluations ({names}) values ({', '.join('?' * len(pattern))})", tuple(pattern.values())
    )
    figures = [(999, m, -1, v) for m, v in folded.values.items()]
    figures += [(999, m, i, v) for m, each in folded.per_class.items() for i, v in enumerate(each)]
    connection.executemany("insert into scores values (?, ?, ?, ?)", figures)
    connection.commit()
    connection.close()


def test_a_run_of_ours_gets_no_figure_that_its_label_maps_do_not_give(pair: tuple[Path, Path]) -> None:
    here, there = pair
    forge(there, 1, statistics_of=2)
    before = content(here)
    change(there, *forget("id = 2"))
    result = joined(here, there)
    assert (result.scored, result.same) == (0, 1)
    (line,) = result.conflicts
    assert "test under best does not come from the label maps that were scored here" in line
    assert content(here) == before
    parts = (f"delete from {table} where evaluation_id = 999" for table in ("scores", "image_scores"))
    change(there, *parts, "delete from evaluations where id = 999")
    forge(there, 1, statistics_of=1)
    assert joined(here, there).scored == 1, "the same label maps under another protocol are welcome"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (BOMB, "too many values"),
        (pack({"ids": np.zeros(1, dtype=np.int64)}, {"version": FORMAT_VERSION})[:-1], "damaged"),
        (pack({"ids": np.zeros(1, dtype=np.int64)}, {"version": FORMAT_VERSION}), "statistics cannot be read"),
        (pack({}, {"version": FORMAT_VERSION + 1}), "has statistics format"),
        (b"PK\3\4 an archive", "no packed columns"),
    ],
    ids=["bomb", "half", "without parts", "another format", "another file"],
)
def test_statistics_are_unpacked_only_if_they_can_be_statistics(pair: tuple[Path, Path], data: bytes, why: str) -> None:
    here, there = pair
    change(there, "update evaluations set statistics = ? where run_id = 2 and split = 'test'", values=(data,))
    refused_run(here, there, why, limits=Limits(statistics_bytes=10_000_000))


@pytest.mark.parametrize(
    ("part", "change_to", "why"),
    [
        ("confusion", lambda a: a * [1, 1, 1, -1], "cannot be"),
        ("confusion", lambda a: a * [1, 1, 1, 2], "count other pixels"),
        ("confusion", lambda a: a + np.array([0, 200, 0, 0]), "cannot be"),
        ("shape", lambda a: a + np.array([2**40, 0, 0, 0]), "cannot be"),
        ("surface_floats", lambda a: a * -1, "negative"),
        ("ids", lambda a: ("../x", *a[1:]), "odd name"),
        ("ids", lambda a: (a[0], *a[:-1]), "twice"),
        ("loss", lambda a: a[:-1], "other lengths"),
    ],
)
def test_statistics_that_contradict_themselves_are_refused(
    pair: tuple[Path, Path], part: str, change_to: Callable[[Any], Any], why: str
) -> None:
    here, there = pair
    ((data,),) = rows(there, "select statistics from evaluations where run_id = 2 and split = 'test'")
    table = StatisticsTable.from_bytes(data)
    forged = replace(table, **{part: change_to(getattr(table, part))}).to_bytes()
    change(there, "update evaluations set statistics = ? where run_id = 2 and split = 'test'", values=(forged,))
    refused_run(here, there, why)


def test_statistics_of_an_image_that_they_do_not_name_are_refused(pair: tuple[Path, Path]) -> None:
    here, there = pair
    ((data,),) = rows(there, "select statistics from evaluations where run_id = 2 and split = 'test'")
    columns, facts = unpack(data)
    columns["confusion.image"] = np.full(len(columns["confusion.target"]), 10**6)
    forged = pack(columns, facts)
    change(there, "update evaluations set statistics = ? where run_id = 2 and split = 'test'", values=(forged,))
    refused_run(here, there, "damaged statistics")


def picture(side: int, kind: str, mode: str = "P") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (side, side)).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("column", "data", "why"),
    [
        ("prediction", picture(4000, "PNG"), "4000 × 4000 pixels"),
        ("prediction", picture(10, "GIF"), "is no PNG"),
        ("prediction", picture(10, "PNG", "RGB"), "no label map"),
        ("prediction", picture(10, "PNG")[:60], "is no PNG"),
        ("prediction", b"%!PS-Adobe-3.0 EPSF-3.0\n", "is no PNG"),
    ],
)
def test_pictures_are_small_jpegs_and_pngs(pair: tuple[Path, Path], column: str, data: bytes, why: str) -> None:
    here, there = pair
    change(there, f"update gallery_predictions set {column} = ? where run_id = 2", values=(data,))
    refused_run(here, there, why)


def test_our_pictures_are_never_changed(pair: tuple[Path, Path]) -> None:
    here, there = pair
    change(
        there, "update gallery_images set image = ?, target = ?", values=(picture(9, "JPEG", "L"), picture(9, "PNG"))
    )
    query = "select * from gallery_images order by image_id"
    before = rows(here, query)
    assert joined(here, there).added == 1
    assert rows(here, query) == before


# -- the file ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statements", "why"),
    [
        (
            (
                "drop table scores",
                "create view scores as with recursive n(x) as (select 1 union all select x + 1 from n) "
                "select 1 as evaluation_id, 'miou' as metric, x as class_index, 0.5 as value from n",
            ),
            "scores is no table but a view",
        ),
        (
            ("drop table curves", "create virtual table curves using fts5(run_id, name, epoch, value)"),
            "but a virtual table",
        ),
        (("alter table runs rename to other", "create view runs as select * from other"), "runs is no table"),
        (("drop table merges",), "merges is missing"),
        (("alter table curves rename column value to worth",), "curves has no column value"),
        (
            (
                "drop table artifacts",
                "create table artifacts (run_id int, kind text, split text, files int, sha256 text, "
                "path text generated always as (hex(zeroblob(1000000))) virtual)",
            ),
            "artifacts has no column path",
        ),
        (("update meta set value = '99'",), "has schema 99"),
        (("update meta set value = '\x1b[2J'",), "has schema"),
        (("delete from meta",), "has schema None"),
    ],
    ids=["view", "virtual", "renamed", "missing", "column", "generated", "newer", "odd", "none"],
)
def test_what_is_no_table_of_this_schema_is_refused(
    pair: tuple[Path, Path], statements: tuple[str, ...], why: str
) -> None:
    here, there = pair
    change(there, *statements)
    before = content(here)
    with pytest.raises(DatabaseError) as error:
        joined(here, there)
    assert why in str(error.value)
    assert str(error.value).replace("\n", "").isprintable()
    assert content(here) == before


def test_a_trigger_and_other_tables_are_not_touched(pair: tuple[Path, Path]) -> None:
    here, there = pair
    change(
        there,
        "create table more (x)",
        "create trigger fires after insert on runs begin insert into more values (1); end",
        "create view endless as with recursive n(x) as (select 1 union all select x + 1 from n) select x from n",
    )
    assert joined(here, there).added == 1
    assert "more" not in content(here)


def test_damaged_files_are_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    here, there = pair
    whole = there.read_bytes()
    for name, data in {
        "half": whole[: len(whole) // 2],
        "hole": whole[: len(whole) // 3] + b"\0" * 40_000 + whole[len(whole) // 3 + 40_000 :],
        "noise": whole[:4096] + os.urandom(len(whole) - 4096),
        "header": b"SQLite format 3\0",
        "empty": b"",
        "text": b"hello",
    }.items():
        torn = tmp_path / f"{name}.db"
        torn.write_bytes(data)
        refused_whole(here, torn, "is damaged|cannot be read|not an SQLite database|is not a results database")
    os.mkfifo(tmp_path / "pipe.db")
    for odd in ("/dev/zero", "/dev/null", str(tmp_path), str(tmp_path / "pipe.db"), str(tmp_path / "missing.db")):
        refused_whole(here, Path(odd), "is no regular file|cannot be read")


def test_large_values_and_files_have_a_limit(pair: tuple[Path, Path]) -> None:
    here, there = pair
    change(there, "update gallery_predictions set prediction = zeroblob(3000000) where run_id = 2")
    refused_run(here, there, "bytes")
    refused_run(here, there, "too big", limits=Limits(value_bytes=1_000_000))
    refused_run(here, there, "more than 10 MB", limits=Limits(answer_bytes=10_000_000))
    refused_whole(here, there, "at most 1 MB can be read", limits=Limits(file_bytes=1_000_000))


def test_a_merge_has_a_time_limit(pair: tuple[Path, Path]) -> None:
    here, there = pair
    refused_whole(here, there, "took longer than", limits=Limits(seconds=0))


def test_a_database_that_is_being_written_is_read_as_it_is_now(pair: tuple[Path, Path]) -> None:
    here, there = pair
    writer = sqlite3.connect(there, isolation_level=None)
    writer.execute("pragma journal_mode = wal")
    writer.execute("pragma wal_autocheckpoint = 0")
    writer.execute("update runs set reason = 'in the log alone', state = 'failed' where id = 2")
    writer.execute("begin immediate")
    writer.execute("update runs set reason = 'not committed' where id = 2")
    assert joined(here, there).added == 1
    writer.execute("rollback")
    writer.close()
    assert rows(here, "select reason from runs where state = 'failed'") == [("in the log alone",)]


# -- locks and failures on the way -------------------------------------------------------------------------


def test_nobody_waits_while_files_are_copied(pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = pair
    original, written = LabelMapSource.copy, []

    def copy(self: LabelMapSource, *args: Any) -> None:
        with sqlite3.connect(here, timeout=0) as other:
            other.execute("insert into meta values ('written', 'while files were copied')")
        written.append(True)
        original(self, *args)

    monkeypatch.setattr(LabelMapSource, "copy", copy)
    assert joined(here, there).added == 1
    assert written == [True]


def test_a_locked_database_costs_a_message_and_leaves_nothing(
    pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = pair
    monkeypatch.setattr(opening, "BUSY_TIMEOUT_S", 0.2)
    before, store = content(here), open_store(str(here))
    original = LabelMapSource.copy
    holder = sqlite3.connect(here, isolation_level=None)

    def copy(self: LabelMapSource, *args: Any) -> None:
        original(self, *args)
        holder.execute("begin immediate")

    monkeypatch.setattr(LabelMapSource, "copy", copy)
    with pytest.raises(DatabaseBusy, match="locked"):
        merge(store, str(there))
    holder.execute("rollback")
    holder.close()
    store.close()
    assert content(here) == before
    assert not list(here.parent.rglob("*.merged"))


@pytest.mark.parametrize("where", ["copying", "at the end"])
def test_a_merge_that_fails_on_the_way_leaves_nothing(
    pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    here, there = pair
    before = content(here)
    original = Staged.put_in_place

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    def then_fail(self: Staged, *args: Any) -> None:
        original(self, *args)
        ((fingerprint,),) = rows(there, "select fingerprint from runs where id = 2")
        assert (here.with_suffix(".artifacts") / fingerprint[:16] / "predictions" / "test").is_dir()
        raise ArtifactsError("the disk went away")

    if where == "copying":
        monkeypatch.setattr(LabelMapSource, "copy", full)
    else:
        monkeypatch.setattr(Staged, "put_in_place", then_fail)
    with pytest.raises(ArtifactsError):
        joined(here, there)
    assert content(here) == before
    assert len(list(here.with_suffix(".artifacts").iterdir())) == 1


def test_label_maps_that_lay_there_before_come_back(pair: tuple[Path, Path]) -> None:
    here, there = pair
    ours = files_of(here, 1)
    (half,) = sorted(ours.glob("*.png"))[:1]
    half.write_bytes(b"half of a label map")
    change(here, "update runs set state = 'interrupted' where id = 1", "delete from artifacts")
    before = content(here)
    result = joined(here, there)
    assert (result.replaced, result.added) == (1, 1)
    assert half.read_bytes() == (files_of(there, 1) / half.name).read_bytes()
    undone(here, 1)
    assert content(here) == before


def test_a_run_that_is_being_trained_here_is_left_alone(pair: tuple[Path, Path]) -> None:
    here, there = pair
    store = open_store(str(here))
    change(here, f"update runs set state = 'running', driver = '{store.driver}', heartbeat = 1e10 where id = 1")
    store.close()
    result = joined(here, there)
    assert (result.added, result.replaced, result.unfinished) == (1, 0, 1)
    assert rows(here, "select state from runs where id = 1") == [("running",)]


def test_a_failed_run_that_came_by_merge_is_ours_once_it_is_begun_here(pair: tuple[Path, Path]) -> None:
    here, there = pair
    change(
        there, "update runs set state = 'failed' where id = 2", *(f"delete from {t}" for t in ("curves", "artifacts"))
    )
    joined(here, there)
    ((fingerprint,),) = rows(here, "select fingerprint from runs where merge_id = 1")
    store = open_store(str(here))
    assert store.claim(fingerprint) is not None
    store.close()
    undone(here, 1)
    assert len(rows(here, "select id from runs join suite_entries on run_id = id")) == 2


def test_the_command_says_what_was_refused_and_why(pair: tuple[Path, Path], tmp_path: Path) -> None:
    here, there = pair
    change(there, "update scores set value = 0.999 where metric = 'miou' and class_index = -1")
    done = run_bench("merge", there, "--db", here, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stdout.count("refused: run ") == 2
    assert "miou is stored as 0.999, its statistics give" in done.stdout
    assert "--undo" not in done.stdout
