"""What a model is made of: declared lines, the node tree they form, and what is kept of an element beyond them.

``xml.py`` declares lines, ``xml_read.py`` and ``xml_write.py`` turn them into functions. This file holds what all three
share, and nothing that knows about reading or writing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntFlag
from typing import Any, NamedTuple

from lxml import etree

from virtbus_shared import constants as c
from virtbus_shared.service.xml_values import STR, AnyRefusal, Kind

# libxml2's own limit in the release that libvirt 9.0.0 is built with.
MAX_DEPTH = 256


class Output(IntFlag):
    """Which of libvirt's serialisations of one object: the stored form, or with what only a running one has."""

    INACTIVE = 0
    LIVE = 1
    SECURE = 2


# Shown in live output only: always, or where a test of the value and its model says so.
Live = bool | Callable[[Any, Any], bool]


class Raw(NamedTuple):
    """An element that no model describes, kept whole. Names carry their prefix; ``xmlns`` pairs stand in ``attrs``."""

    tag: str
    attrs: tuple[tuple[str, str], ...] = ()
    text: str = ""
    children: tuple[Raw, ...] = ()


@dataclass(slots=True)
class Rest:
    """What an element carried beyond its model: undeclared attributes and elements, in the user's order."""

    attrs: list[tuple[str, str]] = field(default_factory=list)
    elements: list[Raw] = field(default_factory=list)


@dataclass(slots=True)
class Element:
    """What every model has: ``rest`` by path below the element ("" for itself), or None."""

    rest: dict[str, Rest] | None = None


class Block(NamedTuple):
    """A reader and a writer for an element that is neither a value nor a model; ``write`` gives its lines."""

    read: Callable[[etree._Element], Any]
    write: Callable[[Any], str]


@dataclass(frozen=True, slots=True)
class Line:
    """One declared line; the functions in ``xml.py`` that make it say what the members mean."""

    shape: str
    path: str
    kind: Kind[Any] = STR
    model: type[Element] = Element
    nested: bool = False
    by: str | Callable[[etree._Element], str | None] = ""
    cases: Mapping[str, type[Element]] = field(default_factory=dict)
    unit: str = ""
    output_only: bool = False
    input_only: bool = False
    error: AnyRefusal | None = None
    required: AnyRefusal | bool = False
    live: Live = False
    secret: bool = False
    block: Block | None = None


class Refused(Exception):  # noqa: N818
    """A value that no libvirt would take: what it says, and the error domain if it is not the document's.

    ``general`` refusals have the domain of libvirt's XML parsing.
    """

    def __init__(self, error: AnyRefusal, element: etree._Element, *, general: bool) -> None:
        super().__init__(error[1])
        self.error = error[:2]
        self.path = element.getroottree().getpath(element)
        self.domain = c.VIR_FROM_XML if general else error[2] if len(error) == 3 else None


@dataclass(slots=True)
class Node:
    """One element that has declared lines at or below it and no model of its own; ``items`` in output order."""

    tag: str
    key: str
    attrs: list[tuple[str, str, Line]] = field(default_factory=list)
    text: tuple[str, Line] | None = None
    items: list[Node | tuple[str, str, Line]] = field(default_factory=list)

    def below(self, tag: str) -> Node:
        """The node of a child element, made when first mentioned."""
        for item in self.items:
            if isinstance(item, Node) and item.tag == tag:
                return item
        node = Node(tag, f"{self.key}/{tag}".lstrip("/"))
        self.items.append(node)
        return node


class Plan:
    """The declared lines of one model class, as the tree of nodes that readers and writers are made from.

    ``open_tag`` writes an element without content as an open and a close tag; ``namespaces`` (prefix to URI) are those
    of its "prefix:tag" paths, declared on the element itself as libvirt does.
    """

    def __init__(self, model: type[Element], lines: Iterable[tuple[str, Line]], *, open_tag: bool,
                 namespaces: Mapping[str, str]) -> None:
        self.model = model
        self.open_tag = open_tag
        self.namespaces = namespaces
        self.lines = dict(lines)
        self.root = Node("", "")
        for name, line in self.lines.items():
            self._place(name, line)

    def _place(self, name: str, line: Line) -> None:
        *parents, last = line.path.split("/")
        if line.shape == "each" and last.startswith("@"):
            last = parents.pop()  # "boot/@dev": the list belongs to the element that holds the boot elements
        node = self.root
        for tag in parents:
            node = node.below(tag)
        if line.shape == "attr":
            node.attrs.append((last.removeprefix("@"), name, line))
        elif last == ".":
            node.text = (name, line)
        else:
            node.items.append((last, name, line))


PLANS: dict[type[Element], Plan] = {}
