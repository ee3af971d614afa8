"""Work on many items at once, with only a few of them in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int, ahead: int | None = None
) -> Iterator[Result]:
    """The results of `work`, in the order of the items, computed by threads.

    Items are taken from their source one by one, and no more than `ahead` of them (twice the threads by default) wait
    or are worked on at any time: memory depends on that, not on how many there are. One thread works in the caller's.

    Raises:
        Whatever `work` or the source raised first; what had begun is finished, nothing more is begun.
    """
    if threads <= 1:
        yield from map(work, items)
        return
    limit = ahead or 2 * threads
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(max_workers=threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= limit:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for left in waiting:
                left.cancel()
