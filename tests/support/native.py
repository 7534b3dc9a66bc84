"""A domain as QEMU's command line and back, without a service: what the tests of the conversion share."""

from __future__ import annotations

import asyncio
import copy
import functools
import json
import shlex
from collections.abc import Iterator
from pathlib import Path

from lxml import etree

from tests.support.components import require_program
from virtbus_domain.drivers.qemu.capabilities import QemuCapabilities
from virtbus_domain.drivers.qemu.capabilities_probe import probe
from virtbus_domain.drivers.qemu.native import from_arguments, native_arguments
from virtbus_domain.drivers.qemu.reading import complete
from virtbus_domain.xml import format_domain, parse_domain
from virtbus_domain.xml.domain import Domain

OWN = Path(__file__).parents[1] / "data" / "xml" / "domain"
FAMILIES = Path(__file__).parents[1] / "data" / "native"
NVRAM = Path("/srv/nvram")
RUN = Path("/run/virtbus-test")
UUID = "6d3f5a0e-8bbd-4f0a-9d35-0d1b2c3d4e5f"


@functools.cache
def _capabilities() -> QemuCapabilities:
    return asyncio.run(probe(require_program("qemu-system-x86_64")))


def defined(document: str) -> Domain:
    """The model of a document as this node's QEMU driver defines it. Raises ``LibvirtError``."""
    model = parse_domain(document)
    complete(model, _capabilities(), NVRAM)
    return model


def command_of(model: Domain) -> str:
    """The command of a definition, on a node whose KVM works. Raises ``LibvirtError``."""
    return native_arguments(model, _capabilities(), RUN, NVRAM, kvm_problem=None)


def forward(document: str) -> str:
    """The command of a document. Raises ``LibvirtError``."""
    return command_of(defined(document))


def backward(command: str) -> str:
    """The document of a command. Raises ``LibvirtError``."""
    return format_domain(from_arguments(command), live=False, secure=True)


def words(command: str) -> list[str]:
    """The options of a command, each with its value, in an order of their own.

    The order of a command is that of the document's controllers, which completing may change, and of the members of a
    device that of the properties that a user overrides.
    """
    options: list[str] = []
    for word in shlex.split(command):
        if word.startswith("-") or not options:
            options.append(word)
        else:
            options[-1] += f" {_ordered(word) if options[-1] in _JSON else word}"
    return sorted(options)


_JSON = ("-audiodev", "-blockdev", "-device", "-netdev", "-object")


def _ordered(word: str) -> str:
    return json.dumps(json.loads(word), sort_keys=True)


def family_documents() -> Iterator[tuple[str, str]]:
    """The names and texts of the small documents of tests/data/native, with what every domain has."""
    for path in sorted(FAMILIES.glob("*.xml")):
        for element in etree.parse(path).getroot().iterchildren("domain"):
            yield str(element.get("id")), _whole(copy.deepcopy(element))


def _whole(domain: etree._Element) -> str:
    machine = domain.get("machine", "q35")
    for name in {"id", "machine"}.intersection(domain.keys()):
        del domain.attrib[name]
    domain.set("type", domain.get("type", "qemu"))
    os = domain.find("os")
    if os is None:
        os = etree.SubElement(domain, "os")
    kind = etree.SubElement(os, "type", arch="x86_64", machine=machine)
    kind.text = "hvm"
    for tag, text in (("name", "one"), ("uuid", UUID), ("memory", "1048576")):
        if domain.find(tag) is None:
            etree.SubElement(domain, tag).text = text
    if domain.find("features") is None:
        etree.SubElement(etree.SubElement(domain, "features"), "acpi")
    return etree.tostring(domain, encoding="unicode")
