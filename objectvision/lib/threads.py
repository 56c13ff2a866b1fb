"""As many threads as a detector makes use of."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def through_lanes(lanes: int, work: Callable[[T], R], items: Sequence[T]) -> Iterator[tuple[T, Future[R]]]:
    """Each item, in order, with the future in which its work has ended, well or badly.

    What is not begun when the caller goes no further is not done.
    """
    pool = ThreadPoolExecutor(lanes, "lane")
    try:
        for item, future in [(item, pool.submit(work, item)) for item in items]:
            future.exception()  # waits
            yield item, future
    finally:
        pool.shutdown(cancel_futures=True)
