"""Time limits hold wherever they stand, also in the clean-up of a task that is being cancelled (Python 3.11.2)."""

from __future__ import annotations

import asyncio

import pytest

from virtbus_shared.timeout import timeout


async def for_ever() -> None:
    """What a limit ends."""
    await asyncio.Event().wait()


async def cleaned_up(done: list[str]) -> None:
    """Something that is ended, and whose clean-up has a limit of its own, which runs out."""
    try:
        await for_ever()
    finally:
        with pytest.raises(TimeoutError):
            async with timeout(0.01):
                await for_ever()
        done.append("cleaned up")


def test_runs_out() -> None:
    """A block that takes too long ends with TimeoutError, one that does not is left alone, and None is no limit."""
    async def scenario() -> None:
        with pytest.raises(TimeoutError):
            async with timeout(0.01):
                await for_ever()
        async with timeout(60), timeout(None):
            await asyncio.sleep(0)

    asyncio.run(scenario())


def test_in_the_clean_up_of_a_limit_that_ran_out() -> None:
    """The inner limit is a TimeoutError to the clean-up, the outer one to who set it."""
    done: list[str] = []

    async def works() -> None:
        async with timeout(0.01):
            await cleaned_up(done)

    async def scenario() -> None:
        with pytest.raises(TimeoutError):
            await works()

    asyncio.run(scenario())
    assert done == ["cleaned up"]


def test_in_the_clean_up_of_a_cancelled_task() -> None:
    """The same for a task that somebody cancels; it ends as cancelled."""
    done: list[str] = []

    async def scenario() -> None:
        task = asyncio.create_task(cleaned_up(done))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    asyncio.run(scenario())
    assert done == ["cleaned up"]


def test_anybody_elses_cancellation_stays_one() -> None:
    """A task that is cancelled in the moment its limit runs out is cancelled: nobody swallows that."""
    async def works() -> None:
        async with timeout(0):
            await for_ever()

    async def scenario() -> None:
        task = asyncio.create_task(works())
        asyncio.get_running_loop().call_later(0.01, task.cancel)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())
