"""What the process of a network may do, and how it gives up the rest before any of the network's code is loaded.

docs/security.md says what this holds and what it does not. Linux enforces it through Landlock, which needs no root;
elsewhere, or on older kernels, the process still loses the environment's secrets and gets limits. What was in force is
in the provenance of every run.
"""

from __future__ import annotations

import importlib.util
import os
import resource
import site
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import harness
from harness.datasets.base import Dataset
from harness.datasets.cache import DecodedStore
from harness.errors import BenchError
from harness.tasks.checkpoint_files import CHECKPOINTS
from harness.tasks.task import Task
from harness.training.tensorboard import LOG_FOLDER
from harness.utils import landlock
from harness.utils.environment import setting

MODES = ("strict", "network", "off")
# Bytes of the largest file it may write.
LARGEST_FILE = 64 * 1024**3
# Networks of the project and of packages it knows may fetch their pretrained weights.
FETCHING_ORIGINS = ("built in", "torchvision", "smp")


@dataclass(frozen=True)
class Sandbox:
    """What one process may do."""

    readable: tuple[Path, ...]
    """Files, and folders with everything below them."""
    writable: tuple[Path, ...]
    tcp: str
    """Why TCP is allowed; empty where it is not."""
    cuda: bool = False
    """Whether it may write in its own folder of `/proc`: CUDA gives its threads names there, or does not start."""
    off: bool = False
    """Whether the host has turned isolation off."""

    def apply(self) -> dict[str, Any]:
        """Give up everything else, for good; returns what is in force, for the provenance.

        To be called in a process of one thread, before it loads the network.
        """
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        limit = LARGEST_FILE
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        if hard != resource.RLIM_INFINITY:
            limit = min(limit, hard)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        if self.off:
            return {"landlock": 0, "files": "all", "tcp": "allowed", "why": "SEGBENCH_ISOLATION=off"}
        held = {"no_new_privs": landlock.no_new_privileges(), "landlock": landlock.version()}
        try:
            own = Path("/proc", str(os.getpid()))  # of other processes there would be their environment
            writable = (*self.writable, own) if self.cuda else self.writable
            landlock.restrict((*self.readable, own), writable, tcp=bool(self.tcp))
        except OSError as error:
            return held | {"landlock": 0, "files": "all", "tcp": "allowed", "why": f"no Landlock: {error.strerror}"}
        denied = landlock.version() >= 4 and not self.tcp
        return held | {"files": "its own", "tcp": "denied" if denied else f"allowed: {self.tcp or 'kernel too old'}"}


def isolation() -> str:
    """What the host has chosen: `strict`, `network` (TCP is allowed) or `off`.

    Raises:
        BenchError: SEGBENCH_ISOLATION is something else.
    """
    chosen = setting("SEGBENCH_ISOLATION") or MODES[0]
    if chosen not in MODES:
        raise BenchError(f"SEGBENCH_ISOLATION={chosen}: choose {', '.join(MODES)}")
    return chosen


def sandbox_of(task: Task, dataset: Dataset, store: DecodedStore | None, scratch: Path) -> Sandbox:
    """What the network of a task may do.

    Args:
        task: the task.
        dataset: its copy of the data.
        store: the machine's cache of it, opened with those masks alone that the network may see.
        scratch: the task's own folder for files that come and go.
    """
    mode = isolation()
    data = [*store.files, store.folder / "index.json"] if store is not None else _sample_files(dataset)
    weights = [Path(name) for name in (task.job.model.checkpoint, task.job.model.start_from) if name]
    own = [one.files.local / CHECKPOINTS for one in task.with_shorter()] + [task.files.local / LOG_FOLDER]
    for folder in own:
        folder.mkdir(parents=True, exist_ok=True)
    tcp = _reason_for_tcp(task, mode)
    devices = [Path("/dev")] if task.job.resources.gpus else [Path("/dev/null"), Path("/dev/shm")]
    fetched = [_torch_home()] if tcp else []
    processes = Path("/proc") if task.job.resources.gpus and task.job.resources.world_size > 1 else None
    return Sandbox(
        readable=(*_system(), *_python(task), *data, *weights, *_weight_caches(), *([processes] if processes else ())),
        writable=(scratch, *own, *devices, *fetched),
        tcp=tcp,
        cuda=task.job.resources.gpus > 0,
        off=mode == "off",
    )


def _reason_for_tcp(task: Task, mode: str) -> str:
    if mode == "network":
        return "SEGBENCH_ISOLATION=network"
    if task.job.resources.world_size > 1 or task.rendezvous is not None:
        return "several processes train together"
    fetches = any("pretrained" in name or "weights" in name for name in task.job.model.params)
    if fetches and task.model.origin in FETCHING_ORIGINS:
        return "pretrained weights may have to be fetched"
    return ""


def _sample_files(dataset: Dataset) -> list[Path]:
    """Every file of the samples: without a cache, images and masks cannot be told apart for every data set."""
    ids = dict.fromkeys(i for split in ("train", "val", "test") for i in dataset.ids(split))
    return [path for image_id in ids for path in dataset.files(image_id)]


def _system() -> list[Path]:
    """What programs of the system need; of other processes nothing."""
    folders = [Path(p) for p in ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/opt", "/sys", "/nix")]
    devices = [Path("/dev", name) for name in ("null", "zero", "full", "random", "urandom")]
    facts = ("cpuinfo", "meminfo", "stat", "version", "filesystems", "sys", "driver", "devices", "modules")
    return [*folders, *devices, *(Path("/proc", name) for name in facts)]


def _python(task: Task) -> Iterator[Path]:
    """Python, installed packages, this project's code, and that of the network's own package."""
    folders = {sys.prefix, sys.base_prefix, sys.exec_prefix, *sysconfig.get_paths().values()}
    yield from (Path(folder).resolve() for folder in folders)
    yield from (Path(p) for p in (*site.getsitepackages(), site.getusersitepackages()))
    # Other environments' packages, by a .pth file or PYTHONPATH; a folder of another name may hold the database.
    yield from (Path(p).resolve() for p in sys.path if Path(p).name in ("site-packages", "dist-packages"))
    yield Path(harness.__file__).resolve().parent
    module = task.model.target.partition(":")[0].partition(".")[0]
    if not task.model.source and module:
        found = importlib.util.find_spec(module)
        if found is not None:
            yield from (Path(p) for p in found.submodule_search_locations or [found.origin or ""])


def _torch_home() -> Path:
    return Path(os.environ.get("TORCH_HOME") or Path(_cache_home(), "torch"))


def _weight_caches() -> list[Path]:
    """Where libraries keep pretrained weights that were fetched before."""
    hugging_face = os.environ.get("HF_HOME") or Path(_cache_home(), "huggingface")
    return [_torch_home(), Path(hugging_face)]


def _cache_home() -> str:
    return os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())


def own_places(scratch: Path) -> dict[str, str]:
    """The environment's folders for the process of a network: its own, and the caches of weights as they are."""
    torch_home, hugging_face = map(str, _weight_caches())
    compiled = str(scratch / "compiled")
    return {
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "TORCH_HOME": torch_home,
        "HF_HOME": hugging_face,
        "TORCHINDUCTOR_CACHE_DIR": compiled,
        "TRITON_CACHE_DIR": compiled,
        "MPLCONFIGDIR": str(scratch),
    }
