"""Makes documents of other hosts into documents of this one, for libvirt to take: a short list of rewrites.

Most real documents name emulators, machine types and hypervisors that this machine lacks, and are refused for that
alone. What is rewritten says nothing of what the comparison is about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lxml import etree


@dataclass(frozen=True)
class Rewrite:
    """Elements or attributes (an XPath) and what they become; None takes them away."""

    where: str
    to: str | None
    reason: str


FOR_THIS_HOST = (
    Rewrite("/domain/devices/emulator", None, "Paths of other distributions; the host's own is found by architecture."),
    Rewrite("/domain/@type[. = 'kvm' or . = 'test' or . = 'hvf']", "qemu", "There may be no KVM here, and no others."),
    Rewrite("/domain/os/type/@machine[contains(., 'q35')]", "q35", "The version is another one here."),
    Rewrite("/domain/os/type/@machine[starts-with(., 'pc-') or starts-with(., 'rhel')][not(contains(., 'q35'))]", "pc",
            "The version is another one here."),
)
FOR_ARGUMENTS = (
    *FOR_THIS_HOST,
    Rewrite("/domain/cpu/@mode[. = 'host-passthrough']", "maximum", "The host's CPU passes through with KVM only."),
    Rewrite("/domain/devices/graphics/listen[@type = 'network']/@network", None, "The address would be looked up, ..."),
    Rewrite("/domain/devices/graphics/listen/@type[. = 'network']", "address", "... but nobody manages networks here."),
)


def prepared(document: str, rewrites: Sequence[Rewrite] = FOR_THIS_HOST) -> str:
    """A document after some rewrites; as it is when it is not well-formed."""
    try:
        root = etree.fromstring(document.encode(), etree.XMLParser(resolve_entities=False, no_network=True))
    except etree.XMLSyntaxError:
        return document
    for rewrite in rewrites:
        found = root.xpath(rewrite.where)
        assert isinstance(found, list)
        for target in found:
            _rewrite(target, rewrite.to)
    return etree.tostring(root, encoding="unicode")


def _rewrite(target: object, to: str | None) -> None:
    if isinstance(target, etree._Element):
        parent = target.getparent()
        assert parent is not None
        if to is None:
            parent.remove(target)
        else:
            target.text = to
        return
    owner, name = target.getparent(), target.attrname  # type: ignore[attr-defined]  # lxml's strings know their place
    if to is None:
        del owner.attrib[name]
    else:
        owner.set(name, to)
