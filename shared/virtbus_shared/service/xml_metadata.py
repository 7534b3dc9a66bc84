"""The ``metadata`` element: what clients store beside an object, in namespaces of their own.

Its content is theirs: kept as they wrote it, apart from indentation between elements, and never interpreted. libvirt
keeps one top element per namespace, the first, and drops what stands at the top without a namespace (elements, text,
comments); so does reading here.
"""

from __future__ import annotations

from dataclasses import dataclass

from lxml import etree

_PARSER = etree.XMLParser(encoding="utf-8", resolve_entities=False, no_network=True, load_dtd=False)


@dataclass(frozen=True, slots=True)
class Metadata:
    """The stored elements: pairs of namespace URI and text, the text indented as it stands in a dump."""

    elements: tuple[tuple[str, str], ...] = ()

    def get(self, uri: str) -> str | None:
        """The element of a namespace as a document of its own, None when there is none."""
        for known, text in self.elements:
            if known == uri:
                root = etree.fromstring(text.strip().encode(), _PARSER)
                return etree.tostring(_reindented(root), encoding="unicode", pretty_print=True).rstrip("\n")
        return None

    def replaced(self, uri: str, root: etree._Element | None) -> Metadata:
        """With another element for a namespace, at the end when it is new; without it when ``root`` is None."""
        others = [pair for pair in self.elements if pair[0] != uri]
        if root is None:
            return Metadata(tuple(others))
        return Metadata((*others, (uri, _indented(root))))


def read_metadata(element: etree._Element) -> Metadata:
    """What of a ``metadata`` element is kept."""
    kept: dict[str, str] = {}
    for child in list(element):
        uri = etree.QName(child).namespace if isinstance(child.tag, str) else None
        if uri is not None and uri not in kept:
            kept[uri] = _indented(child)
    return Metadata(tuple(kept.items()))


def write_metadata(metadata: Metadata) -> str:
    """The lines of a ``metadata`` element at the first level of a document."""
    if not metadata.elements:
        return "  <metadata/>"
    return "\n".join(["  <metadata>", *[text for _, text in metadata.elements], "  </metadata>"])


def _indented(element: etree._Element) -> str:
    """The element's text at the second level, indented by libxml2 itself because only it knows what is blank."""
    outer = etree.Element("a")
    inner = etree.SubElement(outer, "b")
    element.tail = None
    inner.append(element)
    text = etree.tostring(outer, encoding="unicode", pretty_print=True)
    return text.removeprefix("<a>\n  <b>\n").removesuffix("\n  </b>\n</a>\n")


def _reindented(root: etree._Element) -> etree._Element:
    for node in root.iter():
        if len(node) and not any(text.strip() for text in (node.text or "", *(child.tail or "" for child in node))):
            node.text = None
            for child in node:
                child.tail = None
    return root
