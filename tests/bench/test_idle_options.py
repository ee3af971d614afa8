"""An option that would do nothing is an error."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from bench.__main__ import app
from harness.errors import BenchError


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("run --suite demo --in-process", "--in-process cannot apply: it needs --local"),
        ("run --suite demo --local --cpus 2", "--cpus cannot apply: they are Ray's"),
        ("run --suite demo --local --address auto", "--address cannot apply"),
        ("run --suite demo --address auto --cpus 2", "--cpus cannot apply: it is for Ray on this machine"),
        ("run --suite demo --no-timing", "it is for --dry-run"),
        ("run --suite demo --timing", "it is for --dry-run"),
        ("submit net.py --check --suite demo --seeds 0", "--suite, --seeds cannot apply: --check runs nothing"),
        ("merge --list --minutes 5", "--minutes cannot apply: it is for OTHER.db"),
        ("merge --undo 1 --artifacts-from x", "--artifacts-from cannot apply"),
        ("export csv --ablation --table classes", "--ablation cannot apply"),
        ("status --failed --runs", "give one of them"),
        ("score -p x --dataset shapes --valid y", "--valid cannot go with --dataset"),
        ("score -p x --dataset shapes --seed 0", "--seed needs --as"),
        ("check-model unet --param width", "write it as key=value"),
    ],
)
def test_it_is_refused_before_anything_else(words: str, message: str) -> None:
    done = CliRunner().invoke(app, words.split())
    assert isinstance(done.exception, BenchError)
    assert message in str(done.exception)
