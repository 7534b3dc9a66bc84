"""Which attributes of a document a start looks at: taking one out must change something of what is done.

Each attribute that a document sets is reset, one at a time, and what comes of the document is compared: the command
line with its environment, what is said over the monitor before the guest runs, pins, and CPUs that are plugged in. A
refusal is an outcome, too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from tests.support.command_line import setup_of
from virtbus_domain.drivers.qemu.affinity import pins_of
from virtbus_domain.drivers.qemu.certificates import Certificates
from virtbus_domain.drivers.qemu.command import boot_order, build
from virtbus_domain.drivers.qemu.command.devices import FAMILIES, of_family
from virtbus_domain.drivers.qemu.command.setup import Setup
from virtbus_domain.drivers.qemu.layers import Volume
from virtbus_domain.drivers.qemu.start import before_run
from virtbus_domain.drivers.qemu.supported import REFUSED
from virtbus_domain.drivers.qemu.vcpus import plugged_vcpus
from virtbus_domain.xml.storage_source import DiskSource
from virtbus_domain.xml.sysinfo import Sysinfo
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.xml_lines import PLANS, Element, declared, lines_of

Fields = dict[type[Element], set[str]]


class _AnyVolume(Mapping[tuple[str, str], Volume]):
    """Every volume that is asked for."""

    def __getitem__(self, name: tuple[str, str]) -> Volume:
        return Volume("file", DiskSource(file="/pools/{}/{}".format(*name)))

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(())

    def __len__(self) -> int:
        return 0


def looked_at(documents: Iterable[str]) -> Fields:
    """The attributes, by model, that make a difference in one of these documents."""
    found: Fields = {}
    for document in documents:
        setup = setup_of(document, now=0.0, volumes=_AnyVolume(), host_sysinfo=Sysinfo(type="smbios"),
                         certificates=Certificates(Path("/pki"), Path("/pki")))
        for device, refuse in _leave_out_refused(setup):
            _look(found, device, refuse)
        _look(found, setup.domain, functools.partial(_outcome, setup))
    return found


def _look(found: Fields, root: Element, outcome: Callable[[], object]) -> None:
    """Add what of an element and all below it matters for an outcome."""
    before = outcome()
    for element in _elements(root):
        known = found.setdefault(type(element), set())
        known |= {name for name in lines_of(type(element)) if name not in known
                  and _matters(element, name, outcome, before)}


def refused_or_below(root: type[Element]) -> Fields:
    """The attributes that are refused before a start, and all of what stands only inside of such an element."""
    reached, left = {root}, [root]
    while left:
        model = left.pop()
        below = {other for name, line in lines_of(model).items() if name not in REFUSED.get(model, ())
                 for other in line.models}
        left += below - reached
        reached |= below
    return {model: set(REFUSED.get(model, ()) if model in reached else lines_of(model)) for model in declared(root)}


def _leave_out_refused(setup: Setup) -> list[tuple[Element, Callable[[], object]]]:
    """Take out the devices that cannot be started, so that the others are looked at; each with how it is refused."""
    refused: list[tuple[Element, Callable[[], object]]] = []
    for family, parts in FAMILIES.items():
        for device in list(of_family(setup.devices, family)):
            refuse = functools.partial(_said, functools.partial(parts, device, setup))
            if isinstance(refuse(), str):
                refused.append((device, refuse))
                getattr(setup.devices, family).remove(device)
    return refused


def _elements(root: Element) -> Iterator[Element]:
    yield root
    for name in lines_of(type(root)):
        value = getattr(root, name)
        for item in value if isinstance(value, list) else (value,):
            if isinstance(item, Element):
                yield from _elements(item)


def _matters(element: Element, name: str, outcome: Callable[[], object], before: object) -> bool:
    value, default = getattr(element, name), PLANS[type(element)].defaults[name]
    blank = [] if default is list else default
    if value == blank:
        return False
    setattr(element, name, blank)
    try:
        return outcome() != before
    finally:
        setattr(element, name, value)


def _outcome(setup: Setup) -> object:
    """All that a start does with a document."""
    def done() -> object:
        domain = setup.domain
        assert domain.devices is not None
        assert domain.os is not None
        now = replace(setup, boot=boot_order(domain.os, domain.devices), _controllers={})
        return build(now, monitor="fd=3"), before_run(domain), pins_of(domain), plugged_vcpus(domain)

    return _said(done)


def _said(work: Callable[[], object]) -> object:
    """What work comes to, or how it is refused: a text."""
    try:
        return work()
    except LibvirtError as error:
        return str(error)
    except (AssertionError, AttributeError, KeyError, TypeError) as error:  # of a document that no client can make
        return repr(error)


def definable(documents: Mapping[str, str]) -> list[str]:
    """Those of the documents that can be defined on this node."""
    found = []
    for document in documents.values():
        try:
            setup_of(document)
        except LibvirtError:
            continue
        found.append(document)
    return found
