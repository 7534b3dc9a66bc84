"""In what two documents of one thing differ, field by field: from the lines that its model declares.

The document of a change rarely says what only a running domain has, nor a password that its author was not shown.
What it is silent about is as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from virtbus_shared.service.xml_lines import Element, Line, lines_of

# What a running domain has found or been given where the document said nothing.
_FOUND = frozenset(("address", "acpi_index", "backing_store", "target_tray"))


class Difference(NamedTuple):
    """One field: ``name`` from the thing on ("driver.cache"), ``path`` in its document ("driver/@cache"), values."""

    name: str
    path: str
    old: Any
    new: Any

    @property
    def word(self) -> str:
        """Its own name in the document."""
        return self.path.removesuffix("/.").rpartition("/")[2].removeprefix("@")

    def is_below(self, names: Collection[str]) -> bool:
        """Whether it is one of these fields, or part of one."""
        return any(self.name == name or self.name.startswith(f"{name}.") for name in names)


def differences(old: Element, new: Element, *, without: Collection[str] = ()) -> Iterator[Difference]:
    """The fields, in the order of the document, in which ``new`` says something else than ``old`` has."""
    for name, line in lines_of(type(old)).items():
        if name not in without:
            was, will = getattr(old, name), getattr(new, name)
            if was != will and not _is_silent(name, line, will):
                yield from _within(name, line.path, was, will)


def complete(old: Element, new: Element, *, without: Collection[str] = ()) -> None:
    """Fill in what ``new`` is silent about, so that it can stand where ``old`` does."""
    for name, line in lines_of(type(old)).items():
        was, will = getattr(old, name), getattr(new, name)
        if name in without or was == will:
            continue
        if _is_silent(name, line, will):
            setattr(new, name, copy.deepcopy(was))
        elif isinstance(was, Element) and type(was) is type(will):
            complete(was, will)


def _is_silent(name: str, line: Line, will: Any) -> bool:
    return will in (None, []) and (line.live is not False or line.secret or name in _FOUND)


def _within(name: str, path: str, was: Any, will: Any) -> Iterator[Difference]:
    """What differs inside of two values that are elements, else the whole."""
    known = [value for value in (was, will) if value is not None]
    if not isinstance(known[0], Element) or any(type(value) is not type(known[0]) for value in known):
        yield Difference(name, path, was, will)
        return
    absent = type(known[0])()
    inner = list(differences(was or absent, will or absent))
    for found in inner:
        yield Difference(f"{name}.{found.name}", f"{path}/{found.path}", found.old, found.new)
    if not inner and len(known) == 1:  # an element that says something by being there
        yield Difference(name, path, was, will)
