"""The test driver's faults: a hypervisor that hangs, fails or crashes on request, for one domain and nobody else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.local import Local, local_node
from tests.support.service import domain_xml
from virtbus_shared import constants as c
from virtbus_shared.api import domain as api
from virtbus_shared.procedure import AnyProcedure

UUID = "aaaaaaaa-0000-4000-8000-000000000001"
STEPS: dict[str, tuple[AnyProcedure, tuple[AnyProcedure, ...]]] = {
    "create": (api.CREATE, ()), "shutdown": (api.SHUTDOWN, (api.CREATE,)), "reboot": (api.REBOOT, (api.CREATE,)),
    "reset": (api.RESET, (api.CREATE,)), "destroy": (api.DESTROY, (api.CREATE,)),
    "suspend": (api.SUSPEND, (api.CREATE,)), "resume": (api.RESUME, (api.CREATE, api.SUSPEND)),
}
every_operation = pytest.mark.parametrize("operation", STEPS)


@pytest.fixture
def node() -> Iterator[Local]:
    """A fresh node."""
    with local_node() as node:
        yield node


def fault(operation: str, kind: str, extra: str = "") -> str:
    """A domain with one fault."""
    return domain_xml("x", UUID, fail=operation).replace("kind='fail'", f"kind='{kind}' {extra}")


def reach(node: Local, operation: str, kind: str, extra: str = "") -> AnyProcedure:
    """Define the domain and go where the operation is allowed; its row."""
    row, before = STEPS[operation]
    node.define(fault(operation, kind, extra))
    for step in before:
        node(step, uuid=UUID)
    return row


@every_operation
def test_an_operation_fails_on_request(node: Local, operation: str) -> None:
    """With the code and the words that the document asks for; the state is what it was, and so is the next attempt."""
    row = reach(node, operation, "fail", f"code='{c.VIR_ERR_RESOURCE_BUSY}' message='no luck'")
    before = node(api.GET_STATE, uuid=UUID)
    for _ in range(2):
        error = node.error(row, uuid=UUID)
        assert (error.code, error.str2) == (c.VIR_ERR_RESOURCE_BUSY, "no luck")
    assert node(api.GET_STATE, uuid=UUID) == before


@every_operation
def test_an_operation_hangs_on_request(node: Local, operation: str) -> None:
    """Until the caller's deadline; the state is what it was."""
    row = reach(node, operation, "hang")
    before = node(api.GET_STATE, uuid=UUID)
    error = node.error(row, uuid=UUID, within=0.05)
    assert error.code == c.VIR_ERR_OPERATION_TIMEOUT
    assert node(api.GET_STATE, uuid=UUID) == before


@every_operation
def test_a_guest_crashes_on_request(node: Local, operation: str) -> None:
    """It is off, and the reason says why; it can be started again unless that is what crashes it."""
    row = reach(node, operation, "crash")
    node(row, uuid=UUID)
    state = node(api.GET_STATE, uuid=UUID)
    assert (state.state, state.reason) == (c.VIR_DOMAIN_SHUTOFF, c.VIR_DOMAIN_SHUTOFF_CRASHED)
    assert node(api.LOOKUP_BY_UUID, uuid=UUID).id == -1


def test_a_transient_guest_that_crashes_is_gone(node: Local) -> None:
    """Nothing of it is left, not even its name."""
    node(api.CREATE_XML, xml=fault("suspend", "crash"))
    node(api.SUSPEND, uuid=UUID)
    assert {d.name for d in node(api.LIST_ALL).domains} == {"test"}
    node(api.CREATE_XML, xml=domain_xml("x"))


def test_a_fault_in_another_operation_does_nothing(node: Local) -> None:
    """Faults are exact."""
    node.define(fault("resume", "fail"))
    others: tuple[AnyProcedure, ...] = (api.CREATE, api.SUSPEND, api.DESTROY)
    for row in others:
        node(row, uuid=UUID)


@pytest.mark.parametrize(("element", "survives"), [("restart", True), ("destroy", False), ("preserve", False)])
def test_on_reboot_decides_what_comes_after(node: Local, element: str, survives: bool) -> None:
    """As in libvirt's test driver."""
    node.define(domain_xml("x", UUID).replace("<os>", f"<on_reboot>{element}</on_reboot><os>"))
    node(api.CREATE, uuid=UUID)
    node(api.REBOOT, uuid=UUID)
    assert node(api.IS_ACTIVE, uuid=UUID).value is survives
