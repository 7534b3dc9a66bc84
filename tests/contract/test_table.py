"""The table as a whole: each row is described, handled by its own service, called by the gateway, and never changes."""

from __future__ import annotations

import ast
import copy
import importlib
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field, create_model

import virtbus
from tests.contract import schema
from virtbus_shared import api
from virtbus_shared import constants as c
from virtbus_shared.api import SERVICES, TABLE
from virtbus_shared.procedure import AnyProcedure, Params, Priority, Procedure
from virtbus_shared.service.runtime import Service

ROWS = list(TABLE.procedures.values())
GATEWAY = Path(virtbus.__file__).parent
TOPS = {model for row in ROWS for model in (row.params, row.result)} | {e.body for e in TABLE.events.values()}
MODELS: list[type[Any]] = sorted({model for top in TOPS for model in schema.models(top)}, key=repr)
COMMON = ("ping", "get_outcome", "list_events")  # rows of every service; their handlers are the runtime's own
by_name = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)


def service(name: str) -> Service:
    """What a service package declares."""
    found: Service = importlib.import_module(f"virtbus_{name}.service").SERVICE
    return found


# -- rows -------------------------------------------------------------------------------------------------------------


@by_name
def test_a_row_says_what_it_is(row: AnyProcedure) -> None:
    """Name, service, sentence, permission and age: each is there and of the agreed form."""
    assert row.service in SERVICES
    assert row.name == row.name.lower()
    assert row.summary
    assert row.summary[0].isupper() or row.summary.startswith(("hvm", "<"))
    assert row.summary.endswith(".")
    object_type, _, permission = row.acl.partition(":")
    assert object_type
    assert permission
    assert row.since
    assert all(function.startswith("vir") for function in row.serves)
    errors = {value for name, value in vars(c).items() if name.startswith("VIR_ERR_")}
    assert set(row.errors) <= errors


@by_name
def test_modes_agree(row: AnyProcedure) -> None:
    """A change is neither read-only nor answered from memory; what answers from memory may be used by everybody."""
    if row.changes:
        assert not row.read_only
        assert row.priority is Priority.LOW
        assert not row.connectionless
    else:
        assert row.read_only, "a row that changes nothing is allowed on a read-only connection"


@pytest.mark.parametrize("model", MODELS, ids=lambda m: f"{m.__module__.rpartition('.')[2]}.{m.__name__}")
def test_every_field_is_described(model: type[Params]) -> None:
    """Nobody has to read a handler to learn what a field means."""
    assert schema.undescribed(model) == []
    assert model.__doc__


def test_events_belong_to_services() -> None:
    """An event has a service, a sentence, and a number of libvirt's."""
    for event in TABLE.events.values():
        assert event.service in SERVICES
        assert event.summary.endswith(".")
        assert isinstance(event.id, int)


# -- one handler, one caller ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SERVICES)
def test_every_row_has_one_handler_in_its_own_service(name: str) -> None:
    """A service handles its rows, all of them, and no others; and each by the right kind of function."""
    routes = service(name).handlers.routes
    own = {row.name for row in TABLE.of_service(name)} - {f"{name}.{common}" for common in COMMON}
    assert set(routes) == own
    for route in routes.values():
        assert (route.answer is None) != (route.handle is None)
        assert (route.answer is not None) == (route.row.priority is Priority.HIGH)
        assert route.reconcile is None or route.row.changes
        function = route.answer or route.handle
        assert function is not None
        assert function.__module__.startswith(f"virtbus_{name}.")
        assert function.__doc__, f"{route.row.name}: which libvirt function does its handler serve?"


def used_rows(root: Path) -> dict[str, list[str]]:
    """Row name -> the functions in the sources below ``root`` that use it as ``module.ROW``."""
    rows = {id(value): value.name for name in SERVICES for value in vars(getattr(api, name)).values()
            if isinstance(value, Procedure)}
    uses: dict[str, list[str]] = {}
    for file in sorted(root.rglob("*.py")):
        tree = ast.parse(file.read_text())
        modules = {alias.asname or alias.name: getattr(api, alias.name)
                   for node in ast.walk(tree)
                   if isinstance(node, ast.ImportFrom) and node.module == "virtbus_shared.api"
                   for alias in node.names if alias.name in (*SERVICES, "common")}
        _visit(tree, file.stem, modules, rows, uses)
    return uses


def _visit(node: ast.AST, where: str, modules: dict[str, object], rows: dict[int, str],
           uses: dict[str, list[str]]) -> None:
    for child in ast.iter_child_nodes(node):
        inside = (f"{where}.{child.name}" if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
                  else where)
        if isinstance(child, ast.Attribute) and isinstance(child.value, ast.Name) and child.value.id in modules:
            value = getattr(modules[child.value.id], child.attr, None)
            if isinstance(value, Procedure):
                uses.setdefault(rows[id(value)], []).append(inside)
            elif isinstance(value, dict) and child.attr.lower() in COMMON:
                for name in SERVICES:
                    uses.setdefault(f"{name}.{child.attr.lower()}", []).append(inside)
        _visit(child, inside, modules, rows, uses)


def test_every_row_is_called_by_the_gateway() -> None:
    """A row that no client function can reach is dead, or its function was forgotten."""
    assert sorted(set(TABLE.procedures) - set(used_rows(GATEWAY))) == []


# -- drift ------------------------------------------------------------------------------------------------------------


def test_no_published_row_has_changed() -> None:
    """A caller of an older version finds every row and field that it knows, as it knows it."""
    assert schema.breaks(schema.committed(), schema.current()) == []


def test_the_committed_schema_is_the_table() -> None:
    """Additions and better words are committed with the code: `python -m tests.contract.schema --write`."""
    assert schema.FILE.read_text() == schema.text(schema.current()), "python -m tests.contract.schema --write"


CREATE = ("procedures", "domain.create")
FLAGS = (*CREATE, "params", "properties", "flags")
LOST = (
    CREATE, ("events", "domain.lifecycle"), (*CREATE, "result", "properties", "uuid"),
    ("procedures", "domain.list_all", "result", "$defs", "Domain", "properties", "id"),
    ("procedures", "domain.list_all", "result", "$defs", "Domain"))
CHANGED: tuple[tuple[tuple[str, ...], object, bool], ...] = (
    # where, the new value, whether an old caller or subscriber would notice
    ((*FLAGS, "type"), "string", True), ((*FLAGS, "maximum"), 1, True),
    ((*CREATE, "params", "required"), ["uuid", "flags"], True), ((*CREATE, "result", "required"), ["name"], True),
    ((*CREATE, "changes"), False, True), ((*CREATE, "acl"), "domain:stop", True),
    ((*FLAGS, "description"), "Better words.", False),
    ((*CREATE, "params", "properties", "priority"), {"type": "integer", "default": 0}, False),
    ((*CREATE, "result", "properties", "more"), {"type": "integer"}, False),
    (("procedures", "domain.fly"), {}, False), (("events", "domain.flown"), {}, False))


def with_change(where: tuple[str, ...], value: object = None) -> schema.Document:
    """The table with one thing changed, or, without a value, taken out."""
    new = copy.deepcopy(schema.current())
    inner = new
    for key in where[:-1]:
        inner = inner[key]
    if value is None:
        del inner[where[-1]]
    else:
        inner[where[-1]] = value
    return new


@pytest.mark.parametrize("where", LOST, ids=lambda where: where[-1])
def test_a_loss_is_noticed(where: tuple[str, ...]) -> None:
    """The judge is judged: a row, an event, a field, a field of a model within, a whole model within."""
    assert schema.breaks(schema.current(), with_change(where))


@pytest.mark.parametrize(("where", "value", "noticed"), CHANGED, ids=str)
def test_a_change_is_noticed_if_it_matters(where: tuple[str, ...], value: object, noticed: bool) -> None:
    """Types, bounds, duties and promises matter; words, optional fields and new rows do not."""
    assert bool(schema.breaks(schema.current(), with_change(where, value))) is noticed


def test_a_field_without_words_is_noticed() -> None:
    """The judge of descriptions is judged, too."""
    bad = create_model("Bad", __base__=Params, said=(int, Field(description="A number.")), unsaid=(int, 0))
    assert schema.undescribed(bad) == ["Bad.unsaid"]
