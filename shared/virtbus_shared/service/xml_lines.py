"""What a model is made of: declared lines, the node tree they form, and the classes that models derive from.

``xml.py`` declares lines, ``xml_read.py`` and ``xml_write.py`` turn them into functions. This file holds what all three
share, and what tells of a model's lines (``lines_of``, ``declared``, ``content``); nothing here reads or writes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntFlag
from operator import attrgetter
from types import MappingProxyType
from typing import Any, NamedTuple

from lxml import etree

from virtbus_shared import constants as c
from virtbus_shared.service.xml_values import STR, AnyRefusal, Kind

# libxml2's own limit, which parsing keeps: nothing here needs a guard against deeper documents.
MAX_DEPTH = 256


class Output(IntFlag):
    """Which of libvirt's serialisations of one object: the stored form, or with what only a running one has.

    ``SECURE`` adds passwords; ``MIGRATABLE`` leaves out what the other side of a migration could not read.
    """

    INACTIVE = 0
    LIVE = 1
    SECURE = 2
    MIGRATABLE = 4


# A test of a value and its model, or the same answer for all.
Test = bool | Callable[[Any, Any], bool]


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


class Block(NamedTuple):
    """A reader and a writer for an element that is neither a value nor a model; ``write`` gives its lines."""

    read: Callable[[etree._Element], Any]
    write: Callable[[Any], str]


class Element:
    """What every model has: a constructor by keyword, equality by content, deep copies.

    What no line of a model declares is dropped when a document is read, as libvirt drops it.
    """

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]  # what changes is no key

    def __init__(self, **values: Any) -> None:
        # Made when a class is first used, since most classes never are in any one process; then this one is not called.
        cls = type(self)
        cls.__init__ = _constructor(cls)  # type: ignore[method-assign]
        cls.__init__(self, **values)

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        values = PLANS[type(self)].values
        return bool(values(self) == values(other))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in content(self).items())})"

    def __copy__(self) -> Element:
        twin = object.__new__(type(self))
        for name in PLANS[type(self)].defaults:
            setattr(twin, name, getattr(self, name))
        return twin

    def __deepcopy__(self, memo: dict[int, Any]) -> Element:
        twin = object.__new__(type(self))
        for name in PLANS[type(self)].defaults:
            value = getattr(self, name)
            setattr(twin, name, value if type(value) in _FLAT else copy.deepcopy(value, memo))
        return twin


_FLAT = (type(None), str, int, bool)


def blank(model: str, defaults: Mapping[str, Any]) -> list[str]:
    """Source that sets every field of the named object to its default: one statement, as most objects are blank."""
    flat = {name: default for name, default in defaults.items() if default is not list}
    made = [f"{model}.{name} = []" for name, default in defaults.items() if default is list]
    return [f"{''.join(f'{model}.{name}, ' for name in flat)}= {tuple(flat.values())}", *made] if flat else made


def _constructor(cls: type[Element]) -> Callable[..., None]:
    """A constructor that takes each field by its name: a completed definition has a hundred small objects."""
    defaults = PLANS[cls].defaults
    fields = "".join(f", {name}={None if default is list else repr(default)}" for name, default in defaults.items())
    lines = [f"self.{name} = {f'[] if {name} is None else {name}' if default is list else name}"
             for name, default in defaults.items()]
    names: dict[str, Any] = {}
    source = "\n    ".join([f"def __init__(self{', *' if fields else ''}{fields}):", *(lines or ["pass"])])
    exec(source, names)  # noqa: S102  # only names that our own models declare
    made: Callable[..., None] = names["__init__"]
    made.__qualname__ = f"{cls.__name__}.__init__"
    return made


class Partial(Element):
    """A model that does not describe all of its element yet: what no line declares is kept, and written at its end.

    ``rest`` holds it by path below the element ("" for itself), None when there is nothing.
    """

    __slots__ = ("rest",)
    rest: dict[str, Rest] | None


class Line(NamedTuple):
    """One declared line; the functions in ``xml.py`` that make it say what the members mean.

    ``default`` is what a field holds when nothing is there; the type ``list`` stands for a new list.
    """

    shape: str
    path: str
    kind: Kind[Any] = STR
    default: object = None
    model: type[Element] = Element
    nested: bool = False
    by: str | Callable[[etree._Element], str | None] = ""
    cases: Mapping[str, type[Element]] = MappingProxyType({})
    unit: str = ""
    output_only: bool = False
    input_only: bool = False
    error: AnyRefusal | None = None
    required: AnyRefusal | bool = False
    live: Test = False
    migratable: Test = True
    secret: bool = False
    block: Block | None = None

    @property
    def models(self) -> list[type[Element]]:
        """The models of which its value may be, each once."""
        known = dict.fromkeys((self.model, *self.cases.values()))
        return [model for model in known if model is not Element]


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

    def lines(self) -> Iterator[tuple[str, Line]]:
        """The names and lines at and below it."""
        yield from ((name, line) for _, name, line in self.attrs)
        if self.text:
            yield self.text
        for item in self.items:
            if isinstance(item, Node):
                yield from item.lines()
            else:
                yield item[1:]


class Plan:
    """What is known of one model class: its declared lines, and the tree of nodes they form.

    The arguments are those of ``element``. ``defaults`` are those of all its fields; ``values`` gets their values.
    """

    def __init__(self, model: type[Element], lines: Mapping[str, Line], *, open_tag: bool = False,
                 namespaces: Mapping[str, str] | None = None, declare: bool = True,
                 unknown_child: AnyRefusal | None = None) -> None:
        self.model = model
        self.lines = lines
        self.open_tag = open_tag
        self.namespaces = namespaces or {}
        self.declare = declare
        self.unknown_child = unknown_child
        self.partial = issubclass(model, Partial)
        self.defaults = {name: line.default for name, line in lines.items()} | ({"rest": None} if self.partial else {})
        self.values: Callable[[Any], Any] = attrgetter(*self.defaults) if self.defaults else lambda model: ()
        blank = [[] if default is list else default for default in self.defaults.values()]
        self.blank: Any = blank[0] if len(blank) == 1 else tuple(blank)
        self.root = Node("", "")
        for name, line in lines.items():
            self._place(name, line)

    def _place(self, name: str, line: Line) -> None:
        *parents, last = line.path.split("/")
        if line.shape == "each" and last.startswith("@"):
            last = parents.pop()  # "boot/@dev": the list belongs to the element that holds the boot elements
        node = self.root
        for tag in parents:
            node = node.below(tag)
        if last.startswith("@"):
            node.attrs.append((last.removeprefix("@"), name, line))
        elif last == ".":
            node.text = (name, line)
        else:
            node.items.append((last, name, line))


PLANS: dict[type[Element], Plan] = {}


def lines_of(model: type[Element]) -> Mapping[str, Line]:
    """The lines of a model class by field, in the order of output."""
    return PLANS[model].lines


def declared(root: type[Element]) -> list[type[Element]]:
    """A model class and all that its lines lead to, each once."""
    found: dict[type[Element], None] = {root: None}
    left = [root]
    while left:
        for line in lines_of(left.pop()).values():
            new = [model for model in line.models if model not in found]
            found |= dict.fromkeys(new)
            left += new
    return list(found)


def content(model: Element) -> dict[str, Any]:
    """The fields of a model that something is set in, with their values: those that differ from what absence gives."""
    found = {name: getattr(model, name) for name in PLANS[type(model)].defaults}
    return {name: value for name, value in found.items()
            if value != ([] if (default := PLANS[type(model)].defaults[name]) is list else default)}


def is_blank(model: Element | None) -> bool:
    """Whether a model says nothing: that of an element without content. None, which is no element, is none."""
    if model is None:
        return False
    plan = PLANS[type(model)]
    return bool(plan.values(model) == plan.blank)
