"""The table as a document: what is compared with the committed ``schema.json``, and the command that writes it.

``python -m tests.contract.schema`` says what has changed; with ``--write`` the committed copy follows, unless a
published row or field would be lost by that: those never change (``--break`` is for the time before a release).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from virtbus_shared.api import TABLE
from virtbus_shared.procedure import AnyEvent, AnyProcedure

FILE = Path(__file__).with_name("schema.json")
Document = dict[str, Any]


def of_procedure(row: AnyProcedure) -> Document:
    """What a procedure promises on the wire."""
    return {"acl": row.acl, "changes": row.changes, "connectionless": row.connectionless,
            "params": row.params.model_json_schema(mode="validation"), "read_only": row.read_only,
            "result": row.result.model_json_schema(mode="serialization"), "since": row.since}


def of_event(row: AnyEvent) -> Document:
    """What an event promises on the wire."""
    return {"body": row.body.model_json_schema(mode="serialization"), "id": row.id, "since": row.since}


def current() -> Document:
    """The table as it is."""
    return {"procedures": {name: of_procedure(row) for name, row in TABLE.procedures.items()},
            "events": {name: of_event(row) for name, row in TABLE.events.items()}}


def committed() -> Document:
    """The table as it was published."""
    document: Document = json.loads(FILE.read_text())
    return document


def text(document: Document) -> str:
    """A document as it is committed: in one order, so that a diff shows what changed and nothing else."""
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def breaks(old: Document, new: Document) -> list[str]:
    """What a caller or subscriber of the old table would miss in the new one."""
    found: list[str] = []
    for kind in ("procedures", "events"):
        for name, row in old[kind].items():
            after = new[kind].get(name)
            if after is None:
                found.append(f"{name} is gone")
                continue
            for key, value in row.items():
                if isinstance(value, dict):
                    found += _model_breaks(f"{name} {key}", value, after[key], sent=key == "params")
                elif value != after[key]:
                    found.append(f"{name}: {key} was {value!r} and is {after[key]!r}")
    return found


def _model_breaks(where: str, old: Document, new: Document, *, sent: bool) -> list[str]:
    """Fields of a model, and of the models inside it, that were changed or lost. ``sent``: callers fill it in."""
    found: list[str] = []
    for name, definition in old.get("$defs", {}).items():
        inner = new.get("$defs", {}).get(name)
        found += ([f"{where}: {name} is gone"] if inner is None
                  else _model_breaks(f"{where} {name}", definition, inner, sent=sent))
    after = new.get("properties", {})
    for name, field in old.get("properties", {}).items():
        if name not in after:
            found.append(f"{where}: field {name!r} is gone")
        elif _shape(after[name]) != _shape(field):
            found.append(f"{where}: field {name!r} was {_shape(field)} and is {_shape(after[name])}")
    required, required_before = set(new.get("required", ())), set(old.get("required", ()))
    if sent:
        found += [f"{where}: field {name!r} is required now" for name in sorted(required - required_before)]
    else:
        found += [f"{where}: field {name!r} may be missing now"
                  for name in sorted(required_before - required) if name in after]
    return found


def _shape(field: Document) -> Document:
    """A field without the words about it, which may be improved."""
    return {key: value for key, value in field.items() if key not in ("description", "title")}


def undescribed(model: type[Any]) -> list[str]:
    """Fields of a model that say nothing about themselves."""
    found = []
    for name, field in model.model_fields.items():
        if not (field.description or any(getattr(m, "description", None) for m in field.metadata)):
            found.append(f"{model.__name__}.{name}")
    return found


def models(of: type[Any]) -> set[type[Any]]:
    """A model and all that its fields hold."""
    found: set[type[Any]] = set()
    waiting: list[Any] = [of]
    while waiting:
        each = waiting.pop()
        if isinstance(each, type) and issubclass(each, BaseModel):
            if each not in found:
                found.add(each)
                waiting += [field.annotation for field in each.model_fields.values()]
        else:
            waiting += get_args(each)
    return found


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.contract.schema", description=__doc__)
    parser.add_argument("--write", action="store_true", help="let the committed copy follow the table")
    parser.add_argument("--break", action="store_true", dest="may_break", help="even where something is lost by that")
    options = parser.parse_args()
    new = current()
    old = committed() if FILE.exists() else {"procedures": {}, "events": {}}
    lost = breaks(old, new)
    print("\n".join(lost) or ("the committed copy is up to date" if old == new else "only additions or words"))
    if options.write and (options.may_break or not lost):
        FILE.write_text(text(new))
        print(f"wrote {FILE.name}: {len(new['procedures'])} procedures, {len(new['events'])} events")
    elif lost:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
