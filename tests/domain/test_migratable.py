"""The document for another host is libvirt's: without what old releases cannot read and new ones add by themselves."""

from __future__ import annotations

import pytest

from tests.support import embed
from tests.support.embed import Request
from virtbus_domain.normalise import Context, normalise
from virtbus_domain.normalise.migratable import drop_implicit
from virtbus_domain.xml import format_domain, parse_domain
from virtbus_shared import constants as c

MACHINES = {"pc": "pc-i440fx-7.2", "q35": "pc-q35-7.2"}
UUID = "6c5a3b2e-0000-4000-8000-000000000001"
DEVICES = {
    "bare": "", "own USB": "<controller type='usb' model='qemu-xhci'/>", "VNC": "<graphics type='vnc'/>",
    "SPICE": "<graphics type='spice' autoport='yes'/>", "own sound": "<audio id='2' type='none'/>",
    "own keyboard": "<input type='keyboard' bus='usb'/>",
    "a bridge": "<controller type='pci' index='1' model='pci-bridge'/>",
}
CASES = [(machine, name) for name in DEVICES for machine in MACHINES if (machine, name) != ("q35", "a bridge")]


def _document(machine: str, devices: str) -> str:
    return (f"<domain type='qemu'><name>m</name><uuid>{UUID}</uuid><memory>65536</memory>"
            f"<os><type arch='x86_64' machine='{machine}'>hvm</type></os>"
            f"<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>{devices}</devices></domain>")


@pytest.mark.parametrize(("machine", "name"), CASES)
def test_migratable_document(machine: str, name: str) -> None:
    """Written for another host, a definition is what libvirt writes, and is the same definition when read there."""
    document = _document(machine, DEVICES[name])
    model = parse_domain(document)
    context = Context("qemu", machine=lambda arch, _: MACHINES[machine])
    normalise(model, context)
    whole = format_domain(model, live=False)
    drop_implicit(model)
    ours = format_domain(model, live=False, migratable=True)
    flags = c.VIR_DOMAIN_XML_MIGRATABLE | c.VIR_DOMAIN_XML_INACTIVE
    [theirs] = embed.ask([Request("define", document, flags)])
    assert isinstance(theirs, str)
    assert sorted(ours.splitlines()) == sorted(theirs.splitlines())  # libvirt reads it once more: controllers move
    again = parse_domain(ours)
    normalise(again, context)
    assert sorted(format_domain(again, live=False).splitlines()) == sorted(whole.splitlines())
