"""Label maps that were kept, scored anew under another protocol: for conventions that stored statistics cannot give."""

from __future__ import annotations

import os

from sqlalchemy import select

from harness.datasets import Dataset
from harness.errors import BenchError
from harness.metrics import Protocol, StatisticsTable
from harness.metrics.metric import METRICS, split_metric
from harness.results import Store
from harness.results.schema import Run
from harness.scoring.evaluate import evaluate_images, stored_label_maps
from harness.scoring.keep import PREDICTIONS
from leaderboard.boards.board import Board
from leaderboard.stats.draws import Tables
from leaderboard.stats.stability import Convention, Rescored

# What is scored anew where label maps are at hand.
VOID = (
    Convention("void filled", "void takes the nearest label of the target", {"void": "fill"}),
    Convention("void masked", "void belongs to no class", {"void": "mask"}),
)
POOLED = Convention(
    "HD95 pooled", "the percentile of both boundaries' distances together", {"hd_percentile_rule": "pooled"}
)


def conventions_anew(metric: str) -> tuple[Convention, ...]:
    """The conventions that move a metric and need label maps: void moves all but the region scores."""
    name = split_metric(metric)[0]
    if name not in METRICS or METRICS.get(name).family not in ("distance", "boundary", "trimap", "structure"):
        return ()
    return (*VOID, POOLED) if name == "hd95" else VOID


def rescored(store: Store, board: Board, dataset: Dataset, protocol: Protocol, tables: Tables) -> tuple[Rescored, ...]:
    """The conventions that need label maps and differ from a board's protocol; maps are scored when they are asked for.

    About as long as scoring: 4 ms an image of PASCAL VOC for each run and convention.

    Args:
        store: knows where label maps are kept.
        board: the whole of it.
        dataset: the board's, for the truth.
        protocol: of the board.
        tables: the stored statistics, which say what images were scored.
    """
    found = []
    for convention in conventions_anew(board.metric):
        under = protocol.model_copy(update=dict(convention.update))
        if under != protocol:
            found.append(Rescored(convention, under, _tables(store, dataset, under, tables)))
    return tuple(found)


def _tables(store: Store, dataset: Dataset, protocol: Protocol, tables: Tables) -> Tables:
    def score(run_id: int) -> StatisticsTable:
        ids = tables(run_id).ids
        with store.session() as session:
            fingerprint = session.scalars(select(Run.fingerprint).where(Run.id == run_id)).one()
        files = store.artifacts.run(fingerprint)
        try:
            label_maps = stored_label_maps(files.fetch(f"{PREDICTIONS}/test"), ids)
            return evaluate_images(dataset, protocol, label_maps, os.cpu_count() or 1).statistics()
        except (BenchError, OSError) as error:
            raise ValueError(f"its label maps cannot be scored: {error}") from error
        finally:
            files.release()

    return score
