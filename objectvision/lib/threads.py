from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def map_in_order(threads: int, work: Callable[[T], R], items: Sequence[T]) -> Iterator[tuple[T, Future[R]]]:
    """Run `work` on the items in so many threads: each item in order, with its finished future.

    When the caller stops iterating, items that no thread has begun are dropped.
    """
    pool = ThreadPoolExecutor(threads, "lane")
    try:
        for item, future in [(item, pool.submit(work, item)) for item in items]:
            future.exception()  # waits
            yield item, future
    finally:
        pool.shutdown(cancel_futures=True)
