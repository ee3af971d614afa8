"""README and docs have their figures from the history."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.figures import BLOCKS, PLACE, pages, with_figures
from benchmarks.history import newest, read
from tests.benchmarks.test_history import some


def test_every_figure_in_the_docs_is_the_newest() -> None:
    found = newest(read())
    for path in pages():
        text = path.read_text(encoding="utf-8")
        assert with_figures(text, found) == text, f"{path.name} is stale: python -m benchmarks.figures"


def test_the_docs_have_marked_places_and_most_are_measured() -> None:
    found = newest(read())
    names = [place.group(1) for path in pages() for place in PLACE.finditer(path.read_text(encoding="utf-8"))]
    assert names
    missing = {name for name in names if name not in found and name not in BLOCKS}
    assert not missing, f"not in benchmarks/history.jsonl: {missing}"


def test_a_place_gets_its_figure_in_the_form_it_asks_for() -> None:
    found = newest([some()])
    text = (
        "<!-- bench:a.b -->old<!-- /bench --> and <!-- bench:a.b range --><!-- /bench -->, "
        "<!-- bench:a.b ours -->?<!-- /bench --> <!-- bench:not.yet -->kept<!-- /bench -->"
    )
    new = with_figures(text, found)
    assert "-->3.0×<!--" in new
    assert "-->2.0× to 4.0×<!--" in new
    assert "-->1 s<!--" in new
    assert "-->kept<!--" in new
    assert with_figures(new, found) == new
    with pytest.raises(ValueError, match="the forms are"):
        with_figures("<!-- bench:a.b colour -->x<!-- /bench -->", found)


def test_tables_are_made_of_the_records() -> None:
    entry = some()
    one = replace(entry.records[0], what="training steps of U-Net, 64×64: ours", unit="images/s")
    loops = [replace(one, name=f"training.unet.{loop}") for loop in ("bare_bf16", "torchvision")]
    found = newest([replace(entry, records=[*entry.records, *loops])])
    table = with_figures("<!-- bench:table -->\n<!-- /bench -->", found)
    assert "| what | peer | 3.0× | 2.0× to 4.0× | 3 |" in table
    training = with_figures("<!-- bench:training -->\n<!-- /bench -->", found)
    assert "| U-Net, 64×64 | 1 |  | 3.0× |  | 3.0× |  |" in training
    said = with_figures("<!-- bench:conditions --><!-- /bench -->", newest([replace(entry, quick=True)]))
    assert "the short form (`--quick`), 2026-01-01, commit ccccccc, 2 cores of x, load 0.1 before" in said
