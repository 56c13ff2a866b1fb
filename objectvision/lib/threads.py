import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from objectvision.lib import connections

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


def run_in_thread(work: Callable[[], R], name: str) -> Future[R]:
    """Run the work in a daemon thread: the threads of an executor keep a process from ending."""
    future: Future[R] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001  # raised again by `result()`
            future.set_exception(error)
        finally:
            connections.give_back()

    threading.Thread(target=run, name=name, daemon=True).start()
    return future
