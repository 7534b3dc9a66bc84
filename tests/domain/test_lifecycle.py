"""From start to stop: every state in which an operation is allowed or refused, its reason, and its events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.local import Local, local_node
from tests.support.service import domain_xml
from virtbus_shared import constants as c
from virtbus_shared.api import domain as api
from virtbus_shared.procedure import AnyProcedure

UUID = "aaaaaaaa-0000-4000-8000-000000000001"
NOWHERE = "aaaaaaaa-0000-4000-8000-000000000009"
OPERATIONS = (api.CREATE, api.SHUTDOWN, api.REBOOT, api.RESET, api.DESTROY, api.SUSPEND, api.RESUME)
TO_RUNNING = (api.CREATE,)
TO_PAUSED = (api.CREATE, api.SUSPEND)


@pytest.fixture
def node() -> Iterator[Local]:
    """A node with one defined domain."""
    with local_node() as node:
        node.define(domain_xml("x", UUID))
        node.events(1)
        yield node


def state(node: Local) -> tuple[int, int]:
    """State and reason of the domain."""
    found = node(api.GET_STATE, uuid=UUID)
    return found.state, found.reason


@pytest.mark.parametrize(("steps", "row", "after", "events"), [
    ((), api.CREATE, (c.VIR_DOMAIN_RUNNING, c.VIR_DOMAIN_RUNNING_BOOTED),
     [(c.VIR_DOMAIN_EVENT_STARTED, c.VIR_DOMAIN_EVENT_STARTED_BOOTED)]),
    (TO_RUNNING, api.SUSPEND, (c.VIR_DOMAIN_PAUSED, c.VIR_DOMAIN_PAUSED_USER),
     [(c.VIR_DOMAIN_EVENT_SUSPENDED, c.VIR_DOMAIN_EVENT_SUSPENDED_PAUSED)]),
    (TO_PAUSED, api.RESUME, (c.VIR_DOMAIN_RUNNING, c.VIR_DOMAIN_RUNNING_UNPAUSED),
     [(c.VIR_DOMAIN_EVENT_RESUMED, c.VIR_DOMAIN_EVENT_RESUMED_UNPAUSED)]),
    (TO_RUNNING, api.SHUTDOWN, (c.VIR_DOMAIN_SHUTOFF, c.VIR_DOMAIN_SHUTOFF_SHUTDOWN),
     [(c.VIR_DOMAIN_EVENT_STOPPED, c.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN)]),
    (TO_RUNNING, api.DESTROY, (c.VIR_DOMAIN_SHUTOFF, c.VIR_DOMAIN_SHUTOFF_DESTROYED),
     [(c.VIR_DOMAIN_EVENT_STOPPED, c.VIR_DOMAIN_EVENT_STOPPED_DESTROYED)]),
    (TO_PAUSED, api.SHUTDOWN, (c.VIR_DOMAIN_SHUTOFF, c.VIR_DOMAIN_SHUTOFF_SHUTDOWN),
     [(c.VIR_DOMAIN_EVENT_STOPPED, c.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN)]),
    (TO_PAUSED, api.DESTROY, (c.VIR_DOMAIN_SHUTOFF, c.VIR_DOMAIN_SHUTOFF_DESTROYED),
     [(c.VIR_DOMAIN_EVENT_STOPPED, c.VIR_DOMAIN_EVENT_STOPPED_DESTROYED)]),
    (TO_RUNNING, api.REBOOT, (c.VIR_DOMAIN_RUNNING, c.VIR_DOMAIN_RUNNING_BOOTED), []),
    (TO_RUNNING, api.RESET, (c.VIR_DOMAIN_RUNNING, c.VIR_DOMAIN_RUNNING_BOOTED), []),
], ids=lambda v: getattr(v, "name", None))
def test_an_operation_moves_the_domain(node: Local, steps: tuple[AnyProcedure, ...], row: AnyProcedure,
                                       after: tuple[int, int], events: list[tuple[int, int]]) -> None:
    """The new state with its reason, and exactly the events that announce it."""
    for step in steps:
        node(step, uuid=UUID)
    node.events(len(steps))
    node(row, uuid=UUID)
    assert state(node) == after
    assert node.events(len(events)) == [("x", *event) for event in events]
    node(api.UNDEFINE, uuid=UUID)
    assert node.events(1)[0][1] == c.VIR_DOMAIN_EVENT_UNDEFINED  # nothing else came in between


@pytest.mark.parametrize(("steps", "row", "code", "detail"), [
    ((), api.SHUTDOWN, c.VIR_ERR_INTERNAL_ERROR, "domain 'x' not running"),
    ((), api.SUSPEND, c.VIR_ERR_INTERNAL_ERROR, "domain 'x' not running"),
    ((), api.RESUME, c.VIR_ERR_INTERNAL_ERROR, "domain 'x' not paused"),
    ((), api.DESTROY, c.VIR_ERR_OPERATION_INVALID, "domain is not running"),
    ((), api.REBOOT, c.VIR_ERR_OPERATION_INVALID, "domain is not running"),
    ((), api.RESET, c.VIR_ERR_OPERATION_INVALID, "domain is not running"),
    (TO_RUNNING, api.CREATE, c.VIR_ERR_INTERNAL_ERROR, "Domain 'x' is already running"),
    (TO_RUNNING, api.RESUME, c.VIR_ERR_INTERNAL_ERROR, "domain 'x' not paused"),
    (TO_PAUSED, api.SUSPEND, c.VIR_ERR_INTERNAL_ERROR, "domain 'x' not running"),
    (TO_PAUSED, api.CREATE, c.VIR_ERR_INTERNAL_ERROR, "Domain 'x' is already running"),
], ids=lambda v: getattr(v, "name", None))
def test_what_the_state_forbids_changes_nothing(node: Local, steps: tuple[AnyProcedure, ...], row: AnyProcedure,
                                                code: int, detail: str) -> None:
    """Refused in the words of libvirt's test driver; state stays and nobody hears of it."""
    for step in steps:
        node(step, uuid=UUID)
    node.events(len(steps))
    before = state(node)
    error = node.error(row, uuid=UUID)
    assert (error.code, error.str2) == (code, detail)
    assert state(node) == before
    assert node.quiet()


@pytest.mark.parametrize("row", [*OPERATIONS, api.UNDEFINE, api.GET_STATE], ids=lambda row: row.name)
def test_a_domain_that_is_not_there(node: Local, row: AnyProcedure) -> None:
    """libvirt's error, with the name as the caller knew it."""
    error = node.error(row, uuid=NOWHERE, name="lost")
    assert error.code == c.VIR_ERR_NO_DOMAIN
    assert "lost" in error.message or error.message == "Domain not found"


@pytest.mark.parametrize("row", [api.CREATE, api.SHUTDOWN, api.REBOOT, api.RESET, api.DESTROY, api.UNDEFINE],
                         ids=lambda row: row.name)
def test_unknown_flags_are_refused_before_anything_is_done(node: Local, row: AnyProcedure) -> None:
    """libvirt's words, and the function's name as libvirt has it."""
    if row not in (api.CREATE, api.UNDEFINE):
        node(api.CREATE, uuid=UUID)
    before = state(node)
    error = node.error(row, uuid=UUID, flags=1 << 30)
    assert error.code == c.VIR_ERR_INVALID_ARG
    assert error.message.startswith("unsupported flags (0x40000000) in function testDomain")
    assert state(node) == before


def test_a_transient_domain_is_gone_when_it_ends(node: Local) -> None:
    """Started from a document, known while it runs, forgotten afterwards."""
    running = node(api.CREATE_XML, xml=domain_xml("t"))
    assert running.id > 0
    assert not node(api.IS_PERSISTENT, uuid=running.uuid).value
    node(api.SHUTDOWN, uuid=running.uuid)
    assert node.error(api.LOOKUP_BY_UUID, uuid=running.uuid).code == c.VIR_ERR_NO_DOMAIN
    assert node.events(2) == [("t", c.VIR_DOMAIN_EVENT_STARTED, c.VIR_DOMAIN_EVENT_STARTED_BOOTED),
                              ("t", c.VIR_DOMAIN_EVENT_STOPPED, c.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN)]


def test_a_document_of_a_running_domain_cannot_be_started(node: Local) -> None:
    """One domain runs once."""
    node(api.CREATE, uuid=UUID)
    error = node.error(api.CREATE_XML, xml=domain_xml("x", UUID))
    assert (error.code, error.str2) == (c.VIR_ERR_OPERATION_INVALID, "domain 'x' is already active")


def test_a_start_that_fails_leaves_the_domain_as_it_was(node: Local) -> None:
    """A defined one stays defined and inactive with its sizes; a transient one was never there."""
    node(api.UNDEFINE, uuid=UUID)
    node.define(domain_xml("x", UUID, fail="create"))
    error = node.error(api.CREATE, uuid=UUID)
    assert (error.code, error.str2) == (c.VIR_ERR_OPERATION_FAILED, "create fails on request")
    assert state(node)[0] == c.VIR_DOMAIN_SHUTOFF
    assert node(api.LOOKUP_BY_UUID, uuid=UUID).id == -1
    assert node.error(api.CREATE_XML, xml=domain_xml("t", NOWHERE, fail="create")).code == c.VIR_ERR_OPERATION_FAILED
    assert {d.name for d in node(api.LIST_ALL).domains} == {"test", "x"}
    node.events(2)
    assert node.quiet()


def test_a_read_only_connection_changes_nothing(node: Local) -> None:
    """Every changing call is refused with the name of its libvirt function."""
    calls: list[tuple[AnyProcedure, dict[str, Any]]] = [
        *((row, {"uuid": UUID}) for row in (*OPERATIONS, api.UNDEFINE)), (api.DEFINE_XML, {"xml": domain_xml("y")}),
        (api.CREATE_XML, {"xml": domain_xml("y")}), (api.SET_AUTOSTART, {"uuid": UUID, "autostart": True})]
    for row, args in calls:
        error = node.error(row, read_only=True, **args)
        assert error.code == c.VIR_ERR_OPERATION_DENIED
        assert f"read only access prevents {row.serves[0]}" in error.message
    assert len(node(api.LIST_ALL, read_only=True).domains) == 2
