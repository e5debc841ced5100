"""Many calls at once, never more than a stated number, and the first error stops the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


async def fan_out(items: Iterable[T], work: Callable[[T], Awaitable[None]], *, width: int) -> None:
    """Run `work` on each item, `width` at a time, starting in order.

    Raises:
        Exception: the first that `work` raised; work under way is cancelled.
    """
    source = iter(items)

    async def worker() -> None:
        for item in source:
            await work(item)

    tasks = [asyncio.ensure_future(worker()) for _ in range(width)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
