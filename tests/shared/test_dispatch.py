"""Whatever is delivered, the dispatcher answers or rejects it, and answers the next one too; no change runs twice."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
import uuid
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.service import Arrival, Requests, domain_xml, error_of, running, until
from virtbus_domain.drivers.test import TestDriver
from virtbus_domain.moves import Move
from virtbus_domain.object import DomainObject
from virtbus_domain.xml.domain import Domain
from virtbus_shared import constants as c
from virtbus_shared.api import TABLE, common
from virtbus_shared.api import domain as api
from virtbus_shared.envelope import MAX_BODY, Request, decode_reply
from virtbus_shared.errors import LibvirtError
from virtbus_shared.procedure import AnyProcedure
from virtbus_shared.service import dispatch

UUID = "aaaaaaaa-0000-4000-8000-00000000000{}"
Scenario = Callable[[Requests], Coroutine[Any, Any, None]]


def run(folder: Path, scenario: Scenario, *, lasting: bool = False) -> None:
    """A scenario against a running domain service."""
    async def both() -> None:
        async with running(folder, lasting=lasting) as node:
            await scenario(node)

    asyncio.run(both())


def count(node: Requests, name: str, **labels: str) -> float:
    """A metric's value now; 0 while the series does not exist."""
    return node.runtime.metrics.registry.get_sample_value(name, {"service": "domain", **labels}) or 0.0


def outcome(node: Requests, method: str, kind: str) -> float:
    """How many requests of a method had an outcome."""
    return count(node, "virtbus_rpc_requests_total", method=method, outcome=kind)


# -- anything at all --------------------------------------------------------------------------------------------------

VALUES = st.recursive(st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text()
                      | st.binary(), lambda inner: st.lists(inner, max_size=3)
                      | st.dictionaries(st.text() | st.binary(), inner, max_size=3), max_leaves=8)
PROCEDURES = st.sampled_from(sorted(TABLE.procedures)) | st.text()
UUIDS = st.just("6695eb01-f6a4-8304-79aa-97f2502e193f") | st.uuids().map(str)
ARGS = st.dictionaries(st.sampled_from(["uuid", "name", "flags", "xml", "id", "limit", "sequence", "autostart"]),
                       VALUES | UUIDS | st.just(domain_xml("h")), max_size=4)
ENVELOPES = st.fixed_dictionaries(
    {"v": st.just(1) | VALUES, "id": st.text(max_size=130) | VALUES, "procedure": PROCEDURES | VALUES,
     "deadline": st.just(4e9) | VALUES, "args": ARGS | VALUES},
    optional={"driver": st.just("test") | VALUES, "path": st.just("/default") | VALUES,
              "read_only": st.booleans() | VALUES, "sent": st.floats() | VALUES, "trace": st.text() | VALUES})


def test_whatever_is_delivered_is_answered_or_rejected(tmp_path: Path) -> None:
    """Random bytes, random maps, random calls of real procedures: each settles once, and the next good call works."""
    with asyncio.Runner() as runner:
        async def enter() -> tuple[contextlib.AsyncExitStack, Requests]:
            stack = contextlib.AsyncExitStack()
            return stack, await stack.enter_async_context(running(tmp_path, lasting=False))

        stack, node = runner.run(enter())

        async def deliver(body: bytes, user: str | None) -> None:
            arrival = node.take(body, user)
            reply = await arrival.settled()
            await asyncio.sleep(0)
            assert len(arrival.replies) == 1
            assert arrival.acked + arrival.rejected == 1
            with contextlib.suppress(LibvirtError):
                decode_reply(reply)
            assert (await node(common.PING["domain"])).service == "domain"

        @settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        @given(st.binary(max_size=300) | ENVELOPES.map(msgpack.packb), st.none() | st.text())
        def anything(body: bytes, user: str | None) -> None:
            runner.run(deliver(body, user))

        anything()
        runner.run(stack.aclose())


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x91" * 5000, b"\x80", msgpack.packb({"v": 1, "id": 3})])
def test_what_is_no_request_is_answered_set_aside_and_counted(tmp_path: Path, body: bytes) -> None:
    """A malformed body gets an error reply, goes to the dead letters, and shows as such in the metrics."""
    async def scenario(node: Requests) -> None:
        arrival = node.take(body)
        error = error_of(await arrival.settled())
        assert (error.code, error.domain) == (c.VIR_ERR_RPC, c.VIR_FROM_RPC)
        assert (arrival.acked, arrival.rejected) == (0, 1)
        assert outcome(node, "_unknown", "malformed") == 1

    run(tmp_path, scenario)


def test_an_unknown_procedure_is_not_supported(tmp_path: Path) -> None:
    """A newer caller learns from the code that this service is older; its words make no label."""
    async def scenario(node: Requests) -> None:
        request = Request("r", "domain.fly\n" * 50, time.time() + 60, {})
        error = error_of(await node.take(request.encode()).settled())
        assert error.code == c.VIR_ERR_NO_SUPPORT
        assert len(error.message) < 300
        assert outcome(node, "_unknown", "error") == 1

    run(tmp_path, scenario)


@pytest.mark.parametrize(("args", "complaint"), [
    ({}, "parameter 'uuid': Field required"),
    ({"uuid": "x"}, "parameter 'uuid': String should match pattern"),
    ({"uuid": UUID.format(1), "flags": -1}, "parameter 'flags': Input should be greater than or equal to 0"),
    ({"uuid": UUID.format(1), "flags": "many"}, "parameter 'flags': Input should be a valid integer"),
    ({"uuid": UUID.format(1), "name": ["x"]}, "parameter 'name': Input should be a valid string"),
    ({"uuid": UUID.format(1), "name": "x" * 2000}, "parameter 'name': String should have at most 1024 characters"),
])
def test_wrong_parameters_are_named(tmp_path: Path, args: dict[str, Any], complaint: str) -> None:
    """The error says which parameter of which call is wrong, and the journal never sees it."""
    async def scenario(node: Requests) -> None:
        error = await node.error(api.CREATE, request_id="r", **args)
        assert (error.code, error.domain) == (c.VIR_ERR_INVALID_ARG, c.VIR_FROM_RPC)
        assert f"domain.create: {complaint}" in error.message
        assert (await node(common.GET_OUTCOME["domain"], id="r")).state == "unknown"

    run(tmp_path, scenario)


def test_arguments_as_deep_as_msgpack_reads_are_journalled(tmp_path: Path) -> None:
    """A library that read deeper nesting than it writes would lose such a request between arrival and journal."""
    async def scenario(node: Requests) -> None:
        deep = b"\x91" * 1020 + b"\x90"
        good = node.request(api.UNDEFINE, uuid=UUID.format(1), extra="HERE").encode()
        arrival = node.take(good.replace(msgpack.packb("HERE"), deep))
        assert error_of(await arrival.settled()).code == c.VIR_ERR_NO_DOMAIN
        assert arrival.acked == 1

    run(tmp_path, scenario)


def test_a_message_without_a_checked_user_is_refused(tmp_path: Path) -> None:
    """Nobody acts unseen: without an identity that the door vouches for, nothing runs."""
    async def scenario(node: Requests) -> None:
        arrival = node.take(node.request(api.DEFINE_XML, xml=domain_xml("x")).encode(), user=None)
        assert error_of(await arrival.settled()).code == c.VIR_ERR_AUTH_FAILED
        assert len((await node(api.LIST_ALL)).domains) == 1
        assert outcome(node, "domain.define_xml", "denied") == 1

    run(tmp_path, scenario)


def test_a_rule_that_fails_denies_with_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A site's own access rule may have a bug: its callers are told, and nothing is let through."""
    def broken(*_: object) -> bool:
        raise ZeroDivisionError("on purpose")

    async def scenario(node: Requests) -> None:
        monkeypatch.setattr(node.runtime.dispatcher._access, "_rule", broken)
        error = await node.error(api.LIST_ALL)
        assert error.code == c.VIR_ERR_INTERNAL_ERROR
        assert "ZeroDivisionError: on purpose" in error.message

    run(tmp_path, scenario)


def test_a_result_too_large_for_the_wire_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller gets words instead of a reply that it would refuse."""
    async def scenario(node: Requests) -> None:
        monkeypatch.setattr(TestDriver, "describe", lambda *_, **__: "x" * MAX_BODY)
        error = await node.error(api.GET_XML_DESC, uuid="6695eb01-f6a4-8304-79aa-97f2502e193f")
        assert error.code == c.VIR_ERR_RPC
        assert "at most 33554432 can be sent" in error.message

    run(tmp_path, scenario)


@pytest.mark.parametrize("failure", [ValueError("on purpose"), asyncio.CancelledError()], ids=["error", "cancelled"])
def test_a_handler_that_fails_is_an_internal_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                   failure: BaseException) -> None:
    """A bug, or an inner task that was cancelled, is answered and journalled; the object and the service go on."""
    async def fails(self: TestDriver, domain: DomainObject, model: Domain, flags: int) -> Move:
        raise failure

    async def scenario(node: Requests) -> None:
        domain = await node(api.DEFINE_XML, xml=domain_xml("x"))
        with monkeypatch.context() as patch:
            patch.setattr(TestDriver, "domain_create", fails)
            error = await node.error(api.CREATE, request_id="r", uuid=domain.uuid)
        assert error.message == f"internal error: domain.create: {type(failure).__name__}: {failure}"
        assert (await node(common.GET_OUTCOME["domain"], id="r")).state == "done"
        assert (await node(api.GET_STATE, uuid=domain.uuid)).state == c.VIR_DOMAIN_SHUTOFF
        assert (await node(api.CREATE, uuid=domain.uuid)).id > 0

    run(tmp_path, scenario)


# -- law 1: effect once -----------------------------------------------------------------------------------------------


def test_a_hundred_arrivals_are_one_effect(tmp_path: Path) -> None:
    """The same request a hundred times, together and after a restart: one start, and the same reply every time."""
    async def first(node: Requests) -> tuple[bytes, bytes]:
        domain = await node(api.DEFINE_XML, xml=domain_xml("once"))
        body = node.request(api.CREATE, request_id="the same", uuid=domain.uuid, within=3600).encode()
        arrivals = [node.take(body, redelivered=n > 0) for n in range(100)]
        replies = {await arrival.settled() for arrival in arrivals}
        assert len(replies) == 1
        assert all(arrival.acked == 1 for arrival in arrivals)
        assert outcome(node, "domain.create", "ok") == 1
        assert outcome(node, "domain.create", "duplicate") == 99
        assert count(node, "virtbus_rpc_redeliveries_total") == 99
        assert decode_reply(replies.copy().pop())["id"] == 2  # "test" has 1
        return body, replies.pop()

    async def second(node: Requests, body: bytes, reply: bytes) -> None:
        arrivals = [node.take(body, redelivered=True) for _ in range(100)]
        assert {await arrival.settled() for arrival in arrivals} == {reply}
        assert outcome(node, "domain.create", "duplicate") == 100
        started = [e for e in (await node(common.LIST_EVENTS["domain"], sequence=0)).events
                   if decode_event(e) == (c.VIR_DOMAIN_EVENT_STARTED, "once")]
        assert len(started) == 1

    async def both() -> None:
        async with running(tmp_path) as node:
            body, reply = await first(node)
        async with running(tmp_path) as node:
            await second(node, body, reply)

    asyncio.run(both())


def decode_event(body: bytes) -> tuple[int, str]:
    """(lifecycle event, name of its domain)."""
    event = msgpack.unpackb(body)["body"]
    return event["event"], event["domain"]["name"]


def test_a_failure_is_remembered_like_a_success(tmp_path: Path) -> None:
    """A request that failed does not run again when it comes again, even if it could succeed now."""
    async def scenario(node: Requests) -> None:
        first = await node.error(api.DESTROY, request_id="r", uuid=UUID.format(1))
        await node(api.DEFINE_XML, xml=domain_xml("x", UUID.format(1)))
        await node(api.CREATE, uuid=UUID.format(1))
        again = await node.error(api.DESTROY, request_id="r", uuid=UUID.format(1))
        assert again.fields == first.fields
        assert (await node(api.IS_ACTIVE, uuid=UUID.format(1))).value

    run(tmp_path, scenario)


@pytest.mark.parametrize("while_running", [True, False])
def test_an_id_belongs_to_one_request(tmp_path: Path, while_running: bool) -> None:
    """The same id with other arguments is refused, beside the first one and after it; the first is not disturbed."""
    async def scenario(node: Requests) -> None:
        first = node.start(api.DEFINE_XML, request_id="r", xml=domain_xml("first"))
        if not while_running:
            await first.settled()
        error = await node.error(api.DEFINE_XML, request_id="r", xml=domain_xml("second"))
        assert error.code == c.VIR_ERR_INVALID_ARG
        assert "request id 'r' was used for another request" in error.message
        assert decode_reply(await first.settled())["name"] == "first"
        assert {d.name for d in (await node(api.LIST_ALL)).domains} == {"test", "first"}

    run(tmp_path, scenario, lasting=True)


def test_the_outcome_of_a_request_can_be_asked_for(tmp_path: Path) -> None:
    """Unknown, running, done: by its id, with who asked and the very reply."""
    async def scenario(node: Requests) -> None:
        ask = common.GET_OUTCOME["domain"]
        assert (await node(ask, id="r")).state == "unknown"
        await node(api.DEFINE_XML, xml=domain_xml("x", UUID.format(1), hang="create"))
        hangs = node.start(api.CREATE, request_id="r", uuid=UUID.format(1))
        await until(lambda: hangs.acked, "the journal")
        assert (await node(ask, id="r")).state == "running"
        done = node.start(api.DEFINE_XML, request_id="d", xml=domain_xml("y"))
        reply = await done.settled()
        answer = await node(ask, id="d")
        assert (answer.state, answer.reply, answer.procedure, answer.caller) == (
            "done", reply, "domain.define_xml", "inprocess:tester")
        assert answer.received <= answer.finished

    run(tmp_path, scenario)


# -- law 2: a late command never runs ---------------------------------------------------------------------------------


def test_a_late_command_never_runs(tmp_path: Path) -> None:
    """A deadline in the past: refused before the journal, counted as expired."""
    async def scenario(node: Requests) -> None:
        error = await node.error(api.DEFINE_XML, request_id="r", within=-0.001, xml=domain_xml("late"))
        assert (error.code, error.domain) == (c.VIR_ERR_OPERATION_TIMEOUT, c.VIR_FROM_RPC)
        assert "arrived after its deadline and was not run" in error.message
        assert len((await node(api.LIST_ALL)).domains) == 1
        assert outcome(node, "domain.define_xml", "expired") == 1
        assert (await node(common.GET_OUTCOME["domain"], id="r")).state == "unknown"

    run(tmp_path, scenario)


def test_a_command_whose_deadline_passes_in_the_queue_never_runs(tmp_path: Path) -> None:
    """It waits for its object's turn in vain: an error for its caller, and no effect when the turn is free again."""
    async def scenario(node: Requests) -> None:
        await node(api.DEFINE_XML, xml=domain_xml("x", UUID.format(1)))
        domain = node.runtime.connections["test", "/default"].domains.by_uuid(UUID.format(1))  # type: ignore[attr-defined]
        async with domain.turns.turn("a long operation", math.inf, c.VIR_FROM_TEST):
            error = await node.error(api.CREATE, within=0.05, uuid=UUID.format(1))
        assert error.code == c.VIR_ERR_OPERATION_TIMEOUT
        assert "held by a long operation" in error.message
        assert not (await node(api.IS_ACTIVE, uuid=UUID.format(1))).value

    run(tmp_path, scenario)


def test_no_effect_begins_after_the_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Preparations may take too long: the deadline is looked at once more right before the driver is called."""
    read = TestDriver.read

    async def slowly(self: TestDriver, xml: str) -> Any:
        model = await read(self, xml)
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + 3600)
        return model

    async def scenario(node: Requests) -> None:
        await node(api.DEFINE_XML, xml=domain_xml("x", UUID.format(1)))
        with monkeypatch.context() as patch:
            patch.setattr(TestDriver, "read", slowly)
            error = await node.error(api.CREATE, uuid=UUID.format(1))
        monkeypatch.undo()
        assert error.code == c.VIR_ERR_OPERATION_TIMEOUT
        assert not (await node(api.IS_ACTIVE, uuid=UUID.format(1))).value

    run(tmp_path, scenario)


# -- law 3: one hung object harms nobody ------------------------------------------------------------------------------


def test_a_hung_object_harms_nobody_else(tmp_path: Path) -> None:
    """A start that never ends: lists, documents and other domains answer; who wants the same object times out."""
    async def scenario(node: Requests) -> None:
        await node(api.DEFINE_XML, xml=domain_xml("hung", UUID.format(1), hang="create"))
        await node(api.DEFINE_XML, xml=domain_xml("fine", UUID.format(2)))
        hangs = node.start(api.CREATE, uuid=UUID.format(1), within=3600)
        await until(lambda: count(node, "virtbus_rpc_in_flight") == 1, "the hung handler")
        assert {d.name for d in (await node(api.LIST_ALL)).domains} == {"test", "hung", "fine"}
        assert "<name>hung</name>" in (await node(api.GET_XML_DESC, uuid=UUID.format(1))).xml
        others: tuple[AnyProcedure, ...] = (api.CREATE, api.SUSPEND, api.RESUME, api.DESTROY, api.UNDEFINE)
        for row in others:
            await node(row, uuid=UUID.format(2))
        error = await node.error(api.DESTROY, uuid=UUID.format(1), within=0.05)
        assert (error.code, error.domain) == (c.VIR_ERR_OPERATION_TIMEOUT, c.VIR_FROM_TEST)
        assert "cannot acquire state change lock (held by domain.create for 0s)" in error.message
        assert not hangs.replies

    run(tmp_path, scenario)


def test_a_hung_operation_ends_with_its_deadline(tmp_path: Path) -> None:
    """Its caller gets a time-out, the object its old state, and the next one its turn."""
    async def scenario(node: Requests) -> None:
        await node(api.DEFINE_XML, xml=domain_xml("hung", UUID.format(1), hang="create"))
        error = await node.error(api.CREATE, uuid=UUID.format(1), within=0.05)
        assert error.code == c.VIR_ERR_OPERATION_TIMEOUT
        assert "domain_create did not end in time" in error.message
        assert not (await node(api.IS_ACTIVE, uuid=UUID.format(1))).value
        await node(api.UNDEFINE, uuid=UUID.format(1))
        assert count(node, "virtbus_driver_calls_total", driver="test", operation="domain_create",
                     outcome="timeout") == 1

    run(tmp_path, scenario)


def test_a_service_with_too_much_to_do_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit a call is refused at once instead of being kept waiting; reads from memory go on."""
    async def scenario(node: Requests) -> None:
        monkeypatch.setattr(dispatch, "MAX_IN_FLIGHT", 3)
        arrivals: list[Arrival] = []
        for n in range(3):
            await node(api.DEFINE_XML, xml=domain_xml(f"h{n}", UUID.format(n), hang="create"))
        await until(lambda: not node.runtime.dispatcher.tasks, "an idle service")
        arrivals += [node.start(api.CREATE, uuid=UUID.format(n)) for n in range(3)]
        error = await node.error(api.CREATE, uuid=UUID.format(0))
        assert error.code == c.VIR_ERR_RESOURCE_BUSY
        assert len((await node(api.LIST_ALL)).domains) == 4
        assert not any(arrival.replies for arrival in arrivals)

    run(tmp_path, scenario)


# -- concurrency on one object ----------------------------------------------------------------------------------------


def codes(replies: list[bytes]) -> list[int]:
    """The error code of each reply; 0 for a success."""
    found = []
    for reply in replies:
        try:
            decode_reply(reply)
            found.append(0)
        except LibvirtError as error:
            found.append(error.code)
    return found


def test_two_that_remove_the_same_domain(tmp_path: Path) -> None:
    """The second one finds it gone when its turn comes, and is told so in libvirt's words."""
    async def scenario(node: Requests) -> None:
        await node(api.DEFINE_XML, xml=domain_xml("x", UUID.format(1)))
        arrivals = [node.start(api.UNDEFINE, uuid=UUID.format(1)) for _ in range(3)]
        replies = [await arrival.settled() for arrival in arrivals]
        assert sorted(codes(replies)) == [0, c.VIR_ERR_NO_DOMAIN, c.VIR_ERR_NO_DOMAIN]

    run(tmp_path, scenario, lasting=True)


def test_a_definition_that_overtakes_its_removal(tmp_path: Path) -> None:
    """Define, undefine, define and start, all under way together: the order of arrival holds, and nothing is lost."""
    async def scenario(node: Requests) -> None:
        xml = domain_xml("x", UUID.format(1))
        await node(api.DEFINE_XML, xml=xml)
        arrivals = [node.start(api.UNDEFINE, uuid=UUID.format(1)), node.start(api.DEFINE_XML, xml=xml),
                    node.start(api.UNDEFINE, uuid=UUID.format(1)), node.start(api.DEFINE_XML, xml=xml),
                    node.start(api.CREATE, uuid=UUID.format(1))]
        replies = [await arrival.settled() for arrival in arrivals]
        assert codes(replies[:4]) == [0, 0, 0, 0]
        driver = node.runtime.connections["test", "/default"]
        kept = dict(driver.host.load("domain"))
        listed = {d.uuid: d.id for d in (await node(api.LIST_ALL)).domains}
        assert {uid: record["id"] for uid, record in kept.items()} == listed
        assert UUID.format(1) in listed

    run(tmp_path, scenario, lasting=True)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from([api.DEFINE_XML, api.UNDEFINE, api.CREATE, api.CREATE_XML, api.DESTROY,
                                           api.SUSPEND, api.RESUME, api.SHUTDOWN, api.SET_AUTOSTART]),
                          st.integers(1, 2)), max_size=25))
def test_memory_and_store_never_differ(tmp_path: Path, steps: list[tuple[Any, int]]) -> None:
    """Any changes to two domains, all under way together: no internal failure, and the store holds what is listed."""
    async def scenario(node: Requests) -> None:
        arrivals = []
        for row, which in steps:
            args: dict[str, Any] = {"uuid": UUID.format(which)}
            if row in (api.DEFINE_XML, api.CREATE_XML):
                args = {"xml": domain_xml(f"d{which}", UUID.format(which))}
            elif row is api.SET_AUTOSTART:
                args["autostart"] = True
            arrivals.append(node.start(row, **args))
        for arrival in arrivals:
            with contextlib.suppress(LibvirtError):
                decode_reply(await arrival.settled())
        driver = node.runtime.connections["test", "/default"]
        assert isinstance(driver, TestDriver)
        assert dict(driver.host.load("domain")) == {d.uuid: d.record() for d in driver.domains}
        assert count(node, "virtbus_rpc_in_flight") == 0
        assert all(not domain.turns.holder for domain in driver.domains)

    run(tmp_path / uuid.uuid4().hex, scenario, lasting=True)


# -- a store that fails -----------------------------------------------------------------------------------------------


async def fill(node: Requests, *, spare: int) -> None:
    """Let the disk be full: the database may not grow by more than ``spare`` pages."""
    store = node.runtime.store
    pages = await store.submit(lambda db: int(db.execute("PRAGMA page_count").fetchone()[0]))
    await store.submit(lambda db: db.execute(f"PRAGMA max_page_count = {pages + spare}"))


async def empty(node: Requests) -> None:
    """Room again."""
    await node.runtime.store.submit(lambda db: db.execute("PRAGMA max_page_count = 100000"))


def big_xml(name: str, domain_uuid: str) -> str:
    """A definition that needs a great many pages."""
    return domain_xml(name, domain_uuid).replace("<memory>", f"<description>{'x' * 200_000}</description><memory>")


def test_a_full_disk_leaves_no_half_definition(tmp_path: Path) -> None:
    """What cannot be stored is an error, is not there, and does not run when it comes again; later work goes on."""
    async def scenario(node: Requests) -> None:
        await node(api.DEFINE_XML, xml=domain_xml("x", UUID.format(1)))
        before = (await node(api.GET_XML_DESC, uuid=UUID.format(1))).xml
        await fill(node, spare=60)
        for name, uid in (("x", UUID.format(1)), ("new", UUID.format(2))):
            error = await node.error(api.DEFINE_XML, xml=big_xml(name, uid), request_id=name)
            assert error.code == c.VIR_ERR_INTERNAL_ERROR
            assert "database or disk is full" in error.message
        assert (await node(api.GET_XML_DESC, uuid=UUID.format(1))).xml == before
        assert (await node.error(api.LOOKUP_BY_UUID, uuid=UUID.format(2))).code == c.VIR_ERR_NO_DOMAIN
        await empty(node)
        assert (await node(api.DEFINE_XML, xml=big_xml("new", UUID.format(2)))).name == "new"
        again = await node.error(api.DEFINE_XML, xml=big_xml("x", UUID.format(1)), request_id="x")
        assert "database or disk is full" in again.message

    run(tmp_path, scenario, lasting=True)


def test_two_definitions_of_which_the_first_cannot_be_stored(tmp_path: Path) -> None:
    """The second waits until it is known what became of the first, and stands alone."""
    async def scenario(node: Requests) -> None:
        await fill(node, spare=60)
        first = node.start(api.DEFINE_XML, xml=big_xml("x", UUID.format(1)))
        second = node.start(api.DEFINE_XML, xml=domain_xml("x", UUID.format(1)))
        third = node.start(api.SET_AUTOSTART, uuid=UUID.format(1), autostart=True)
        assert codes([await first.settled(), await second.settled()]) == [c.VIR_ERR_INTERNAL_ERROR, 0]
        await third.settled()
        driver = node.runtime.connections["test", "/default"]
        assert isinstance(driver, TestDriver)
        assert dict(driver.host.load("domain")) == {d.uuid: d.record() for d in driver.domains}
        assert "xxxx" not in (await node(api.GET_XML_DESC, uuid=UUID.format(1))).xml

    run(tmp_path, scenario, lasting=True)


def test_an_effect_that_cannot_be_stored_is_not_denied_and_not_repeated(tmp_path: Path) -> None:
    """A guest that runs stays in memory though the disk is full; the same request again has the same outcome."""
    async def scenario(node: Requests) -> None:
        await fill(node, spare=60)
        error = await node.error(api.CREATE_XML, xml=big_xml("x", UUID.format(1)), request_id="r", within=3600)
        assert "storing the outcome of domain.create_xml" in error.message
        assert (await node(api.IS_ACTIVE, uuid=UUID.format(1))).value
        await empty(node)
        again = await node.error(api.CREATE_XML, xml=big_xml("x", UUID.format(1)), request_id="r", within=3600)
        assert again.fields == error.fields
        answer = await node(common.GET_OUTCOME["domain"], id="r")
        assert answer.state == "done"
        await node(api.DESTROY, uuid=UUID.format(1))

    run(tmp_path, scenario, lasting=True)


def test_a_journal_that_cannot_be_written_means_nothing_runs(tmp_path: Path) -> None:
    """Law 1 needs the journal before the effect: without it there is an error, counted, and no effect."""
    async def scenario(node: Requests) -> None:
        await fill(node, spare=1)
        error = await node.error(api.CREATE_XML, xml=big_xml("x", UUID.format(1)))
        assert "journalling the request" in error.message
        assert (await node.error(api.LOOKUP_BY_UUID, uuid=UUID.format(1))).code == c.VIR_ERR_NO_DOMAIN
        assert outcome(node, "domain.create_xml", "error") == 1
        assert count(node, "virtbus_audit_records_total", outcome="failed") == 1

    run(tmp_path, scenario, lasting=True)
