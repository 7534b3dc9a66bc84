"""Who may call what: the connection's mode first, then the rule; every decision is told to whoever counts."""

from __future__ import annotations

import time

import pytest

from virtbus_shared import constants as c
from virtbus_shared.api import TABLE
from virtbus_shared.api import domain as api
from virtbus_shared.envelope import Request
from virtbus_shared.errors import LibvirtError
from virtbus_shared.procedure import AnyProcedure, NoParams, Params
from virtbus_shared.service.access import Access, Caller

CALLER = Caller("alice", "amqp")


def request(row: AnyProcedure, *, read_only: bool = False) -> Request:
    """An envelope for a row."""
    return Request("r", row.name, time.time() + 60, {}, read_only=read_only)


@pytest.mark.parametrize("row", TABLE.procedures.values(), ids=lambda row: row.name)
def test_a_read_only_connection_may_only_read(row: AnyProcedure) -> None:
    """Every row that is not marked read-only is refused in libvirt's words, whatever the rule says."""
    decided: list[tuple[str, str, bool]] = []
    access = Access(decided=lambda *decision: decided.append(decision))
    object_type, _, permission = row.acl.partition(":")
    if row.read_only:
        access.require(CALLER, row, request(row, read_only=True), NoParams())
    else:
        with pytest.raises(LibvirtError, match="operation forbidden: read only access prevents") as caught:
            access.require(CALLER, row, request(row, read_only=True), NoParams())
        assert caught.value.code == c.VIR_ERR_OPERATION_DENIED
    assert decided == [(object_type, permission, row.read_only)]


def test_the_rule_decides_about_everything_else() -> None:
    """A rule sees caller, row, request and parameters; its refusal is an error that names permission and caller."""
    seen: list[tuple[Caller, AnyProcedure, Request, Params]] = []
    decided: list[tuple[str, str, bool]] = []

    def only_reading(caller: Caller, row: AnyProcedure, asked: Request, params: Params) -> bool:
        seen.append((caller, row, asked, params))
        return not row.changes

    access = Access(only_reading, lambda *decision: decided.append(decision))
    params = NoParams()
    asked = request(api.DESTROY)
    with pytest.raises(LibvirtError) as caught:
        access.require(CALLER, api.DESTROY, asked, params)
    assert (caught.value.code, caught.value.domain) == (c.VIR_ERR_ACCESS_DENIED, c.VIR_FROM_ACCESS)
    assert "domain:stop is not granted to amqp:alice" in caught.value.message
    assert seen == [(CALLER, api.DESTROY, asked, params)]
    access.require(CALLER, api.LIST_ALL, request(api.LIST_ALL), params)
    assert decided == [("domain", "stop", False), ("connect", "search_domains", True)]
