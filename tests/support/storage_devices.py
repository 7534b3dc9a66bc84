"""Storage and host devices as our models read them, in a domain that has room for all of them."""

from __future__ import annotations

from tests.support.fragments import without_place
from virtbus_domain.xml.domain import Devices
from virtbus_domain.xml.storage_checks import check
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.xml import Document

DEVICES = Document(Devices, "devices", "domain_definition", c.VIR_FROM_DOMAIN)


def parse_devices(fragment: str) -> Devices:
    """The devices that a fragment describes."""
    return DEVICES.parse(f"<devices>{fragment}</devices>")


def roomy_domain(devices: str) -> str:
    """A domain of libvirt's test driver with these devices: it has slots for memory, a NUMA cell, a split I/O APIC."""
    return ("<domain type='test'><name>x</name><uuid>1695eb01-f6a4-8304-79aa-97f2502e193f</uuid>"
            "<maxMemory slots='9' unit='GiB'>16</maxMemory><memory unit='GiB'>8</memory><vcpu>1</vcpu>"
            "<os><type arch='x86_64' machine='q35'>hvm</type></os><features><ioapic driver='qemu'/></features>"
            "<cpu><numa><cell id='0' cpus='0' memory='1048576'/></numa></cpu>"
            f"<devices>{devices}</devices></domain>")


def refusal(devices: str) -> tuple[int, int, str] | None:
    """What our models and checks answer to a fragment that they do not take: code, domain and words of the error."""
    try:
        for device in parse_devices(devices).all():
            check(device)
    except LibvirtError as refused:
        return refused.code, refused.domain, without_place(refused.message)
    return None
