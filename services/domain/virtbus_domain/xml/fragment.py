"""Parts of a domain's document that stand alone: a device to attach, update or detach, a CPU to compare.

A device has no document of its own in libvirt: its root element tells what it is. ``DEVICES`` is that list.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from lxml import etree

from virtbus_domain.xml.boot import ARCHES
from virtbus_domain.xml.capabilities import HostCpu
from virtbus_domain.xml.chardev import Chardev
from virtbus_domain.xml.controller import Controller
from virtbus_domain.xml.cpu import Cpu
from virtbus_domain.xml.disk import Disk
from virtbus_domain.xml.filesystem import Filesystem
from virtbus_domain.xml.graphics import Graphics
from virtbus_domain.xml.hostdev import Hostdev
from virtbus_domain.xml.hub import Hub
from virtbus_domain.xml.input import Input
from virtbus_domain.xml.interface import Interface
from virtbus_domain.xml.iommu import Iommu
from virtbus_domain.xml.lease import Lease
from virtbus_domain.xml.memballoon import Memballoon
from virtbus_domain.xml.memory_device import MemoryDevice
from virtbus_domain.xml.nvram import NvramDevice
from virtbus_domain.xml.panic import Panic
from virtbus_domain.xml.redirdev import Redirdev
from virtbus_domain.xml.rng import Rng
from virtbus_domain.xml.shmem import Shmem
from virtbus_domain.xml.smartcard import Smartcard
from virtbus_domain.xml.sound import Audio, Sound
from virtbus_domain.xml.tpm import Tpm
from virtbus_domain.xml.video import Video
from virtbus_domain.xml.vsock import Vsock
from virtbus_domain.xml.watchdog import Watchdog
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.xml import Document, parse_root
from virtbus_shared.service.xml_lines import Element, Output

_LABEL = "device_definition"

DEVICES: Mapping[str, type[Element]] = {
    "disk": Disk,
    "lease": Lease,
    "filesystem": Filesystem,
    "interface": Interface,
    "input": Input,
    "sound": Sound,
    "audio": Audio,
    "video": Video,
    "hostdev": Hostdev,
    "controller": Controller,
    "graphics": Graphics,
    "hub": Hub,
    "redirdev": Redirdev,
    "rng": Rng,
    "tpm": Tpm,
    "panic": Panic,
    "memory": MemoryDevice,
    "iommu": Iommu,
    "vsock": Vsock,
    "shmem": Shmem,
    "smartcard": Smartcard,
    "serial": Chardev,
    "parallel": Chardev,
    "console": Chardev,
    "channel": Chardev,
    "watchdog": Watchdog,
    "memballoon": Memballoon,
    "nvram": NvramDevice,
}

_DOCUMENTS = {tag: Document(model, tag, _LABEL, c.VIR_FROM_DOMAIN) for tag, model in DEVICES.items()}


class Fragment(NamedTuple):
    """A device and the name of its element, which tells a serial port from a console."""

    tag: str
    device: Element


def parse_device(text: str) -> Fragment:
    """The device that a document describes, without any defaults.

    Raises ``LibvirtError``: not well formed, no kind of device, a value that libvirt refuses; with its path.
    """
    tag = parse_root(text, _LABEL, c.VIR_FROM_DOMAIN).tag
    document = _DOCUMENTS.get(tag)
    if document is None:
        raise LibvirtError(c.VIR_ERR_CONFIG_UNSUPPORTED, f"unknown device type '{tag}'", domain=c.VIR_FROM_DOMAIN)
    return Fragment(tag, document.parse(text))


def format_device(fragment: Fragment, *, live: bool = False, secure: bool = False) -> str:
    """The device's document as it stands in that of its domain; see ``format_domain``."""
    output = (Output.LIVE if live else Output.INACTIVE) | (Output.SECURE if secure else 0)
    return _DOCUMENTS[fragment.tag].format(fragment.device, output)


# -- CPUs ------------------------------------------------------------------------------------------------------------

_GUEST_CPU = Document(Cpu, "cpu", "CPU_definition", c.VIR_FROM_CPU)
_HOST_CPU = Document(HostCpu, "cpu", "CPU_definition", c.VIR_FROM_CPU)


def parse_cpu(text: str) -> Cpu | HostCpu:
    """A CPU to compare: a host's if it names its architecture, else one that a guest asks for."""
    root = _cpu_root(text)
    if root.find("arch") is None:
        return _GUEST_CPU.parse(text)
    if "match" in root.attrib:
        raise _wrong("'arch' element cannot be used inside 'cpu' element with 'match' attribute'")
    return parse_host_cpu(text)


def parse_host_cpu(text: str) -> HostCpu:
    """A host's CPU, as its capabilities have it: it must name its architecture and its model."""
    if "mode" in _cpu_root(text).attrib:
        raise _wrong("Attribute mode is only allowed for guest CPU", c.VIR_ERR_CONFIG_UNSUPPORTED)
    cpu = _HOST_CPU.parse(text)
    if cpu.arch is None:
        raise _wrong("Missing CPU architecture")
    if cpu.arch not in ARCHES:
        raise _wrong(f"Unknown architecture {cpu.arch}", c.VIR_ERR_CONFIG_UNSUPPORTED)
    if cpu.model is None:
        raise _wrong("Missing CPU model name")
    seen: set[str] = set()
    for feature in cpu.features:
        if not feature.name:
            raise _wrong("Invalid CPU feature name")
        if feature.name in seen:
            raise _wrong(f"CPU feature '{feature.name}' specified more than once")
        seen.add(feature.name)
    return cpu


def format_cpu(cpu: Cpu | HostCpu) -> str:
    """A CPU's document."""
    return _HOST_CPU.format(cpu) if isinstance(cpu, HostCpu) else _GUEST_CPU.format(cpu)


def _cpu_root(text: str) -> etree._Element:
    root = parse_root(text, "CPU_definition", c.VIR_FROM_CPU)
    if root.tag != "cpu":
        raise LibvirtError(c.VIR_ERR_XML_ERROR, "XML does not contain expected 'cpu' element", domain=c.VIR_FROM_CPU)
    return root


def _wrong(detail: str, code: int = c.VIR_ERR_XML_ERROR) -> LibvirtError:
    return LibvirtError(code, f"{detail} (at /cpu)", domain=c.VIR_FROM_CPU)
