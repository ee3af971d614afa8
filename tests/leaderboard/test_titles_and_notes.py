"""Titles that say what differs, and the notes under a board."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.datasets.voc import Voc
from harness.metrics.protocol import Protocol, protocol_title
from leaderboard.boards.board import boards
from leaderboard.boards.notes import whole_bands
from leaderboard.queries.load import ScoredRun
from leaderboard.tables.table import overview
from tests.leaderboard.test_tables import DATA, result


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ({}, "standard"),
        ({"void": "mask"}, "standard, void=mask"),
        ({"size": (224, 224), "level": "image"}, "standard, size=224×224, level=image"),
        ({"name": "ours", "background": None, "spacing": (0.5, 1)}, "ours, background=none, spacing=0.5×1"),
        ({"background_in_boundary_means": True}, "standard, background_in_boundary_means=yes"),
    ],
)
def test_a_changed_field_of_a_protocol_shows_in_its_title(changes: dict[str, object], title: str) -> None:
    protocol = Protocol.model_validate(changes)
    assert protocol_title(protocol.stored()) == protocol_title(protocol.model_dump()) == title


def test_what_follows_from_the_data_set_is_usual() -> None:
    of_voc = Protocol.model_validate(Voc.info.protocol)
    assert protocol_title(of_voc.stored()) == "standard, trimap=void"
    assert protocol_title(of_voc.stored(), Voc.info.protocol) == "standard"
    assert protocol_title(Protocol().stored(), Voc.info.protocol) == "standard, trimap=labels"


def test_few_images_and_fields_of_a_newer_version_show() -> None:
    assert protocol_title(Protocol().stored(images=5)) == "standard, 5 images of each split"
    assert protocol_title(Protocol().stored(smoke=True, images=2)) == "standard-smoke"
    assert protocol_title({"name": "standard", "new_rule": "b"}) == "standard, new_rule=b"


def test_no_two_boards_have_one_title() -> None:
    runs = [
        result("a", "x", 0, 0.5, 0.5),
        result("a", "x", 0, 0.5, 0.5, protocol_hash="q" * 64, protocol_title="standard, void=mask"),
        result("a", "x", 0, 0.5, 0.5, data=replace(DATA, test_manifest="u" * 64)),
        result("a", "x", 0, 0.5, 0.5, data=replace(DATA, scored_as="1" * 64)),
        result("a", "x", 0, 0.5, 0.5, data=replace(DATA, scored_as="2" * 64, classes=("background", "cow"))),
    ]
    found = boards(runs)
    titles = [board.title for board in found]
    assert len(set(titles)) == len({board.key for board in found}) == 5
    assert sum("void=mask" in title for title in titles) == 1
    assert any("2 classes: background, cow" in title for title in titles)
    assert any("test images uuuuuu" in title for title in titles)


def vessels(model: str, iou: float, biou: float, other: float = 0.3) -> ScoredRun:
    test = {"miou": iou, "iou[background]": 0.9, "biou[background]": other, "iou[horse]": iou, "biou[horse]": biou}
    return replace(result(model, "x", 0, 0.5, 0.5), test=test)


def test_a_band_that_covers_the_whole_structure_is_said() -> None:
    (board,) = boards([vessels("a", 0.61, 0.61), vessels("b", 0.55, 0.55003), vessels("c", 0.0, 0.0)])
    (note,) = whole_bands(board)
    assert note.startswith("BIoU of horse is the IoU itself")
    assert note in overview(board, ["miou", "biou"]).notes
    assert note not in overview(board, ["miou"]).notes, "no such column"
    assert whole_bands(boards([vessels("a", 0.61, 0.61), vessels("b", 0.55, 0.5)])[0]) == []
    assert whole_bands(boards([vessels("a", 1.0, 1.0), vessels("b", 0.0, 0.0)])[0]) == [], "that says nothing"
