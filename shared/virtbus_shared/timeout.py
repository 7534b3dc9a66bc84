"""``asyncio.timeout`` as Python has it since 3.11.3; Debian 12 ships 3.11.2.

There, a time limit inside a task that is already being cancelled (by a limit around it that has run out, say) ends in
``CancelledError`` instead of ``TimeoutError``. That is where clean-up happens: a start whose deadline passed would be
thrown out of its own clean-up, and leave QEMU behind. (CPython issue 102780.)
"""

from __future__ import annotations

import asyncio
from types import TracebackType


class Timeout(asyncio.Timeout):  # type: ignore[misc]  # final to type checkers only
    """A limit on the time that a block may take; ``TimeoutError`` when it has run out."""

    _before = 0  # cancellations that the task had to heed already

    async def __aenter__(self) -> Timeout:
        """Begin."""
        await super().__aenter__()
        self._before = _cancelling()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        """End; our own cancellation becomes ``TimeoutError``, anybody else's stays what it is."""
        await super().__aexit__(kind, error, trace)
        if kind is asyncio.CancelledError and self.expired() and _cancelling() <= self._before:
            raise TimeoutError from error


def timeout(seconds: float | None) -> Timeout:
    """``async with timeout(5):`` ends the block with ``TimeoutError`` after 5 seconds; None is no limit."""
    return Timeout(None if seconds is None else asyncio.get_running_loop().time() + seconds)


def _cancelling() -> int:
    task = asyncio.current_task()
    return task.cancelling() if task is not None else 0
