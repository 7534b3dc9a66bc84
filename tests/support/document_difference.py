"""In what two documents that should mean the same differ, by path: for libvirt's dump of a domain and ours.

Attributes have no order, and neither have controllers, which libvirt itself moves about when its own dump is defined
again; a controller is found by its type and index. Everything else is compared in the order in which it stands.
Comments, indentation and the choice of prefixes mean nothing. A UUID or MAC address that the definition does not
contain was made up by whoever completed it, and only has to be one.
"""

from __future__ import annotations

import re
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence

from lxml import etree

Differences = dict[str, tuple[str, str]]  # path -> (virtbus, libvirt)

ABSENT = "(absent)"
GENERATED = "(generated)"

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MAC = re.compile(r"([0-9a-f]{1,2}:){5}[0-9a-f]{1,2}", re.IGNORECASE)


def differing_documents(ours: str, theirs: str, definition: str) -> Differences:
    """The differences of two dumps of what ``definition`` defines."""
    given = made_up(definition)
    trees = [etree.fromstring(text.encode()) for text in (ours, theirs)]
    return _differing(trees[0], trees[1], f"/{_name(trees[0])}", given)


def made_up(definition: str) -> Values:
    """What of the values in dumps of ``definition`` was not made up."""
    given = set()
    for node in etree.fromstring(definition.encode()).iter(etree.Element):
        for value in (node.text or "", *map(str, node.attrib.values())):
            given.add(_canonical(value))
    return Values(given)


class Values:
    """Tells the random values of dumps from those that the definition gave."""

    def __init__(self, given: Iterable[str]) -> None:
        self._given = set(given)

    def masked(self, value: str) -> str:
        """A value as it is to be compared."""
        known = _canonical(value) in self._given
        return GENERATED if not known and (_UUID.fullmatch(value) or _MAC.fullmatch(value)) else value


def _canonical(value: str) -> str:
    """One spelling of a UUID or MAC address for the several that are accepted."""
    value = value.strip()
    if _MAC.fullmatch(value):
        return ":".join(f"{int(part, 16):02x}" for part in value.split(":"))
    try:
        return str(uuid.UUID(value))
    except ValueError:
        return value


def _differing(ours: etree._Element, theirs: etree._Element, path: str, given: Values) -> Differences:
    found: Differences = {}
    values = [_values(node, path, given) for node in (ours, theirs)]
    for where in {**values[1], **values[0]}:
        pair = values[0].get(where, ABSENT), values[1].get(where, ABSENT)
        if pair[0] != pair[1]:
            found[where] = pair
    children = [_children(node) for node in (ours, theirs)]
    for key in {**children[1], **children[0]}:
        mine, their = children[0].get(key), children[1].get(key)
        if mine is None or their is None:
            found[f"{path}/{key}"] = _written(mine), _written(their)
        else:
            found |= _differing(mine, their, f"{path}/{key}", given)
    order = [_order(child, set(children[0]) & set(children[1])) for child in children]
    if order[0] != order[1]:
        found[f"{path}/(order)"] = " ".join(order[0]), " ".join(order[1])
    return found


def _values(node: etree._Element, path: str, given: Values) -> dict[str, str]:
    """The attributes of an element and its text; between children white space is indentation."""
    found = {f"{path}/@{name!s}": given.masked(str(value)) for name, value in node.attrib.items()}
    pieces = [node.text or "", *(child.tail or "" for child in node)]
    text = "".join(pieces) if len(node) == 0 else " ".join("".join(pieces).split())
    return found | {f"{path}/text()": given.masked(text)} if text else found


def _children(node: etree._Element) -> dict[str, etree._Element]:
    """The child elements by what identifies them: name and number, or for controllers what they are."""
    children = list(node.iterchildren(etree.Element))
    numbered = Counter(_controller(child) for child in children)
    seen: Counter[str] = Counter()
    found = {}
    for child in children:
        name = _name(child)
        if name == "controller":
            # The companions of a USB 2 controller have its number.
            model = f" {child.get('model')}" if numbered[_controller(child)] > 1 else ""
            name = f"controller[{_controller(child)}{model}]"
        seen[name] += 1
        found[name if seen[name] == 1 else f"{name}[{seen[name]}]"] = child
    return found


def _controller(node: etree._Element) -> str:
    return f"{node.get('type')} {node.get('index')}"


def _order(keys: Iterable[str], common: set[str]) -> Sequence[str]:
    return [key for key in keys if key in common and not key.startswith("controller")]


def _name(node: etree._Element) -> str:
    """The element's name, with its namespace where it has one."""
    return str(node.tag)


def _written(node: etree._Element | None) -> str:
    """An element on one line."""
    return ABSENT if node is None else re.sub(r">\s+<", "><", etree.tostring(node, encoding="unicode").strip())
