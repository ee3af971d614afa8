"""Figures for a paper: complete, inert, with fonts that can be embedded, the same bytes for the same data."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="figures need the extra `figures`")

from bench.export_figures import _drawn, figures
from harness.datasets.shapes import Shapes
from harness.errors import BenchError
from harness.results import open_store
from leaderboard.boards.board import boards
from leaderboard.exports.drawing import Texts, drawing, new_figure, save
from leaderboard.exports.paper_figures import curves_figure, heat_figures, scores_figure, trade_off_figure
from leaderboard.exports.qualitative import Picture, chosen_rows, gallery_pictures, in_colour, qualitative_figure
from leaderboard.queries.load import load_runs
from tests.leaderboard.test_leaving import HOSTILE, hostile_board, paper_board


def test_every_plot_of_a_board_is_drawn_and_its_files_are_the_same_each_time(tmp_path: Path) -> None:
    board, texts = paper_board(), Texts()
    points = [(run.run_id, "val_miou", e, e / 10 + run.seed / 100) for row in board.rows
              for run in row.cell.scored for e in (1, 2, 3)]  # fmt: skip
    with drawing():
        for folder in (tmp_path / "a", tmp_path / "b"):
            folder.mkdir()
            made = {
                "scores": scores_figure(board, "miou", texts, 17),
                "trade-off": trade_off_figure(board, "miou", texts, 17),
                "curves": curves_figure(board, points, "val_miou", texts, 8.5),
                **dict(heat_figures(board, "hd", texts, 17)),
            }
            assert set(made) == {"scores", "trade-off", "curves", "grid"}
            # Twice: one with bars and text, one with an image in it.
            for name in made if folder.name == "a" else ("scores", "grid"):
                figure = made[name]
                assert figure is not None, name
                save(figure, folder, name, ("pdf", "png", "svg"), ["from results.db"])
    assert len(list((tmp_path / "a").iterdir())) == 12
    for file in (tmp_path / "b").iterdir():
        assert (tmp_path / "a" / file.name).read_bytes() == file.read_bytes(), file.name
    pdf = (tmp_path / "a" / "scores.pdf").read_bytes()
    assert b"/Type3" not in pdf
    assert b"from results.db" in pdf
    assert b"CreationDate" not in pdf
    assert "from results.db" in (tmp_path / "a" / "scores.svg").read_text()


def test_the_grid_has_each_figure_and_a_star_where_val_chose() -> None:
    with drawing():
        ((_, figure),) = heat_figures(paper_board(), "miou", Texts(), 17)
        texts = [text.get_text() for axes in figure.axes for text in axes.texts]
        titles = [axes.get_title(loc="left") for axes in figure.axes[:2]]
    assert titles == ["U-Net", "FCN"]
    assert len(texts) == 8
    assert sum(text.endswith("*") for text in texts) == 2


@pytest.mark.filterwarnings("error")
def test_any_name_is_drawn_as_it_is_or_the_figure_says_what_is_not(tmp_path: Path) -> None:
    texts = Texts()
    with drawing():
        figure = scores_figure(hostile_board(), "miou", texts, 17)
        assert figure is not None
        labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
        save(figure, tmp_path, "a", ("svg", "pdf"), HOSTILE)
    assert r"50% & $x_1^2$ #3 {y} ~z" in labels, "no formula"
    svg = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert not re.search(r"<(script|a|image|foreignObject)\b", svg)
    assert "onerror=alert" not in re.sub(r"&lt;.*?&gt;", "", svg)
    assert "U+7F51" in texts.notes[0]


def test_a_figure_that_would_be_huge_is_refused() -> None:
    with drawing(), pytest.raises(BenchError, match="too large"):
        new_figure(17, 1000)


def test_label_maps_have_the_colours_of_the_data_set(studied: Path) -> None:
    store = open_store(str(studied), read_only=True)
    board = boards(load_runs(store, "horse-report"))[0]
    shown = chosen_rows(board, [])
    pictures = gallery_pictures(store, board, shown, [])
    assert len(pictures) == 3
    labels = np.array([[0, 1, 255]], dtype=np.uint8)
    colours = in_colour(labels, board.data)
    assert colours is not None
    assert [tuple(c) for c in colours[0].tolist()][:2] == [board.data.palette[0], board.data.palette[1]]
    with drawing():
        lost = [Picture(p.image_id, p.photo, p.truth, (None,)) for p in pictures[:1]]
        figure = qualitative_figure([*pictures, *lost], shown[:1], board.data, Texts(), 17)
        heads = [axes.get_title() for axes in figure.axes[:3]]
        legend = [text.get_text() for text in figure.legends[0].get_texts()]
        told = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert heads == ["image", "truth", "U-Net"]
    assert "background" in legend
    assert told == ["not kept"]
    with pytest.raises(BenchError, match="no scored row 'Other'"):
        chosen_rows(board, ["Other"])
    with pytest.raises(BenchError, match="the gallery has no image 'x'"):
        gallery_pictures(store, board, shown, ["x"])
    store.close()


def test_a_published_file_says_that_it_has_no_photographs(studied: Path, tmp_path: Path) -> None:
    import sqlite3

    place = tmp_path / "published.db"
    shutil.copyfile(studied, place)
    connection = sqlite3.connect(place)
    connection.execute("update gallery_images set image = x'', target = x''")
    connection.commit()
    connection.close()
    store = open_store(str(place), read_only=True)
    board = boards(load_runs(store, "horse-report"))[0]
    with pytest.raises(BenchError, match="has no photographs") as raised:
        list(_drawn(store, board, ["qualitative"], "miou", Texts(), 17, ([], [], False, None)))
    assert "--full-size" in (raised.value.hint or "")
    store.close()


def test_the_command_writes_figures_at_full_size(finished: Path, home: Path) -> None:
    def write(only: str, images: str | None = None) -> None:
        figures(
            out=home / "figures", suite=None, dataset=None, only=only, formats="png", metric=None, models=None,
            images=images, full_size=images is not None, width=17.0, smoke=False, data_dir=None, db=str(finished),
        )  # fmt: skip

    write("qualitative,scores")
    small = {p.name: p.read_bytes() for p in (home / "figures").iterdir()}
    assert len(small) == 2
    write("qualitative", Shapes(home / "data" / Shapes.folders[0]).ids("test")[5])
    full = {p.name: p.read_bytes() for p in (home / "figures").iterdir()}
    assert [name for name in small if small[name] != full[name]] == [n for n in small if n.endswith("qualitative.png")]
    with pytest.raises(BenchError, match="choose of qualitative, scores"):
        write("quality")
