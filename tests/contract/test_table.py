"""The table as a whole: every row is described, handled by its own service, called by the gateway, and never changes."""

from __future__ import annotations

import ast
import copy
import importlib
from pathlib import Path

import pytest
import virtbus
from pydantic import Field, create_model

from tests.contract import schema
from virtbus_shared import api
from virtbus_shared import constants as c
from virtbus_shared.api import SERVICES, TABLE
from virtbus_shared.procedure import AnyProcedure, Params, Priority, Procedure
from virtbus_shared.service.runtime import Service

ROWS = list(TABLE.procedures.values())
GATEWAY = Path(virtbus.__file__).parent
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


@pytest.mark.parametrize("model", sorted(
    {m for row in ROWS for top in (row.params, row.result) for m in schema.models(top)}
    | {m for event in TABLE.events.values() for m in schema.models(event.body)}, key=lambda m: (m.__module__, m.__name__)),
    ids=lambda m: f"{m.__module__.rpartition('.')[2]}.{m.__name__}")
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
                   for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "virtbus_shared.api"
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
    assert schema.FILE.read_text() == schema.text(schema.current()), "regenerate: python -m tests.contract.schema --write"


def test_each_kind_of_break_is_noticed() -> None:
    """The judge is judged: a lost row, a lost field, another type, a new duty, a lost promise; and no false alarm."""
    old = schema.current()

    def after(change: str) -> list[str]:
        new = copy.deepcopy(old)
        params, result = new["procedures"]["domain.create"]["params"], new["procedures"]["domain.create"]["result"]
        match change:
            case "row":
                del new["procedures"]["domain.create"]
            case "event":
                del new["events"]["domain.lifecycle"]
            case "field":
                del result["properties"]["uuid"]
            case "type":
                params["properties"]["flags"]["type"] = "string"
            case "bound":
                params["properties"]["flags"]["maximum"] = 1
            case "duty":
                params["required"] = [*params["required"], "flags"]
            case "promise":
                result["required"] = ["name"]
            case "mode":
                new["procedures"]["domain.create"]["changes"] = False
            case "inner":
                del new["procedures"]["domain.list_all"]["result"]["$defs"]["Domain"]["properties"]["id"]
            case "words":
                params["properties"]["flags"]["description"] = "Better words."
            case "optional":
                params["properties"]["priority"] = {"type": "integer", "default": 0}
            case "answer":
                result["properties"]["more"] = {"type": "integer"}
                result["required"] = [*result["required"], "more"]
            case "new row":
                new["procedures"]["domain.fly"] = new["procedures"]["domain.create"]
        return schema.breaks(old, new)

    for change in ("row", "event", "field", "type", "bound", "duty", "promise", "mode", "inner"):
        assert after(change), change
    for change in ("words", "optional", "answer", "new row"):
        assert after(change) == [], change


def test_a_field_without_words_is_noticed() -> None:
    """The judge of descriptions is judged, too."""
    bad = create_model("Bad", __base__=Params, said=(int, Field(description="A number.")), unsaid=(int, 0))
    assert schema.undescribed(bad) == ["Bad.unsaid"]
