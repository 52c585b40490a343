"""The same work on several nodes at once; every result, or one error that names each node that failed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, TypeVar

from testbed.errors import LabErrors, TestbedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future

__all__ = ["collect", "on_each"]

Item = TypeVar("Item")
Result = TypeVar("Result")

WORKERS = 8  # containers start no faster with more: the engine and the kernel are the limit


def on_each(items: Mapping[str, Item], work: Callable[[Item], Result], what: str) -> dict[str, Result]:
    """`work` on each item, by name. Waits for all of them, also when one fails or the user interrupts.

    Raises the error itself if one failed, LabErrors if several did.
    """
    if not items:
        return {}
    with ThreadPoolExecutor(min(WORKERS, len(items)), thread_name_prefix="node") as pool:
        futures = {name: pool.submit(work, item) for name, item in items.items()}
        try:
            wait(futures.values())
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return collect(futures, what)


def collect(futures: Mapping[str, Future[Result]], what: str) -> dict[str, Result]:
    """The results of work under way, by name, when all of it has ended. Raises as `on_each` does."""
    errors = {name: error for name, future in futures.items() if (error := future.exception())}
    if len(errors) == 1:
        raise next(iter(errors.values()))
    if errors:
        unexpected = [error for error in errors.values() if not isinstance(error, TestbedError)]
        if unexpected:
            raise unexpected[0]
        raise LabErrors(
            f"{what} failed on {len(errors)} nodes",
            {k: e for k, e in errors.items() if isinstance(e, Exception)},
        )
    return {name: future.result() for name, future in futures.items()}
