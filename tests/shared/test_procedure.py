"""Rows that contradict themselves are refused when they are declared, not when somebody calls them."""

from __future__ import annotations

import pytest

from virtbus_shared.procedure import Event, NoParams, Nothing, Priority, Procedure, Table


def row(name: str = "domain.x", *, read_only: bool = False, changes: bool = False,
        priority: Priority = Priority.LOW) -> Procedure[NoParams, Nothing]:
    """A row with nothing in it."""
    return Procedure(name=name, summary="x", params=NoParams, result=Nothing, acl="domain:read", read_only=read_only,
                     changes=changes, priority=priority, since="0.1")


def test_a_name_belongs_to_one_row() -> None:
    """A second row or event of the same name is refused."""
    table = Table()
    table.procedure(row())
    with pytest.raises(ValueError, match="declared twice"):
        table.procedure(row())
    table.event(Event(name="domain.e", summary="x", body=Nothing, id=0, since="0.1"))
    with pytest.raises(ValueError, match="declared twice"):
        table.event(Event(name="domain.e", summary="x", body=Nothing, id=1, since="0.1"))


@pytest.mark.parametrize("bad", [row(changes=True, read_only=True), row(changes=True, priority=Priority.HIGH)])
def test_a_change_is_neither_read_only_nor_answered_from_memory(bad: Procedure[NoParams, Nothing]) -> None:
    """Both would let a change pass the journal or the connection's mode by."""
    with pytest.raises(ValueError, match="changes state"):
        Table().procedure(bad)


def test_a_row_belongs_to_the_first_word_of_its_name() -> None:
    """A service finds its own rows and no others."""
    table = Table()
    mine, other = table.procedure(row("domain.a")), table.procedure(row("storage.a"))
    assert list(table.of_service("domain")) == [mine]
    assert other.service == "storage"
