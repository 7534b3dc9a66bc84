"""Device fragments: what one says, where two models differ, what libvirt stored of it, and every wrong value in turn.

The tests of the device models define fragments with libvirt's test driver and compare its output and refusals with
ours. What all of them need is here; the fragments themselves stand in the tests.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator

from lxml import etree

from virtbus_shared.service.xml_lines import PLANS, Element

# Replacements for a value: no word of any enumeration, nothing, no unsigned number, and one too large for most.
WRONG = ("bogus", "", "-1", "4294967296")

_DEVICE = re.compile(r"^    <(\w+)(?:[^<]*/>|.*?^    </\1>)\n", re.MULTILINE | re.DOTALL)
_PLACE = re.compile(r" \(at /[a-z0-9_/\[\]-]*\)$", re.IGNORECASE)


def devices_of(dump: str, tags: Collection[str]) -> str:
    """The document of the devices of some families in a domain's document, in libvirt's own text."""
    lines = "".join(match[0] for match in _DEVICE.finditer(dump) if match[1] in tags)
    return "<devices>\n" + re.sub("^  ", "", lines, flags=re.MULTILINE) + "</devices>\n"


def without_place(message: str) -> str:
    """A refusal without the path of the element that ours adds to libvirt's words."""
    return _PLACE.sub("", message)


def node_path(node: etree._Element) -> str:
    """The names of an element and of those around it: "devices/disk/source"."""
    return "/".join(str(element.tag) for element in (*reversed(list(node.iterancestors())), node))


def attributes(node: etree._Element) -> dict[str, str]:
    """An element's attributes as they stand."""
    return {str(name): str(value) for name, value in node.attrib.items()}


def said(document: str) -> set[tuple[str, str]]:
    """Each attribute and text of a document, as its path and its value as written."""
    found: set[tuple[str, str]] = set()
    for node in etree.fromstring(document).iter():
        found.update((f"{node_path(node)}/@{name}", value) for name, value in attributes(node).items())
        if node.text and node.text.strip():
            found.add((node_path(node), node.text))
    return found


def lacking(ours: object, theirs: object, place: str = "") -> Iterator[str]:
    """Where a model lacks or contradicts what another one says."""
    if isinstance(ours, Element) and type(theirs) is type(ours):
        for name in PLANS[type(ours)].lines:
            yield from lacking(getattr(ours, name), getattr(theirs, name), f"{place}.{name}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) <= len(theirs):
        for number, (mine, other) in enumerate(zip(ours, theirs, strict=False)):
            yield from lacking(mine, other, f"{place}[{number}]")
    elif ours is not None and ours != theirs:
        yield f"{place}: {ours!r} here, {theirs!r} there"


def wrong_values(fragments: Iterable[str], *, skip: Collection[str] = ()) -> Iterator[tuple[str, str]]:
    """Each attribute and text of each fragment in turn replaced: its path, and the fragment.

    Elements named in ``skip`` are left alone. The path begins with "devices".
    """
    for fragment in fragments:
        root = etree.fromstring(f"<devices>{fragment}</devices>")
        for node in root.iterdescendants():
            if node.tag in skip:
                continue
            for name, value in attributes(node).items():
                for wrong in WRONG:
                    node.set(name, wrong)
                    yield f"{node_path(node)}/@{name}", _inner(root)
                node.set(name, value)
            if (text := node.text) and text.strip():
                for wrong in WRONG:
                    node.text = wrong
                    yield node_path(node), _inner(root)
                node.text = text


def _inner(root: etree._Element) -> str:
    return "".join(etree.tostring(device, encoding="unicode", with_tail=False) for device in root)
