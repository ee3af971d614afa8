"""Databases that earlier versions made: they open, and nothing in them is trained or scored again."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest

from tests.conftest import ROOT, rows, run_bench

OLD = ROOT / "tests" / "databases" / "version_2"


# Networks of `every.yaml` whose training has been corrected since, and what `bench why` says of a run from before. They
# have to be trained again, and nothing else has; a line is added for a correction, never for an accident.
CORRECTED = {
    # Its skip was silenced by scales that belong to Caffe's weights.
    "fcn16s": "model_source",
    # Its context path was taken for a part of the head and trained at ten times the learning rate.
    "bisenet": "backbone: None -> ['context']",
    # Its dropout took whole channels; the report prints that of single elements.
    "unet_strided": "model_source",
}
# Jobs of one network in that suite.
CELLS = 2


def unpack_old(folder: Path) -> None:
    """Put the old database, its data and its suites into a folder."""
    for path in OLD.iterdir():
        if path.is_dir():
            shutil.copytree(path, folder / path.name)
        elif path.suffix != ".gz":
            shutil.copy(path, folder)
    (folder / "results.db").write_bytes(gzip.decompress((OLD / "results.db.gz").read_bytes()))


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A working folder with the old database, brought to the present schema."""
    unpack_old(tmp_path)
    run_bench("db", "migrate", cwd=tmp_path)
    return tmp_path


def leave_out_corrected(suite: Path) -> None:
    """Take the networks that are to be trained again out of a suite that has a line for each."""
    lines = suite.read_text().splitlines(keepends=True)
    suite.write_text("".join(line for line in lines if not any(f"name: {name}," in line for name in CORRECTED)))


@pytest.mark.slow
@pytest.mark.parametrize("name", CORRECTED)
def test_what_has_been_corrected_is_trained_again_and_says_why(old: Path, name: str) -> None:
    ((run,),) = rows(old, f"select max(id) from runs where model_name = '{name}'")
    told = run_bench("why", str(run), "--data-dir", ".", cwd=old).stdout
    assert "Out of date" in told
    assert CORRECTED[name] in told


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "jobs"),
    [
        (["every.yaml", "--plugin", "one_file.py"], 32 - CELLS * len(CORRECTED)),
        (["shorter.yaml"], 4),
        pytest.param(["shorter.yaml", "--set", "protocol.void=mask"], 4, marks=pytest.mark.long),
        pytest.param(["shorter.yaml", "--smoke"], 2, marks=pytest.mark.long),
        (["searched.yaml"], 2),
    ],
    ids=["every network", "shared training", "another protocol", "smoke", "search"],
)
def test_what_an_earlier_version_trained_is_not_trained_again(
    old: Path, plugin_site: Path, words: list[str], jobs: int
) -> None:
    leave_out_corrected(old / "every.yaml")
    before = rows(old, "select id, fingerprint, state, attempt from runs order by id")
    done = run_bench("run", "--suite", *words, "--data-dir", ".", "--local", cwd=old, PYTHONPATH=str(plugin_site))
    assert f"Nothing to do: all {jobs} jobs" in done.stdout
    assert rows(old, "select id, fingerprint, state, attempt from runs order by id") == before


@pytest.mark.slow
def test_its_figures_are_sound_and_its_runs_up_to_date(old: Path, plugin_site: Path) -> None:
    checked = run_bench("db", "check", "--no-artifacts", cwd=old)
    assert "0 problem(s)" in checked.stdout
    found = rows(old, "select max(id), model_name from runs where model_origin != 'predictions' group by model_name")
    ids = [run for run, name in found if name not in CORRECTED]
    for run in ids[:: max(1, len(ids) // 4)]:
        told = run_bench("why", str(run), "--data-dir", ".", cwd=old, PYTHONPATH=str(plugin_site))
        assert "Up to date" in told.stdout, told.stdout
