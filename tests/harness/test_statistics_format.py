"""Statistics as bytes: every figure comes back bit for bit."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from harness.metrics import Evaluator, Protocol, StatisticsTable
from harness.metrics.columns import MAGIC, pack, unpack

PROTOCOLS = {
    "standard": Protocol(),
    "spacing": Protocol(spacing=(1.5, 0.7)),
    "contours": Protocol(boundary="deepmind", hd_percentile_rule="deepmind"),
    "pooled, masked": Protocol(void="mask", hd_percentile_rule="pooled"),
    "davis": Protocol(bf="davis", boundary="davis"),
    "out of range": Protocol(out_of_range="fn"),
    "radii that fall": Protocol(trimap_radii=(8, 1), trimap_headline=1),
    "void trimap": Protocol(trimap="void"),
}


def statistics(protocol: Protocol, images: int = 12, side: int = 48) -> StatisticsTable:
    """Statistics of images with several classes, void, missed and spurious ones, and one that is all void."""
    rng = np.random.default_rng(3)
    evaluator = Evaluator(5, protocol=protocol)
    for number in range(images):
        coarse = rng.integers(0, 5, (6, 6)) * rng.integers(0, 2, (6, 6))
        target = np.kron(coarse, np.ones((side // 6, side // 6 + number % 2), dtype=np.int64)).astype(np.uint8)
        prediction = np.roll(target, (number % 4, 1), (0, 1))
        prediction[rng.random(target.shape) < 0.02] = rng.integers(0, 5)
        if protocol.out_of_range == "fn":
            prediction[0, :3] = 9
        target[rng.random(target.shape) < 0.03] = 255
        target[:, :] = 255 if number == 5 else target
        evaluator.update(prediction, target, f"drive/{number:03d}", loss=float(rng.random()))
    return evaluator.statistics()


def assert_same(found: StatisticsTable, table: StatisticsTable) -> None:
    for one in fields(StatisticsTable):
        a, b = getattr(found, one.name), getattr(table, one.name)
        if isinstance(b, tuple):
            assert a == b, one.name
        else:
            assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes()), one.name


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS.keys())
def test_every_figure_comes_back_bit_for_bit(protocol: Protocol) -> None:
    table = statistics(protocol).with_groups(lambda name: name[:7])
    table = replace(table, batch_loss=np.array([0.1, np.nan, np.inf, -0.0]))
    assert len(table.surface_floats) > 20
    stored = table.to_bytes()
    assert_same(StatisticsTable.from_bytes(stored), table)
    assert StatisticsTable.from_bytes(stored).to_bytes() == stored


def test_tables_in_any_order_and_without_anything_come_back() -> None:
    table = statistics(Protocol())
    turned = replace(
        table,
        confusion=table.confusion[::-1].copy(),
        trimap=table.trimap[::-1].copy(),
        surface_integers=table.surface_integers[::-1].copy(),
        surface_floats=table.surface_floats[::-1].copy(),
        histogram=np.array([[3, 1, 0, 7], [1, 2, 1, 9]], dtype=np.int64),
    )
    none = table.subset([])
    for one in (turned, none, table.subset(table.ids[3:7]), StatisticsTable.of([])):
        assert_same(StatisticsTable.from_bytes(one.to_bytes()), one)


def test_numbers_that_no_shortcut_holds_come_back() -> None:
    table = statistics(Protocol())
    odd = table.surface_floats.copy()
    odd[0] = [-0.0, 1e300, 0.5, np.inf, -np.inf, 2.0**60, 1e-310, -3.0, 4.0, 5.0, 6.0, 7.0]
    odd[1, 4] = np.frombuffer(np.int64(0x7FF8000000000001).tobytes(), dtype=np.float64)[0]  # another NaN
    big = table.confusion.copy()
    big[0, 3] = 2**62
    wrong = replace(table, surface_floats=odd, confusion=big, shape=table.shape * 1000)
    assert_same(StatisticsTable.from_bytes(wrong.to_bytes()), wrong)


def test_damaged_bytes_are_refused_and_never_anything_else() -> None:
    stored = statistics(Protocol(), images=3).to_bytes()
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(stored)
        for place in rng.integers(len(MAGIC), len(stored), rng.integers(1, 4)):
            damaged[place] = rng.integers(256)
        try:
            StatisticsTable.from_bytes(bytes(damaged[: rng.integers(len(MAGIC), len(stored) + 1)]))
        except ValueError:
            continue


def test_columns_that_claim_more_than_fits_are_refused() -> None:
    zeros = np.zeros(10**6, dtype=np.int64)
    columns, facts = unpack(pack({"a": zeros, "b": np.array([1.5, np.nan])}, {"version": 7}))
    assert (len(columns["a"]), facts) == (10**6, {"version": 7})
    with pytest.raises(ValueError, match="damaged"):
        unpack(pack({"a": zeros}, {})[:-3])
    with pytest.raises(ValueError, match="no packed columns"):
        StatisticsTable.from_bytes(b"PK\3\4")


def test_statistics_of_another_format_are_refused_with_what_to_do() -> None:
    told = "has statistics format 7, this version of segbench reads statistics format 1: open it with the version that"
    with pytest.raises(ValueError, match=told):
        StatisticsTable.from_bytes(pack({}, {"version": 7}))
