"""Processes that train one network together, each on its part of every batch.

Rank 0 is the task's own process: it alone validates, writes and decides; every image is scored once. The others of its
machine are forked from it before anything uses a GPU, and end with it. Other machines do the same with processes of
their own. All of them meet at the address of rank 0 (the rendezvous).
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

from harness.tasks.task import Rendezvous
from harness.training.cuda import start_cuda

# Rank 0 may validate for hours while the others wait.
COLLECTIVE_TIMEOUT = timedelta(days=7)


class ProcessGroup:
    """One process of those that train together; by itself, the only one.

    Args:
        rank: which one; rank 0 decides.
        world_size: how many there are.
        gpu: which of its machine's GPUs it has; None without one.
    """

    def __init__(self, rank: int = 0, world_size: int = 1, gpu: int | None = None) -> None:
        self.rank, self.world_size = rank, world_size
        self.device = torch.device("cpu") if gpu is None else torch.device("cuda", gpu)

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, which validates, writes and decides."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> Callable[[Tensor], Any]:
        """The network's forward, whose backward averages gradients over all processes."""
        if self.world_size == 1:
            return model
        devices = [next(model.parameters()).device] if next(model.parameters()).is_cuda else None
        return nn.parallel.DistributedDataParallel(model, device_ids=devices, find_unused_parameters=True)

    def all_reduce(self, value: Tensor) -> Tensor:
        """The sum of a number over all processes."""
        if self.world_size > 1:
            value = value.clone()
            torch.distributed.all_reduce(value)
        return value

    def broadcast_decision(self, decision: bool) -> bool:
        """What rank 0 decided; every process has to ask."""
        if self.world_size == 1:
            return decision
        flag = torch.tensor(float(decision and self.is_main), device=self.device)
        torch.distributed.all_reduce(flag)
        return bool(flag > 0)

    def broadcast(self, value: Any) -> Any:
        """Rank 0's value, whatever it is; every process has to ask."""
        if self.world_size == 1:
            return value
        box = [value if self.is_main else None]
        torch.distributed.broadcast_object_list(box, src=0, device=self.device)
        return box[0]

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes, by rank; every process has to ask."""
        values = [value] * self.world_size
        if self.world_size > 1:
            torch.distributed.all_gather_object(values, value)
        return values


def synchronize_batch_norm(model: nn.Module) -> nn.Module:
    """Batch statistics over all processes instead of each one's part; only GPUs have that in PyTorch."""
    if next(model.parameters()).is_cuda:
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-any-return]
    return model


class PeerFailed(RuntimeError):
    """A process that trained with this one failed."""


@contextlib.contextmanager
def process_group(
    processes: int, gpu: bool, assist: Callable[[ProcessGroup], None], rendezvous: Rendezvous | None = None
) -> Iterator[ProcessGroup]:
    """Start this machine's other processes and join them; they are ended with the context.

    Args:
        processes: on this machine, this one among them.
        gpu: whether each has a GPU, and they communicate through NCCL instead of gloo.
        assist: what the others do, given their process group.
        rendezvous: where the processes of all machines meet; None if there is only this machine.

    Raises:
        PeerFailed: another process failed; its traceback is in the message.
    """
    if processes == 1 and rendezvous is None:
        yield ProcessGroup()
        return
    # Forked, not started anew: the suite's code and data are here already, and no GPU has been touched yet.
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory(prefix="segbench-ranks-") as folder:
        meet = rendezvous or Rendezvous(Path(folder, "join").as_uri(), 0, processes)
        others = []
        for local in range(1, processes):
            receive, send = context.Pipe(duplex=False)
            process = context.Process(target=_other_process, args=(local, meet, gpu, assist, send), daemon=True)
            process.start()
            send.close()
            others.append((process, receive))
        try:
            yield _join(0, meet, gpu)
        except RuntimeError as error:
            # A process that fails leaves the others with a broken connection: what it says itself is the reason.
            told = [receive.recv() for _, receive in others if _has_message(receive)] if _lost_peer(error) else []
            if told:
                first, text = told[0]
                raise PeerFailed(f"{first}\n{text}") from error
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


def _has_message(receive: Any) -> bool:
    try:
        return bool(receive.poll(2))
    except (EOFError, OSError):
        return False


def _other_process(local: int, meet: Rendezvous, gpu: bool, assist: Callable[[ProcessGroup], None], send: Any) -> None:
    """The life of another process."""
    try:
        assist(_join(local, meet, gpu))
    except BaseException as error:  # noqa: BLE001 (also what a network exits with; rank 0 tells it)
        with contextlib.suppress(OSError):
            first = f"{type(error).__name__}: {error}".splitlines()[0]
            send.send((first, traceback.format_exc()))
    finally:
        # What a network leaves behind (threads, exit handlers) must not keep the process.
        os._exit(0)


def _join(local: int, meet: Rendezvous, gpu: bool) -> ProcessGroup:
    """Meet the other processes, as the one of this number on this machine."""
    if gpu:
        start_cuda()
        torch.cuda.set_device(local)
    else:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", _interface(meet.address))
    torch.distributed.init_process_group(
        "nccl" if gpu else "gloo",
        init_method=meet.address,
        rank=meet.first_rank + local,
        world_size=meet.world_size,
        timeout=COLLECTIVE_TIMEOUT,
    )
    return ProcessGroup(meet.first_rank + local, meet.world_size, local if gpu else None)


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
