"""Twenty networks that misbehave, between good ones: a row for each, and nothing of them reaches the others."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path

import pytest

from tests.conftest import marked, run_bench

HEAD = "import os, sys, time\nimport numpy as np\nimport torch\nfrom torch import nn\n\n"
CONV = "nn.Conv2d(3, num_classes, 3, padding=1)"


def net(forward: str, init: str = "") -> str:
    """A network with its own forward."""
    return (
        f"class Net(nn.Module):\n    def __init__(self, num_classes):\n        super().__init__()\n"
        f"        self.conv = {CONV}\n        {init or 'pass'}\n"
        f"    def forward(self, x):\n        {forward}\n\n\ndef build(num_classes):\n    return Net(num_classes)\n"
    )


# name: (source, own resources, state, part of the reason)
BAD: dict[str, tuple[str, dict[str, float], str, str]] = {
    "import_error": ("import no_such_package\n" + net("return self.conv(x)"), {}, "failed", "no_such_package"),
    "wrong_shape": (net("return self.conv(x)[..., :-1]"), {}, "failed", "they must agree"),
    "wrong_classes": (
        "def build(num_classes):\n    return nn.Conv2d(3, 99, 1)\n",
        {},
        "failed",
        "expected (N, 6, 32, 32)",
    ),
    "nan_loss": (net("return self.conv(x) * float('nan')"), {}, "failed", "the loss became nan at epoch 1"),
    "nan_weights": (
        net("return torch.nan_to_num(self.conv(x))", "nn.init.constant_(self.conv.bias, float('nan'))"),
        {},
        "failed",
        "the weights are no longer finite after epoch 1",
    ),
    "out_of_memory": (
        net("self.kept = [torch.ones(1 << 26) for _ in range(40)]; time.sleep(60)"),
        {"memory_gb": 1.5},
        "oom",
        "over the memory limit of 1.5 GB",
    ),
    "endless_loop": (net("while True: pass"), {"time_limit_s": 4}, "timeout", "over the time limit of 4 s"),
    "sys_exit": (net("sys.exit(3)"), {}, "failed", "SystemExit: 3"),
    "segfault": (net("import ctypes; ctypes.string_at(0)"), {}, "failed", "ended by SIGSEGV"),
    "stdout_flood": (
        net("\n        while True: print('x' * 10_000)"),
        {"time_limit_s": 4},
        "timeout",
        "over the time limit of 4 s",
    ),
    "forks": (net("os.fork() or time.sleep(600); return self.conv(x)"), {}, "ok", ""),
    "removes_its_folder": (
        net(
            "import shutil; shutil.rmtree(self.here, ignore_errors=True); return self.conv(x)",
            "self.here = os.getcwd()",
        ),
        {},
        "ok",
        "",
    ),
    "not_deterministic": (net("return self.conv(x) + int.from_bytes(os.urandom(1), 'big')"), {}, "ok", ""),
    "an_hour_in_the_builder": (
        "def build(num_classes):\n    time.sleep(3600)\n",
        {"time_limit_s": 4},
        "timeout",
        "over the time limit of 4 s",
    ),
    "returns_numpy": (net("return self.conv(x).detach().numpy()"), {}, "failed", "forward returned ndarray"),
    "huge_output": (net("return self.conv(x).repeat(1, 1, 400, 400)"), {"memory_gb": 4}, "", ""),
    "not_contiguous": (net("return self.conv(x).transpose(2, 3).contiguous().transpose(2, 3)"), {}, "ok", ""),
    "half_precision": (f"def build(num_classes):\n    return {CONV}.half()\n", {}, "failed", "Half"),
    "no_parameters": ("def build(num_classes):\n    return nn.ReLU()\n", {}, "failed", "no trainable parameter"),
    "cannot_be_pickled": (net("return self.shift(self.conv(x))", "self.shift = lambda y: y + 1"), {}, "ok", ""),
    "leaves_a_mess": (
        net(
            "return self.conv(x)",
            "torch.set_default_dtype(torch.float64); torch.set_num_threads(2); os.environ['LEFT'] = 'behind'; "
            "os.chdir('/'); nn.Conv2d = None; torch.use_deterministic_algorithms(True); self.conv.float()",
        ),
        {},
        "ok",
        "",
    ),
}

# Refuses to build where anything of an earlier job is left.
GOOD = (
    "def build(num_classes):\n"
    "    assert torch.get_default_dtype() == torch.float32\n"
    "    assert torch.get_num_threads() == 1\n"
    "    assert not torch.are_deterministic_algorithms_enabled()\n"
    "    assert 'LEFT' not in os.environ\n"
    "    assert os.getcwd() != '/' and os.listdir() == []\n"
    "    assert 'no_such_package' not in sys.modules\n"
    f"    return {CONV}\n"
)


def write_suite(home: Path, names: list[str]) -> list[str]:
    """A suite of the bad ones with a good one (and its seeds) between every two; returns the plugin options."""
    models, plugins = [], []
    for place, name in enumerate(names):
        source, own, _, _ = BAD[name]
        (home / f"{name}.py").write_text(f'NAME = "{name}"\nSTRIDE = 4\n{HEAD}{source}')
        models.append({"name": name, "resources": own})
        (home / f"good{place}.py").write_text(f'NAME = "good{place}"\nSTRIDE = 4\n{HEAD}{GOOD}')
        models.append({"name": f"good{place}"})
        plugins += ["--plugin", str(home / f"{name}.py"), "--plugin", str(home / f"good{place}.py")]
    suite = {
        "title": "Bad ones",
        "datasets": ["shapes"],
        "models": models,
        "recipe": {"size": [32, 32], "iterations": 2, "batch_size": 4},
        "resources": {"cpus": 1, "time_limit_s": 60},
    }
    (home / "bad.yaml").write_text(json.dumps(suite))  # JSON is YAML
    return plugins


@pytest.mark.slow
@pytest.mark.long
def test_twenty_bad_networks_are_rows_and_every_good_one_finishes(home: Path) -> None:
    plugins = write_suite(home, list(BAD))
    done = run_bench("run", "--suite", "bad.yaml", *plugins, cwd=home, check=False, TEST_MARK=str(home))
    assert done.returncode == 1, done.stdout + done.stderr
    connection = sqlite3.connect(home / "results.db")
    rows = {m: (s, r) for m, s, r in connection.execute("select model_name, state, reason from runs")}
    connection.close()
    assert len(rows) == 2 * len(BAD) >= 40
    for name, (_, _, state, reason) in BAD.items():
        if name == "huge_output":  # 2.5 GB of logits: refused for their shape, or for the memory
            assert rows[name][0] in ("failed", "oom"), rows[name]
        else:
            assert rows[name][0] == state, (name, rows[name])
            assert reason in rows[name][1], (name, rows[name])
    assert {rows[f"good{place}"] for place in range(len(BAD))} == {("ok", "")}
    assert f"{sum(1 for s, _ in rows.values() if s != 'ok')} failed" in done.stdout
    deadline = time.monotonic() + 30
    while (left := marked(str(home), "harness.runner.template", "ray::", "raylet")) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert left == []
