"""Processes that train one network together, each on its part of every batch.

Rank 0 is the unit's own process: it alone validates, writes and decides; every image is scored once. The others of its
machine are forked from it before anything uses a GPU, and end with it; other machines have a process with its own
others each, and all meet at rank 0's address.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import socket
import tempfile
import traceback
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import torch
from torch import Tensor, nn

from harness.tasks.records import Meeting

# Rank 0 may validate for hours while the others wait.
PATIENCE = timedelta(days=7)


class Ranks:
    """One process of those that train together; by itself, the only one.

    Args:
        rank: which one; 0 decides.
        count: how many there are.
        gpu: which of its machine's GPUs it has; None without one.
    """

    def __init__(self, rank: int = 0, count: int = 1, gpu: int | None = None) -> None:
        self.rank, self.count = rank, count
        self.device = torch.device("cpu") if gpu is None else torch.device("cuda", gpu)

    @property
    def leads(self) -> bool:
        """Whether this process validates and writes."""
        return self.rank == 0

    def wrapped(self, model: nn.Module) -> Callable[[Tensor], Any]:
        """The network's forward, whose backward averages gradients over all processes."""
        if self.count == 1:
            return model
        devices = [next(model.parameters()).device] if next(model.parameters()).is_cuda else None
        return nn.parallel.DistributedDataParallel(model, device_ids=devices, find_unused_parameters=True)

    def total(self, value: Tensor) -> Tensor:
        """The sum of a number over all processes."""
        if self.count > 1:
            value = value.clone()
            torch.distributed.all_reduce(value)
        return value

    def agreed(self, decision: bool) -> bool:
        """What rank 0 decided; every process has to ask."""
        if self.count == 1:
            return decision
        word = torch.tensor(float(decision and self.leads), device=self.device)
        torch.distributed.all_reduce(word)
        return bool(word > 0)

    def shared(self, value: Any) -> Any:
        """Rank 0's value, whatever it is; every process has to ask."""
        if self.count == 1:
            return value
        box = [value if self.leads else None]
        torch.distributed.broadcast_object_list(box, src=0, device=self.device)
        return box[0]


def share_batch_norm(model: nn.Module) -> nn.Module:
    """Batch statistics over all processes instead of each one's part; only GPUs have that in PyTorch."""
    if next(model.parameters()).is_cuda:
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-any-return]
    return model


class HelperFailed(RuntimeError):
    """A process that trained with this one failed."""


@contextlib.contextmanager
def together(count: int, gpu: bool, help: Callable[[Ranks], None], meeting: Meeting | None = None) -> Iterator[Ranks]:
    """Start this machine's other processes and join them; they are ended with the context.

    Args:
        count: processes on this machine, this one among them.
        gpu: whether each has a GPU, and they talk through NCCL instead of gloo.
        help: what the others do, given their rank.
        meeting: where the processes of all machines meet; None if there is only this one.

    Raises:
        HelperFailed: another process failed; its traceback is in the message.
    """
    if count == 1 and meeting is None:
        yield Ranks()
        return
    # Forked, not started anew: the suite's code and data are here already, and no GPU has been touched yet.
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory(prefix="segbench-ranks-") as folder:
        met = meeting or Meeting(Path(folder, "join").as_uri(), 0, count)
        others = []
        for local in range(1, count):
            receive, send = context.Pipe(duplex=False)
            process = context.Process(target=_helper, args=(local, met, gpu, help, send), daemon=True)
            process.start()
            send.close()
            others.append((process, receive))
        try:
            yield _join(0, met, gpu)
        except RuntimeError as error:
            # A process that fails leaves the others with a broken connection: its own word is the reason.
            told = [receive.recv() for _, receive in others if _has_word(receive)] if _lost_peer(error) else []
            if told:
                first, text = told[0]
                raise HelperFailed(f"{first}\n{text}") from error
            raise
        finally:
            if torch.distributed.is_initialized():
                with contextlib.suppress(RuntimeError):
                    torch.distributed.destroy_process_group()
            for process, receive in others:
                process.kill()
                process.join(5)
                receive.close()


def _lost_peer(error: RuntimeError) -> bool:
    return isinstance(error, torch.distributed.DistError) or any(
        word in str(error) for word in ("peer", "gloo", "Gloo", "NCCL", "Connection")
    )


def _has_word(receive: Any) -> bool:
    try:
        return bool(receive.poll(2))
    except (EOFError, OSError):
        return False


def _helper(local: int, met: Meeting, gpu: bool, help: Callable[[Ranks], None], send: Any) -> None:
    """The life of another process."""
    try:
        help(_join(local, met, gpu))
    except BaseException as error:  # noqa: BLE001 (also what a network exits with; rank 0 tells it)
        with contextlib.suppress(OSError):
            first = f"{type(error).__name__}: {error}".splitlines()[0]
            send.send((first, traceback.format_exc()))
    finally:
        # What a network leaves behind (threads, exit handlers) must not keep the process.
        os._exit(0)


def _join(local: int, met: Meeting, gpu: bool) -> Ranks:
    """Meet the other processes, as the one of this number on this machine."""
    if gpu:
        torch.cuda.set_device(local)
    else:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", _interface(met.address))
    torch.distributed.init_process_group(
        "nccl" if gpu else "gloo",
        init_method=met.address,
        rank=met.first + local,
        world_size=met.count,
        timeout=PATIENCE,
    )
    return Ranks(met.first + local, met.count, local if gpu else None)


def _interface(address: str) -> str:
    """The network interface through which this machine reaches an address; the local one for a file."""
    host, port = urlsplit(address).hostname, urlsplit(address).port
    if host is None:
        host, port = "127.0.0.1", 1
    # Connecting a datagram socket sends nothing: it only chooses the way.
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as way:
        way.connect((host, port))
        own = way.getsockname()[0]
    names = [n for n, them in psutil.net_if_addrs().items() for one in them if one.address.partition("%")[0] == own]
    return names[0] if names else "lo"
