"""No event is lost: numbered without gaps, published in order until confirmed, and there to be asked for afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.support.service import Requests, domain_xml, rows, running, until
from virtbus_shared.api import common
from virtbus_shared.api import domain as api
from virtbus_shared.envelope import EventMessage
from virtbus_shared.service import outbox

LIST = common.LIST_EVENTS["domain"]


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is tried again at once: how long it waits is not what these tests are about."""
    monkeypatch.setattr(outbox, "RETRY", 0.001)


async def define(node: Requests, *numbers: int) -> None:
    """One event for each number, all under way together."""
    arrivals = [node.start(api.DEFINE_XML, xml=domain_xml(f"d{n}")) for n in numbers]
    for arrival in arrivals:
        await arrival.settled()


def numbers(events: list[EventMessage]) -> list[int]:
    """Their sequence numbers."""
    return [event.sequence for event in events]


def test_events_are_numbered_and_published_in_order(tmp_path: Path) -> None:
    """Three hundred definitions at once, more than a batch: 1 to 300, in order, each once, with node and scope."""
    async def scenario() -> None:
        async with running(tmp_path) as node:
            await define(node, *range(300))
            events = await node.published_up_to(300)
            assert numbers(events) == list(range(1, 301))
            assert {(e.name, e.node, e.driver, e.path, e.epoch) for e in events} == {
                ("domain.lifecycle", "node-t", "test", "/default", node.runtime.store.epoch)}
            # What a broker has confirmed is counted after its subscribers have heard it.
            await until(lambda: node.runtime.metrics.registry.get_sample_value(
                "virtbus_events_published_total", {"service": "domain", "type": "domain.lifecycle"}) == 300, "count")

    asyncio.run(scenario())


def test_nothing_is_synced_to_learn_that_nothing_waits(tmp_path: Path) -> None:
    """After its events were confirmed, a change costs the disk nothing more, until the next one begins."""
    async def scenario() -> None:
        async with running(tmp_path) as node:
            async def syncs() -> int:
                """Commits that were left to a later sync, and have got it."""
                await until(lambda: node.runtime.metrics.oldest_unpublished is None, "the confirms")
                return await node.runtime.store.submit(lambda db: int(
                    db.execute("SELECT value FROM meta WHERE key = 'syncs'").fetchone()[0]), durable=False)

            await define(node, 1)
            await node.published_up_to(1)
            before = await syncs()
            await define(node, 2)
            await node.published_up_to(2)
            assert await syncs() == before + 1, "that of the beginning of the second request"

    asyncio.run(scenario())


def last(heard: list[int], number: int) -> int:
    """Where a number was heard last."""
    return max(i for i, n in enumerate(heard) if n == number)


def test_what_was_not_taken_is_published_again_with_all_that_follows(tmp_path: Path) -> None:
    """A broker that refuses event 3 and then everything for a while: the numbers that arrive never end before a gap."""
    heard: list[int] = []
    refusals = iter([3, 3, 4, 4, 4])
    refuse = next(refusals)

    async def publish(event: EventMessage) -> None:
        nonlocal refuse
        if event.sequence == refuse:
            refuse = next(refusals, 0)
            raise ConnectionError("nack")
        heard.append(event.sequence)

    async def scenario() -> None:
        async with running(tmp_path, publish=publish) as node:
            await define(node, *range(6))
            await until(lambda: not refuse and node.runtime.metrics.oldest_unpublished is None, "the confirms")

    asyncio.run(scenario())
    assert set(heard) == {1, 2, 3, 4, 5, 6}
    assert heard[-1] == 6
    for number in range(1, 6):
        # Whoever believes the last that was said believes the truth: the newest comes last, after each of the others.
        assert last(heard, number) < last(heard, number + 1)


def test_unpublished_events_are_counted_and_outlive_the_service(tmp_path: Path) -> None:
    """While nobody takes events all of them count as waiting; the next run publishes them in order."""
    async def nobody(event: EventMessage) -> None:
        raise ConnectionError("no broker")

    async def scenario() -> None:
        async with running(tmp_path, publish=nobody) as node:
            await define(node, *range(300))
            metrics = node.runtime.metrics.registry
            service = {"service": "domain"}
            await until(lambda: metrics.get_sample_value("virtbus_events_outbox", service) == 300, "the count")
            oldest = metrics.get_sample_value("virtbus_events_oldest_unpublished_timestamp_seconds", service)
            assert oldest == rows(tmp_path, "SELECT time FROM outbox WHERE sequence = 1")[0][0]
        async with running(tmp_path) as node:
            assert numbers(await node.published_up_to(300)) == list(range(1, 301))
            metrics = node.runtime.metrics.registry
            assert metrics.get_sample_value("virtbus_events_sequence", service) == 300
            await until(lambda: metrics.get_sample_value("virtbus_events_outbox", service) == 0, "the count")
            assert metrics.get_sample_value("virtbus_events_oldest_unpublished_timestamp_seconds", service) is None
            await define(node, 301)
            assert numbers(await node.published_up_to(301)) == list(range(1, 302))

    asyncio.run(scenario())


def test_a_store_that_fails_for_a_while_does_not_end_the_publishing(tmp_path: Path) -> None:
    """A mark that cannot be written on a full disk is tried again: later events still come."""
    async def scenario() -> None:
        async with running(tmp_path) as node:
            await define(node, 1)
            await node.published_up_to(1)
            store = node.runtime.store
            await store.submit(lambda db: db.execute(
                "CREATE TEMP TRIGGER full BEFORE UPDATE ON outbox BEGIN SELECT RAISE(ABORT, 'disk is full'); END"))
            await define(node, 2)
            await until(lambda: numbers(node.published).count(2) > 2, "attempts")
            await store.submit(lambda db: db.execute("DROP TRIGGER full"))
            await define(node, 3)
            await node.published_up_to(3)

    asyncio.run(scenario())


async def ask(node: Requests, epoch: str, sequence: int, limit: int = 1000) -> tuple[bool, int, int, list[int]]:
    """(gap, first, last, numbers of the events) of an answer."""
    answer = await node(LIST, epoch=epoch, sequence=sequence, limit=limit)
    assert answer.epoch == node.runtime.store.epoch
    return answer.gap, answer.first, answer.last, [EventMessage.decode(e).sequence for e in answer.events]


def resume(folder: Path, scenario: Callable[[Requests, str], Awaitable[None]], events: int) -> None:
    """A service that has had some events and published them."""
    async def both() -> None:
        async with running(folder) as node:
            await define(node, *range(events))
            if events:
                await node.published_up_to(events)
            await until(lambda: node.runtime.metrics.oldest_unpublished is None, "the confirms")
            await scenario(node, node.runtime.store.epoch)

    asyncio.run(both())


def test_a_subscriber_resumes_where_it_was(tmp_path: Path) -> None:
    """Every event after its number, in pieces if it likes; nothing is said to be missing."""
    async def scenario(node: Requests, epoch: str) -> None:
        assert await ask(node, epoch, 2) == (False, 1, 5, [3, 4, 5])
        assert await ask(node, epoch, 5) == (False, 1, 5, [])
        assert await ask(node, epoch, 2, limit=2) == (False, 1, 5, [3, 4])
        assert await ask(node, "", 0) == (False, 1, 5, [1, 2, 3, 4, 5])

    resume(tmp_path, scenario, 5)


def test_a_subscriber_is_told_of_what_is_lost(tmp_path: Path) -> None:
    """Forgotten events, another epoch, numbers that were never given out: each is a gap, with all that is kept."""
    async def scenario(node: Requests, epoch: str) -> None:
        await node.runtime.store.prune(0, 2)
        assert await ask(node, epoch, 3) == (False, 4, 5, [4, 5])
        assert await ask(node, epoch, 2) == (True, 4, 5, [4, 5])
        assert await ask(node, "", 0) == (True, 4, 5, [4, 5])
        assert await ask(node, "another", 5) == (True, 4, 5, [4, 5])
        assert await ask(node, epoch, 9) == (True, 4, 5, [])

    resume(tmp_path, scenario, 5)


def test_a_node_without_events_has_no_gap(tmp_path: Path) -> None:
    """The first subscriber of a new node misses nothing."""
    async def scenario(node: Requests, epoch: str) -> None:
        assert await ask(node, "", 0) == await ask(node, epoch, 0) == (False, 0, 0, [])

    resume(tmp_path, scenario, 0)
