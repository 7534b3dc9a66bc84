"""Starts, stops and crashes: what a service finds in its database is settled by looking, and nothing is half there."""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgpack
import pytest

from tests.support.service import Requests, crash_copy, domain_xml, error_of, make, rows, running, until
from virtbus_shared import __version__
from virtbus_shared import constants as c
from virtbus_shared.api import common
from virtbus_shared.api import domain as api
from virtbus_shared.envelope import EventMessage, decode_reply
from virtbus_shared.errors import LibvirtError
from virtbus_shared.procedure import AnyProcedure
from virtbus_shared.service import runtime as runtime_module
from virtbus_shared.service.handlers import Handlers
from virtbus_shared.service.runtime import Service

UUID = "aaaaaaaa-0000-4000-8000-00000000000{}"
OUTCOME = common.GET_OUTCOME["domain"]
Step = Callable[[Requests], Awaitable[None]]


async def nobody(event: EventMessage) -> None:
    """Events that nobody hears."""
    del event


# -- nothing is half-written ------------------------------------------------------------------------------------------


def test_a_killed_service_leaves_nothing_by_halves(tmp_path: Path) -> None:
    """kill -9 while eight callers define and remove: what was promised is there; object, event and journal agree."""
    for attempt in range(3):
        folder = tmp_path / str(attempt)
        with subprocess.Popen([sys.executable, "-m", "tests.support.defining", str(folder)],
                              stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            promised = [process.stdout.readline().strip() for _ in range(40 + 17 * attempt)]
            process.kill()
            promised += [line.strip() for line in process.stdout if line.endswith("\n")]
        there = {msgpack.unpackb(record)["name"] for (record,) in rows(folder, "SELECT record FROM objects")} - {"test"}
        events = [msgpack.unpackb(body) for (body,) in rows(folder, "SELECT body FROM outbox ORDER BY sequence")]
        numbers = [n for (n,) in rows(folder, "SELECT sequence FROM outbox ORDER BY sequence")]
        done = {str(i) for (i,) in rows(folder, "SELECT id FROM journal WHERE finished IS NOT NULL AND failed = 0")}
        defined = {e["domain"]["name"] for e in events if e["event"] == c.VIR_DOMAIN_EVENT_DEFINED}
        removed = {e["domain"]["name"] for e in events if e["event"] == c.VIR_DOMAIN_EVENT_UNDEFINED}
        assert promised[0]
        assert {line[1:] for line in promised if line[0] == "+"} <= defined
        assert {line[1:] for line in promised if line[0] == "-"} <= removed
        assert there == defined - removed
        assert done == {f"define-{n[1:]}" for n in defined} | {f"undefine-{n[1:]}" for n in removed}
        assert numbers == list(range(1, len(events) + 1))

        async def restart(folder: Path, expected: set[str]) -> None:
            async with running(folder) as node:
                assert {d.name for d in (await node(api.LIST_ALL)).domains} - {"test"} == expected
                assert len(await node.published_up_to(1)) >= 1

        asyncio.run(restart(folder, there))


# -- a crash between the beginning and the end of a request -----------------------------------------------------------


def interrupted(tmp_path: Path, before: Step, row: AnyProcedure, after: Callable[[Requests, bytes], Awaitable[None]], *,
                hangs: str, within: float = 3600) -> None:
    """A request that hangs in the driver, a crash meanwhile, and a second run that gets the same request again."""
    async def both() -> None:
        async with running(tmp_path / "first") as node:
            await node(api.DEFINE_XML, xml=domain_xml("x", UUID.format(1), hang=hangs))
            await before(node)
            body = node.request(row, request_id="r", within=within, uuid=UUID.format(1)).encode()
            arrival = node.take(body)
            await until(lambda: node.runtime.metrics.running, "the driver")
            assert arrival.acked == 1
            assert not arrival.replies
            crash_copy(tmp_path / "first", tmp_path / "second")
        async with running(tmp_path / "second") as node:
            await after(node, body)

    asyncio.run(both())


async def _nothing(node: Requests) -> None:
    del node


def test_a_request_without_effect_may_run_after_the_crash(tmp_path: Path) -> None:
    """The domain does not run: the request had no effect, is not claimed to be running, and runs when it returns."""
    async def after(node: Requests, body: bytes) -> None:
        assert (await node(OUTCOME, id="r")).state == "unknown"
        await node(api.DEFINE_XML, xml=domain_xml("x", UUID.format(1)))  # it hangs no more
        replies = {await node.take(body, redelivered=True).settled() for _ in range(100)}
        assert len(replies) == 1
        assert decode_reply(replies.pop())["id"] > 0
        assert (await node(OUTCOME, id="r")).state == "done"
        assert rows(tmp_path / "second", "SELECT attempts FROM journal WHERE id = 'r'") == [(2,)]

    interrupted(tmp_path, _nothing, api.CREATE, after, hangs="create")


def test_a_request_that_came_late_because_of_the_crash_never_runs(tmp_path: Path) -> None:
    """No effect, and its deadline passed while the service was away: its outcome says so, whoever asks."""
    async def after(node: Requests, body: bytes) -> None:
        answer = await node(OUTCOME, id="r")
        assert answer.state == "done"
        assert "after its deadline and was not run" in error_of(answer.reply).message
        assert error_of(await node.take(body).settled()).code == c.VIR_ERR_OPERATION_TIMEOUT
        assert not (await node(api.IS_ACTIVE, uuid=UUID.format(1))).value

    async def both() -> None:
        async with running(tmp_path / "first") as node:
            await node(api.DEFINE_XML, xml=domain_xml("x", UUID.format(1), hang="create"))
            body = node.request(api.CREATE, request_id="r", within=0.2, uuid=UUID.format(1)).encode()
            node.take(body)
            await until(lambda: node.runtime.metrics.running, "the driver")
            crash_copy(tmp_path / "first", tmp_path / "second")
            await asyncio.sleep(0.2)  # the deadline passes
        async with running(tmp_path / "second") as node:
            await after(node, body)

    asyncio.run(both())


def test_what_the_guest_may_have_got_is_not_asked_twice(tmp_path: Path) -> None:
    """Whether a guest was told to shut down leaves no trace: the outcome says that nobody knows."""
    async def before(node: Requests) -> None:
        await node(api.CREATE, uuid=UUID.format(1))

    async def after(node: Requests, body: bytes) -> None:
        error = error_of(await node.take(body, redelivered=True).settled())
        assert error.code == c.VIR_ERR_OPERATION_ABORTED
        assert "whether the guest got it is unknown" in error.message
        assert (await node(api.IS_ACTIVE, uuid=UUID.format(1))).value

    interrupted(tmp_path, before, api.SHUTDOWN, after, hangs="shutdown")


@pytest.mark.parametrize(("row", "steps"), [
    (api.CREATE, ()), (api.DESTROY, (api.CREATE,)), (api.SUSPEND, (api.CREATE,)),
    (api.RESUME, (api.CREATE, api.SUSPEND))], ids=lambda v: getattr(v, "name", ""))
def test_an_effect_before_the_crash_is_found_by_looking(tmp_path: Path, row: AnyProcedure,
                                                       steps: tuple[AnyProcedure, ...]) -> None:
    """It was done and its end not written: the second run finds it done, answers so, and does not do it again."""
    async def both() -> None:
        async with running(tmp_path) as node:
            await node(api.DEFINE_XML, xml=domain_xml("x", UUID.format(1)))
            for step in steps:
                await node(step, uuid=UUID.format(1))
            body = node.request(row, request_id="r", within=3600, uuid=UUID.format(1)).encode()
            first = decode_reply(await node.take(body).settled())
            await node.runtime.store.submit(lambda db: db.execute(
                "UPDATE journal SET finished = NULL, failed = NULL, reply = NULL WHERE id = 'r'"))
            state = await node(api.GET_STATE, uuid=UUID.format(1))
        async with running(tmp_path) as node:
            assert (await node(OUTCOME, id="r")).state == "done"
            assert decode_reply(await node.take(body, redelivered=True).settled()) == first
            assert await node(api.GET_STATE, uuid=UUID.format(1)) == state

    asyncio.run(both())


def test_a_request_that_was_running_at_three_crashes_is_given_up(tmp_path: Path) -> None:
    """A request that may be what kills the service does not get a fourth chance."""
    async def both() -> None:
        async with running(tmp_path) as node:
            body = node.request(api.DEFINE_XML, request_id="r", within=3600, xml=domain_xml("x")).encode()
            await node.take(body).settled()
            await node.runtime.store.submit(lambda db: db.execute(
                "UPDATE journal SET finished = NULL, failed = NULL, reply = NULL, attempts = 3 WHERE id = 'r'"))
        async with running(tmp_path) as node:
            error = error_of(await node.take(body).settled())
            assert error.code == c.VIR_ERR_OPERATION_ABORTED
            assert "stopped 3 times while this request ran" in error.message

    asyncio.run(both())


def test_a_request_of_a_connection_that_is_no_more_is_settled(tmp_path: Path) -> None:
    """Its driver is not installed any more: an error, and the start goes on."""
    async def both() -> None:
        async with running(tmp_path) as node:
            await node(api.DEFINE_XML, xml=domain_xml("x", UUID.format(1)))
            await node(api.CREATE, request_id="r", uuid=UUID.format(1))
            await node.runtime.store.submit(lambda db: db.execute(
                "UPDATE journal SET finished = NULL, reply = NULL, scope = 'xen:///system' WHERE id = 'r'"))
        async with running(tmp_path) as node:
            assert error_of((await node(OUTCOME, id="r")).reply).code == c.VIR_ERR_NO_CONNECT

    asyncio.run(both())


# -- start and stop ---------------------------------------------------------------------------------------------------


def test_a_stop_lets_running_work_end_and_abandons_what_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs is answered; what hangs is left to the next run, which finds it in the journal."""
    monkeypatch.setattr(runtime_module, "GRACE", 0.05)

    async def scenario() -> None:
        runtime = make(tmp_path, nobody)
        await runtime.open("test", "/default")
        await runtime.start()
        node = Requests(runtime, [])
        await node(api.DEFINE_XML, xml=domain_xml("x", UUID.format(1), hang="create"))
        hangs = node.start(api.CREATE, request_id="hangs", uuid=UUID.format(1), within=3600)
        works = node.start(api.DEFINE_XML, xml=domain_xml("y"))
        await until(lambda: hangs.acked, "the journal")
        await runtime.stop()
        assert decode_reply(works.replies[0])["name"] == "y"
        assert hangs.replies == []
        assert rows(tmp_path, "SELECT id FROM journal WHERE finished IS NULL") == [("hangs",)]

    asyncio.run(scenario())


def test_objects_outlive_a_restart_in_every_field(tmp_path: Path) -> None:
    """Running, paused and defined domains come back as they were, and new numbers go on from the old ones."""
    async def both() -> None:
        async with running(tmp_path) as node:
            for n in (1, 2, 3):
                await node(api.DEFINE_XML, xml=domain_xml(f"имя-{n}", UUID.format(n)))
            await node(api.SET_AUTOSTART, uuid=UUID.format(1), autostart=True)
            await node(api.CREATE, uuid=UUID.format(2))
            await node(api.SUSPEND, uuid=UUID.format(2))
            await node(api.CREATE_XML, xml=domain_xml("transient", UUID.format(4)))
            before = [d.record() for d in node.runtime.connections["test", "/default"].domains]  # type: ignore[attr-defined]
        async with running(tmp_path) as node:
            after = [d.record() for d in node.runtime.connections["test", "/default"].domains]  # type: ignore[attr-defined]
            assert sorted(after, key=lambda r: r["name"]) == sorted(before, key=lambda r: r["name"])
            highest = max(record["id"] for record in before)
            assert (await node(api.CREATE, uuid=UUID.format(3))).id == highest + 1

    asyncio.run(both())


def test_a_service_says_who_it_is(tmp_path: Path) -> None:
    """Name, version, this run, the event numbers' epoch, and what can be opened."""
    async def scenario() -> None:
        async with running(tmp_path, lasting=False) as node:
            info = await node(common.PING["domain"])
            assert (info.node, info.service, info.version, info.boot, info.epoch, info.drivers) == (
                "node-t", "domain", __version__, node.runtime.boot, node.runtime.store.epoch, ["test:///default"])
            assert 0 < info.started <= time.time()

    asyncio.run(scenario())


def test_a_connection_is_opened_once_however_many_ask(tmp_path: Path) -> None:
    """Two callers that open the same connection at the same time share one driver, or they would share no domains."""
    async def scenario() -> None:
        runtime = make(tmp_path, nobody)
        drivers = await asyncio.gather(*(runtime.open("test", "/default") for _ in range(5)))
        assert len({id(driver) for driver in drivers}) == 1
        for scheme, path in (("xen", "/system"), ("qemu", "/nowhere")):
            with pytest.raises(LibvirtError, match=f"no connection driver available for {scheme}://{path}") as caught:
                await runtime.open(scheme, path)
            assert caught.value.code == c.VIR_ERR_NO_CONNECT
        await runtime.start()
        await runtime.stop()

    asyncio.run(scenario())


def test_a_call_to_a_connection_that_is_not_there_says_so(tmp_path: Path) -> None:
    """The driver and path of the envelope are looked up; what is not open is libvirt's "no connection driver"."""
    async def scenario() -> None:
        async with running(tmp_path, lasting=False) as node:
            request = node.request(api.LIST_ALL)
            request.driver = "vbox"
            error = error_of(await node.take(request.encode()).settled())
            assert (error.code, error.message) == (c.VIR_ERR_NO_CONNECT,
                                                   "no connection driver available for vbox:///default")

    asyncio.run(scenario())


def test_a_service_without_a_handler_does_not_start(tmp_path: Path) -> None:
    """A row of the table that nobody answers is found at the start, not by a caller."""
    from virtbus_domain.handlers import handlers
    from virtbus_domain.service import SERVICE

    short: Handlers[object] = Handlers("domain")
    short.routes = {name: route for name, route in handlers.routes.items() if name != api.CREATE.name}
    incomplete = Service(**{**{f: getattr(SERVICE, f) for f in SERVICE.__slots__}, "handlers": short})
    with pytest.raises(RuntimeError, match=r"handlers and table differ: \['domain.create'\]"):
        make(tmp_path, nobody, lasting=False, service=incomplete)


def test_a_handler_fits_its_row() -> None:
    """A row answered from memory gets a plain function, one that waits a coroutine, and each gets one."""
    handlers: Handlers[object] = Handlers("domain")

    async def waits(ctx: object, params: object) -> api.Domains:
        raise AssertionError

    def answers(ctx: object, params: object) -> api.Domain:
        raise AssertionError

    with pytest.raises(ValueError, match="answered from memory"):
        handlers.handles(api.LIST_ALL)(waits)
    with pytest.raises(ValueError, match="may wait"):
        handlers.answers(api.CREATE)(answers)
    handlers.answers(api.LOOKUP_BY_NAME)(answers)
    with pytest.raises(ValueError, match="two handlers"):
        handlers.answers(api.LOOKUP_BY_NAME)(answers)
    assert math.isclose(len(handlers.routes), 1)
