"""Work spread over threads of its own on a CPU, by index."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch


def in_threads(begin: Callable[[], Callable[[int], None]], count: int, device: torch.device) -> None:
    """Call what ``begin`` returns with every index below ``count``; on a CPU in as many threads as PyTorch may use.

    ``begin`` is called here, once for each thread: what a thread allocates goes back to the system when it ends, and
    would be new pages at every call.
    """
    if not count:
        return
    left = iter(range(count))  # shared: who is done with one takes the next
    threads = torch.get_num_threads()
    workers = min(threads, count) if device.type == "cpu" else 1

    def alone(work: Callable[[int], None]) -> None:
        with torch.inference_mode():  # views are cheaper in it; modes are kept by thread
            for index in left:
                work(index)

    with torch.inference_mode():
        works = [begin() for _ in range(workers)]
    if device.type != "cpu":
        alone(works[0])
        return
    try:
        with ThreadPoolExecutor(workers, initializer=_set_up_thread) as pool:
            list(pool.map(alone, works))
    finally:
        torch.set_num_threads(threads)  # for threads that begin later; that of the caller has not changed


def _set_up_thread() -> None:
    torch.set_num_threads(1)
    # sharp attention has weights below 1e-38: products with them as they are take many times longer than with zeros
    torch.set_flush_denormal(True)
