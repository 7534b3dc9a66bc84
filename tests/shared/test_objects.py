"""Turns are fair, have deadlines and an end; a registry keeps names and UUIDs together."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import AsyncExitStack

import pytest

from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service import objects
from virtbus_shared.service.objects import Registry, Turns

DOMAIN = c.VIR_FROM_TEST


def far() -> float:
    """A deadline that no test reaches."""
    return time.time() + 60


def test_turns_come_in_order_of_arrival() -> None:
    """A hundred waiters get their turn in the order in which they asked."""
    async def scenario() -> list[int]:
        turns, order = Turns(), list[int]()

        async def work(number: int) -> None:
            async with turns.turn("work", far(), DOMAIN):
                order.append(number)
                await asyncio.sleep(0)

        await asyncio.gather(*(work(n) for n in range(100)))
        return order

    assert asyncio.run(scenario()) == list(range(100))


def test_who_waits_in_vain_is_told_who_holds_the_turn() -> None:
    """The error names the operation in the way; the holder is not disturbed, and the next one gets its turn."""
    async def scenario() -> LibvirtError:
        turns = Turns()
        async with turns.turn("domain.create", far(), DOMAIN):
            with pytest.raises(LibvirtError) as caught:
                await turns.acquire("domain.destroy", time.time() + 0.02, DOMAIN)
            assert turns.holder == "domain.create"
        async with turns.turn("domain.destroy", far(), DOMAIN):
            assert turns.holder == "domain.destroy"
        return caught.value

    error = asyncio.run(scenario())
    assert (error.code, error.domain) == (c.VIR_ERR_OPERATION_TIMEOUT, DOMAIN)
    assert "cannot acquire state change lock (held by domain.create for 0s)" in error.message


def test_a_deadline_in_the_past_gets_no_turn() -> None:
    """Even a free turn is refused to one who comes too late, and stays free."""
    async def scenario() -> LibvirtError:
        turns = Turns()
        with pytest.raises(LibvirtError) as caught:
            await turns.acquire("domain.create", time.time() - 1, DOMAIN)
        await turns.acquire("domain.create", math.inf, DOMAIN)
        turns.release()
        return caught.value

    assert asyncio.run(scenario()).code == c.VIR_ERR_OPERATION_TIMEOUT


def test_a_cancelled_waiter_leaves_the_queue() -> None:
    """One that gives up does not take the turn with it, nor its place in the count."""
    async def scenario() -> str:
        turns = Turns()
        await turns.acquire("first", far(), DOMAIN)
        waiters = [asyncio.create_task(turns.acquire(f"waiter {n}", far(), DOMAIN)) for n in range(3)]
        await asyncio.sleep(0)
        waiters[0].cancel()
        await asyncio.gather(waiters[0], return_exceptions=True)
        turns.release()
        await waiters[1]
        return turns.holder

    assert asyncio.run(scenario()) == "waiter 1"


def test_only_so_many_wait_for_one_object() -> None:
    """The queue of a hung object is full one day: the next caller is refused at once, a driver's own work is not."""
    async def scenario() -> LibvirtError:
        turns = Turns()
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(turns.turn("domain.create", far(), DOMAIN))
            waiters = [asyncio.create_task(turns.acquire("domain.destroy", far(), DOMAIN))
                       for _ in range(objects.MAX_WAITING)]
            await asyncio.sleep(0)
            with pytest.raises(LibvirtError) as caught:
                await turns.acquire("domain.destroy", far(), DOMAIN)
            own = asyncio.create_task(turns.acquire("its end", math.inf, DOMAIN))
            await asyncio.sleep(0)
            assert not own.done()
            for task in (*waiters, own):
                task.cancel()
            await asyncio.gather(*waiters, own, return_exceptions=True)
        return caught.value

    error = asyncio.run(scenario())
    assert error.code == c.VIR_ERR_OPERATION_FAILED
    assert "due to max_queued limit (held by domain.create" in error.message


def test_the_clock_may_go_backwards_while_a_turn_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long a turn has been held is not read off a clock that people set."""
    async def scenario() -> str:
        turns = Turns()
        async with turns.turn("domain.create", far(), DOMAIN):
            now = time.time()
            monkeypatch.setattr(time, "time", lambda: now - 3600)
            with pytest.raises(LibvirtError) as caught:
                await turns.acquire("domain.destroy", now - 3599.98, DOMAIN)
        return caught.value.message

    assert asyncio.run(scenario()).endswith("for 0s)")


class Thing:
    """The least that a registry keeps."""

    def __init__(self, name: str, uuid: str) -> None:
        self.name = name
        self.uuid = uuid
        self.turns = Turns()


def test_a_registry_finds_by_name_and_uuid_in_order() -> None:
    """What was added is found both ways and listed in the order in which it came; what was removed is gone."""
    registry: Registry[Thing] = Registry()
    things = [Thing(f"имя-{n}", f"u{9 - n}") for n in range(5)]
    for thing in things:
        registry.add(thing)
    registry.remove(things[2])
    assert list(registry) == [things[0], things[1], things[3], things[4]]
    assert len(registry) == 4
    assert registry.by_name("имя-1") is things[1] is registry.by_uuid("u8")
    assert registry.by_name("имя-2") is registry.by_uuid("u7") is None
