"""Which attributes and texts a RelaxNG schema knows below an element, and which ones a model declares, as paths.

Both come as "driver/host/@csum" for an attribute and "tune/sndbuf" for a text, relative to the element. A path that
only the schema has is something a document may say and our models would lose.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

from lxml import etree

from virtbus_shared.service.xml_lines import PLANS, Element

_RNG = "{http://relaxng.org/ns/structure/1.0}"
_TEXTS = {f"{_RNG}text", f"{_RNG}data", f"{_RNG}value"}

Definitions = dict[str, list[etree._Element]]


@functools.cache
def _definitions(schema: Path) -> Definitions:
    """The named parts of a schema and of all that it includes."""
    found: Definitions = {}
    pending, seen = [schema], {schema}
    while pending:
        for node in etree.parse(pending.pop()).getroot().iter():
            if node.tag == f"{_RNG}define":
                found.setdefault(str(node.get("name")), []).append(node)
            elif node.tag == f"{_RNG}include" and (path := schema.parent / str(node.get("href"))) not in seen:
                seen.add(path)
                pending.append(path)
    return found


def schema_paths(schema: Path, definition: str) -> set[str]:
    """The paths below the elements that a named part of a schema describes."""
    definitions = _definitions(schema)

    def walk(node: etree._Element, path: str, above: tuple[str, ...]) -> Iterator[str]:
        for child in node:
            name = child.get("name")
            if child.tag == f"{_RNG}element":
                yield from walk(child, f"{path}/{name}", above)
            elif child.tag == f"{_RNG}attribute":
                yield f"{path}/@{name}"
            elif child.tag == f"{_RNG}ref":
                if name not in above:
                    for part in definitions[str(name)]:
                        yield from walk(part, path, (*above, str(name)))
            elif child.tag in _TEXTS:
                yield path
            else:
                yield from walk(child, path, above)

    paths = {path for part in definitions[definition] for path in walk(part, "", (definition,))}
    return {path.split("/", 2)[2] for path in paths if path.count("/") > 1}


def declared_paths(model: type[Element]) -> set[str]:
    """The paths of all lines of a model, and of the models below it; of one that nests only those of the outermost."""
    paths: set[str] = set()
    for line in PLANS[model].lines.values():
        if line.nested:
            continue
        models = line.cases.values() if line.by else [line.model] if line.shape in ("sub", "subs") else []
        paths.update(f"{line.path}/{below}".removesuffix("/.")
                     for below_model in models for below in declared_paths(below_model))
        if not models:
            paths.add(line.path.removesuffix("/."))
        if line.shape == "size":
            paths.add(f"{line.path}/@unit")
    return paths


def used_paths(model: Element) -> set[str]:
    """The paths of the lines of which a model says something."""
    paths: set[str] = set()
    for name, line in PLANS[type(model)].lines.items():
        value = getattr(model, name)
        for item in value if isinstance(value, list | tuple) else [] if value in (None, False) else [value]:
            if isinstance(item, Element):
                paths.update(f"{line.path}/{below}" for below in used_paths(item))
            else:
                paths.add(line.path)
        if value is False and line.shape == "attr":
            paths.add(line.path)
    return paths
