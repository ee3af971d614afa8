"""Files of weights that are broken, or made to harm: every kind is one typed error, and nothing of them runs."""

from __future__ import annotations

import io
import os
import pickle
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from harness.errors import BadModel
from harness.training.network import load_weights, read_weights, start_from


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


class Gadget:
    """Touches a file where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


def saved(value: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream, **options)
    return stream.getvalue()


def rewritten(data: bytes, change: Callable[[str, bytes], bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """A checkpoint with its parts changed."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(stream, "w", method) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return stream.getvalue()


def zip_bomb(mark: Path) -> bytes:
    zeros = b"\0" * (4 << 20)
    return rewritten(saved(network().state_dict()), lambda n, d: zeros if "/data/" in n else d, zipfile.ZIP_DEFLATED)


def eight_terabytes(mark: Path) -> bytes:
    """Says that a tensor has 2^41 numbers, of which the file holds a few."""
    few = saved({"0.weight": torch.zeros(257, dtype=torch.float32)})
    said, many = pickle.dumps(257, 2)[2:-1], pickle.dumps(2**41, 2)[2:-1]
    return rewritten(few, lambda n, d: d.replace(said, many) if n.endswith("data.pkl") else d)


def expanded(mark: Path) -> bytes:
    """One number that is seen 2^41 times."""
    return saved({"0.weight": torch.zeros(1).expand(2**41)})


def with_weight(value: Any) -> Callable[[Path], bytes]:
    return lambda mark: saved({**network().state_dict(), "0.weight": value})


STATE = network().state_dict()
WHOLE = saved(STATE)
FILES: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "empty": (lambda mark: b"", "cannot be loaded as weights"),
    "noise": (lambda mark: os.urandom(5000), "cannot be loaded as weights"),
    "text": (lambda mark: b"these are no weights\n" * 50, "cannot be loaded as weights"),
    "half a file": (lambda mark: WHOLE[: len(WHOLE) // 2], "cannot be loaded as weights"),
    "without its end": (lambda mark: WHOLE[:-30], "cannot be loaded as weights"),
    "an empty zip": (lambda mark: b"PK\x05\x06" + b"\0" * 18, "cannot be loaded as weights"),
    "no pickle inside": (lambda mark: rewritten(WHOLE, lambda n, d: b"junk"), "cannot be loaded as weights"),
    "half a pickle": (
        lambda mark: rewritten(WHOLE, lambda n, d: d[: len(d) // 2] if n.endswith("data.pkl") else d),
        "cannot be loaded as weights",
    ),
    "fewer numbers than said": (
        lambda mark: rewritten(WHOLE, lambda n, d: d[:4] if "/data/" in n else d),
        "cannot be loaded as weights",
    ),
    "a gadget": (lambda mark: saved({"a": Gadget(mark)}), "cannot be loaded as weights"),
    "a gadget, older format": (
        lambda mark: saved({"a": Gadget(mark)}, _use_new_zipfile_serialization=False),
        "cannot be loaded as weights",
    ),
    "a plain pickle": (lambda mark: pickle.dumps(Gadget(mark)), "cannot be loaded as weights"),
    "a whole network": (lambda mark: saved(network()), "cannot be loaded as weights"),
    "deeply nested": (
        lambda mark: b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b".",
        "cannot be loaded as weights|list",
    ),
    "a zip bomb": (zip_bomb, "an archive of .* bytes that unpacks to 2"),
    "eight terabytes": (eight_terabytes, "cannot be loaded as weights"),
    "one number, very often": (expanded, "does not fit this network"),
    "a list": (lambda mark: saved([1, 2]), "holds list, not a state dict"),
    "a tensor": (lambda mark: saved(torch.zeros(3)), "holds Tensor, not a state dict"),
    "numbers as keys": (lambda mark: saved({1: torch.zeros(3)}), "other keys than names"),
    "other names": (lambda mark: saved({"w": torch.zeros(3)}), "does not fit this network: missing key 0.weight"),
    "another shape": (with_weight(torch.zeros(4, 3, 5, 5)), r"0.weight has shape \(4, 3, 5, 5\), expected shape"),
    "no tensor": (with_weight("text"), "0.weight has a value that is no tensor .str."),
    "nothing": (with_weight(None), "0.weight has a value that is no tensor .NoneType."),
    "sparse": (with_weight(STATE["0.weight"].to_sparse()), "0.weight has a tensor that is not dense"),
    "meta": (with_weight(STATE["0.weight"].to("meta")), "0.weight has a tensor that is not dense"),
    "escape sequences": (
        lambda mark: saved({**STATE, "\x1b[31mred": torch.zeros(1)}),
        "unexpected key \ufffd.31mred",
    ),
}


@pytest.mark.parametrize("kind", FILES)
def test_every_kind_of_bad_weights_is_one_typed_error(tmp_path: Path, kind: str) -> None:
    make, message = FILES[kind]
    path, mark = tmp_path / "weights.pt", tmp_path / "ran"
    path.write_bytes(make(mark))
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    began = time.monotonic()
    with pytest.raises(BadModel, match=message) as caught:
        load_weights(model, path)
    assert time.monotonic() - began < 30
    assert "weights.pt" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not mark.exists(), "nothing of it ran"
    after = model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "none"])
def test_what_is_no_file_is_no_weights(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "weights.pt"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    with pytest.raises(BadModel, match=r"cannot be loaded as weights: .*(no regular file|No such file)"):
        read_weights(path)


def test_a_start_takes_what_fits_and_leaves_what_does_not(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    good = torch.full_like(STATE["0.weight"], 7.0)
    path.write_bytes(saved({"0.weight": good, "0.bias": "text", "1.weight": torch.zeros(1).expand(2**41), "x": None}))
    model = network()
    start_from(model, path)
    assert torch.equal(model.state_dict()["0.weight"], good)
    path.write_bytes(saved({"0.bias": None}))
    with pytest.raises(BadModel, match="no weight with the name and shape"):
        start_from(model, path)


def test_sound_weights_of_either_format_load(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    for options in ({}, {"_use_new_zipfile_serialization": False}):
        path.write_bytes(saved({"state_dict": {f"module.{n}": v for n, v in STATE.items()}}, **options))
        model = network()
        load_weights(model, path)
        assert all(torch.equal(value, STATE[name]) for name, value in model.state_dict().items())
