from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from harness.config.expand import Smoke, expand
from harness.config.load import load_suite, suite_files
from harness.config.narrow import with_models
from harness.config.suite import Suite
from harness.datasets import dataset_class, dataset_names
from harness.errors import SuiteError, UnknownName
from tests.conftest import TINY

INFOS = {name: dataset_class(name).info for name in dataset_names()}


def write(folder: Path, text: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(text)
    return str(path)


GOOD = """\
datasets: [shapes]
models: [unet]
recipe:
  epochs: 1
"""


@pytest.mark.parametrize("name", suite_files())
def test_every_suite_of_the_project_loads_and_expands(name: str) -> None:
    suite = load_suite(name)
    jobs = expand(suite, INFOS)
    assert len({j.model_dump_json() for j in jobs}) == len(jobs) > 0


def test_a_suite_is_the_product_of_its_axes() -> None:
    suite = load_suite(str(TINY), ["grid.lr=[1e-2, 1e-3, 1e-4]", "seeds=[0, 1]"])
    jobs = expand(suite, INFOS)
    assert len(jobs) == 2 * 3 * 2
    assert {j.recipe.optimizer.lr for j in jobs} == {1e-2, 1e-3, 1e-4}
    assert all(j.dataset.variant == "standard" for j in jobs)


def test_numbers_without_a_point_are_numbers(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD + "  optimizer: {lr: 1e-3}\n")
    assert load_suite(path).recipe["optimizer"]["lr"] == 0.001


@pytest.mark.parametrize(
    ("change", "line", "field", "message"),
    [
        (GOOD.replace("models:", "modles:"), 2, "modles", "there is no such field"),
        (GOOD.replace("epochs: 1", "epochs: 0"), 4, "recipe", "greater than 0"),
        (GOOD + "seeds: [0, zero]\n", 5, "seeds.1", "valid integer"),
        (GOOD + "seeds: [1, 1]\n", 5, "seeds", "given twice"),
        (GOOD + "seeds: [1]\nseeds: [2]\n", 6, "seeds", "given twice"),
        (GOOD + "grid: {lrr: [1]}\n", 5, "grid", "Did you mean 'lr'"),
        (GOOD + "grid: {lr: []}\n", 5, "grid", "has no values"),
        (GOOD + "protocol: {void: skip}\n", 5, "protocol", "'fill' or 'mask'"),
        (GOOD.replace("recipe:\n  epochs: 1", "recipe: quik"), 3, "recipe", "Did you mean 'quick'"),
        (GOOD.replace("datasets: [shapes]", "datasets: ["), 3, "", "not valid YAML"),
        ("- a list\n", 1, "", "a mapping of fields"),
        ("datasets: [shapes]\nmodels: [unet]\n", 1, "recipe", "required"),
    ],
    ids=lambda value: str(value)[:25].replace("\n", " "),
)
def test_a_broken_suite_names_file_line_and_field(
    tmp_path: Path, change: str, line: int, field: str, message: str
) -> None:
    path = write(tmp_path, change)
    with pytest.raises(SuiteError) as caught:
        load_suite(path)
    text = str(caught.value)
    assert f"{path}:{line}:" in text
    assert field in text
    assert message in text


def test_an_unknown_suite_suggests_the_nearest() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'horse-quick'"):
        load_suite("horse-quik")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epochs", "write it as key=value"),
        ("epoch=3", "Did you mean 'epochs'"),
        ("recipe.epoch=3", "there is no such field"),
        ("models.0=unet", "give the whole list"),
        ("seeds=[", "is not a value"),
    ],
)
def test_a_broken_override_says_what_is_wrong(override: str, message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        load_suite(str(TINY), [override])


def test_an_override_by_hand_beats_the_grid() -> None:
    suite = load_suite("demo", ["lr=1e-5"])
    assert suite.grid == {}
    assert {j.recipe.optimizer.lr for j in expand(suite, INFOS)} == {1e-5}


def test_a_new_length_replaces_the_other_kind_of_length() -> None:
    job = expand(load_suite(str(TINY), ["iterations=7"]), INFOS)[0]
    assert (job.recipe.epochs, job.recipe.iterations) == (None, 7)


def test_the_resolved_suite_reads_back_as_itself() -> None:
    suite = load_suite("demo")
    assert Suite.model_validate(yaml.safe_load(yaml.safe_dump(suite.model_dump(mode="json")))) == suite


def test_smoke_jobs_have_a_protocol_of_their_own_and_need_no_weights() -> None:
    full, smoke = (expand(load_suite("voc"), INFOS, s)[0] for s in (None, Smoke()))
    assert smoke.protocol_hash != full.protocol_hash
    assert smoke.smoke
    assert "pretrained" in full.model.params
    assert "pretrained" not in smoke.model.params
    assert smoke.resources.gpus == 0
    mixed = load_suite("voc", ["recipe.precision=bf16"])
    assert [expand(mixed, INFOS, s)[0].recipe.precision for s in (None, Smoke())] == ["bf16", "fp32"]


def test_a_label_with_a_comma_is_found_in_a_list() -> None:
    suite = load_suite("unet-drive")
    labels = [m.title for m in suite.models]
    assert any("," in label for label in labels)
    parts = [part.strip() for part in ",".join(labels).split(",")]
    assert [m.title for m in with_models(suite, parts).models] == labels
    with pytest.raises(UnknownName, match="one channel"):
        with_models(suite, ["one channel)"])
