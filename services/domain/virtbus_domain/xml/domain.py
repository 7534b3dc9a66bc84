"""The domain document: identity, resources, platform and devices, in the order in which libvirt writes them.

The root and the list of devices stand here; each family has a file of its own.
"""

from __future__ import annotations

from typing import Any

from lxml import etree

from virtbus_domain.xml.boot import Idmap, Os
from virtbus_domain.xml.chardev import Chardev
from virtbus_domain.xml.clock import Clock
from virtbus_domain.xml.controller import Controller
from virtbus_domain.xml.cpu import Cpu
from virtbus_domain.xml.crypto import Crypto
from virtbus_domain.xml.disk import Disk
from virtbus_domain.xml.features import Features
from virtbus_domain.xml.filesystem import Filesystem
from virtbus_domain.xml.graphics import Graphics
from virtbus_domain.xml.hostdev import Hostdev
from virtbus_domain.xml.hub import Hub
from virtbus_domain.xml.input import Input
from virtbus_domain.xml.interface import Interface
from virtbus_domain.xml.iommu import Iommu
from virtbus_domain.xml.lease import Lease
from virtbus_domain.xml.memballoon import Memballoon
from virtbus_domain.xml.memory import MemoryBacking, Memtune, Numatune
from virtbus_domain.xml.memory_device import MemoryDevice
from virtbus_domain.xml.nvram import NvramDevice
from virtbus_domain.xml.panic import Panic
from virtbus_domain.xml.platform_values import CPUSET, NO_CPUSET, blank, unsupported, xml_error
from virtbus_domain.xml.qemu_namespace import QEMU_NAMESPACE, QemuCapabilityChanges, QemuCommandline, QemuOverride
from virtbus_domain.xml.redirdev import Redirdev, RedirFilter
from virtbus_domain.xml.rng import Rng
from virtbus_domain.xml.security import KeywrapCipher, LaunchSecurity, Seclabel
from virtbus_domain.xml.shmem import Shmem
from virtbus_domain.xml.smartcard import Smartcard
from virtbus_domain.xml.sound import Audio, Sound
from virtbus_domain.xml.sysinfo import Sysinfo
from virtbus_domain.xml.tpm import Tpm
from virtbus_domain.xml.tuning import Blkiotune, Cputune, IoThread, PerfEvent, Resource, Vcpu
from virtbus_domain.xml.values import NON_NEGATIVE, UINT_OR_ZERO
from virtbus_domain.xml.video import Video
from virtbus_domain.xml.vsock import Vsock
from virtbus_domain.xml.watchdog import Watchdog
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.xml import attr, block, element, raw, size, sub, subs, text
from virtbus_shared.service.xml_lines import Element, Raw
from virtbus_shared.service.xml_metadata import Metadata, read_metadata, write_metadata
from virtbus_shared.service.xml_values import ONOFF, UINT, UUID, YESNO, Kind, words

TYPES = ("none", "qemu", "kqemu", "kvm", "xen", "lxc", "uml", "openvz", "test", "vmware", "hyperv", "vbox", "phyp",
         "parallels", "bhyve", "vz", "hvf")
LIFECYCLE = ("destroy", "restart", "rename-restart", "preserve")
AFTER_CRASH = ("coredump-destroy", "coredump-restart")
# A client's own idea of the number counts for nothing, so even nonsense is no fault (as in libvirt).
INSTANCE: Kind[int | None] = Kind(lambda text: int(text) if text.isascii() and text.isdigit() else None, str)


def lifecycle(event: str) -> Kind[str]:
    """What happens after an event that leaves nothing to look into: no dumps."""
    known = words(*LIFECYCLE)

    def read(text: str) -> str:
        assert known.read
        if text in AFTER_CRASH:
            raise LibvirtError(c.VIR_ERR_CONFIG_UNSUPPORTED,
                               f"Lifecycle event '{event}' doesn't support '{text}' action", domain=c.VIR_FROM_DOMAIN)
        return known.read(text)

    return Kind(read)


def read_genid(element: etree._Element) -> str:
    """The generation's UUID; an empty text asks for a new one."""
    try:
        return UUID.read(element.text) if element.text and UUID.read else ""
    except ValueError:
        raise LibvirtError(c.VIR_ERR_INTERNAL_ERROR, "malformed genid element", domain=c.VIR_FROM_DOMAIN) from None


def write_genid(genid: str) -> str:
    """The element's line."""
    return f"  <genid>{genid}</genid>" if genid else "  <genid/>"


@element(open_tag=True)
class Devices(Element):
    """All devices, grouped by kind as libvirt writes them."""

    emulator: str | None = text("emulator")
    disks: list[Disk] = subs("disk", Disk)
    controllers: list[Controller] = subs("controller", Controller)
    leases: list[Lease] = subs("lease", Lease)
    filesystems: list[Filesystem] = subs("filesystem", Filesystem)
    interfaces: list[Interface] = subs("interface", Interface)
    smartcards: list[Smartcard] = subs("smartcard", Smartcard)
    serials: list[Chardev] = subs("serial", Chardev)
    parallels: list[Chardev] = subs("parallel", Chardev)
    consoles: list[Chardev] = subs("console", Chardev)
    channels: list[Chardev] = subs("channel", Chardev)
    inputs: list[Input] = subs("input", Input)
    tpms: list[Tpm] = subs("tpm", Tpm)
    graphics: list[Graphics] = subs("graphics", Graphics)
    sounds: list[Sound] = subs("sound", Sound)
    audios: list[Audio] = subs("audio", Audio)
    videos: list[Video] = subs("video", Video)
    hostdevs: list[Hostdev] = subs("hostdev", Hostdev)
    redirdevs: list[Redirdev] = subs("redirdev", Redirdev)
    redirfilter: RedirFilter | None = sub("redirfilter", RedirFilter)
    hubs: list[Hub] = subs("hub", Hub)
    watchdogs: list[Watchdog] = subs("watchdog", Watchdog)
    memballoon: Memballoon | None = sub("memballoon", Memballoon)
    rngs: list[Rng] = subs("rng", Rng)
    nvram: NvramDevice | None = sub("nvram", NvramDevice)
    panics: list[Panic] = subs("panic", Panic)
    shmems: list[Shmem] = subs("shmem", Shmem)
    memories: list[MemoryDevice] = subs("memory", MemoryDevice)
    iommu: Iommu | None = sub("iommu", Iommu)
    vsock: Vsock | None = sub("vsock", Vsock)
    cryptos: list[Crypto] = subs("crypto", Crypto)
    pstore: tuple[Raw, ...] = raw("pstore")

    def all(self) -> list[Element]:
        """Every device that has a model."""
        return [*self.named(), *self.leases, *self.graphics, *self.audios]

    def named(self) -> list[Any]:
        """Every device that can have a name and an address, kind by kind."""
        single = [device for device in (self.memballoon, self.nvram, self.iommu, self.vsock) if device is not None]
        return [*self.disks, *self.controllers, *self.filesystems, *self.interfaces, *self.smartcards, *self.serials,
                *self.parallels, *self.consoles, *self.channels, *self.inputs, *self.tpms, *self.sounds, *self.videos,
                *self.hostdevs, *self.redirdevs, *self.hubs, *self.watchdogs, *self.rngs, *self.panics, *self.shmems,
                *self.memories, *self.cryptos, *single]


@element(namespaces={"qemu": QEMU_NAMESPACE})
class Domain(Element):
    """A virtual machine or container. Memory is in KiB; ``id`` is that of a running domain."""

    type: str | None = attr("@type", blank(words(*TYPES)), error=unsupported("invalid domain type {value}"))
    id: int | None = attr("@id", INSTANCE, live=True)
    name: str | None = text("name")
    uuid: str | None = text("uuid", UUID, error=(c.VIR_ERR_INTERNAL_ERROR, "malformed uuid element"))
    genid: str | None = block("genid", read_genid, write_genid)
    title: str | None = text("title")
    description: str | None = text("description")
    metadata: Metadata | None = block("metadata", read_metadata, write_metadata)
    max_memory_slots: int | None = attr("maxMemory/@slots", blank(UINT),
                                        error=xml_error("Failed to parse memory slot count"))
    max_memory: int | None = size("maxMemory/.", "KiB")
    memory_dump_core: bool | None = attr("memory/@dumpCore", ONOFF)
    memory: int | None = size("memory/.", "KiB")
    current_memory: int | None = size("currentMemory", "KiB")
    blkiotune: Blkiotune | None = sub("blkiotune", Blkiotune)
    memtune: Memtune | None = sub("memtune", Memtune)
    memory_backing: MemoryBacking | None = sub("memoryBacking", MemoryBacking)
    vcpu_placement: str | None = attr("vcpu/@placement", words("static", "auto"))
    vcpu_cpuset: str | None = attr("vcpu/@cpuset", CPUSET, error=NO_CPUSET)
    vcpu_current: int | None = attr("vcpu/@current", UINT)
    vcpu: int | None = text("vcpu/.", UINT, error=xml_error("maximum vcpus count must be an integer"))
    vcpus: list[Vcpu] = subs("vcpus/vcpu", Vcpu)
    iothreads: int | None = text("iothreads", UINT_OR_ZERO, error=xml_error("invalid iothreads count '{value}'"))
    iothreadids: list[IoThread] = subs("iothreadids/iothread", IoThread)
    defaultiothread_thread_pool_min: int | None = attr("defaultiothread/@thread_pool_min", NON_NEGATIVE)
    defaultiothread_thread_pool_max: int | None = attr("defaultiothread/@thread_pool_max", NON_NEGATIVE)
    cputune: Cputune | None = sub("cputune", Cputune)
    numatune: Numatune | None = sub("numatune", Numatune)
    resource: Resource | None = sub("resource", Resource)
    sysinfos: list[Sysinfo] = subs("sysinfo", Sysinfo)
    bootloader: str | None = text("bootloader")
    bootloader_args: str | None = text("bootloader_args")
    os: Os | None = sub("os", Os)
    idmap: Idmap | None = sub("idmap", Idmap)
    features: Features | None = sub("features", Features)
    cpu: Cpu | None = sub("cpu", Cpu)
    clock: Clock | None = sub("clock", Clock)
    on_poweroff: str | None = text("on_poweroff", lifecycle("poweroff"),
                                   error=unsupported("unknown on_poweroff action: {value}"))
    on_reboot: str | None = text("on_reboot", lifecycle("reboot"),
                                 error=unsupported("unknown on_reboot action: {value}"))
    on_crash: str | None = text("on_crash", words(*LIFECYCLE, *AFTER_CRASH),
                                error=unsupported("unknown on_crash action: {value}"))
    on_lockfailure: str | None = text("on_lockfailure", words("default", "poweroff", "restart", "pause", "ignore"),
                                      error=unsupported("unknown on_lockfailure action: {value}"))
    suspend_to_mem: bool | None = attr("pm/suspend-to-mem/@enabled", YESNO)
    suspend_to_disk: bool | None = attr("pm/suspend-to-disk/@enabled", YESNO)
    perf_events: list[PerfEvent] = subs("perf/event", PerfEvent)
    devices: Devices | None = sub("devices", Devices)
    seclabels: list[Seclabel] = subs("seclabel", Seclabel)
    keywrap: list[KeywrapCipher] = subs("keywrap/cipher", KeywrapCipher)
    launch_security: LaunchSecurity | None = sub("launchSecurity", LaunchSecurity)
    qemu_commandline: QemuCommandline | None = sub("qemu:commandline", QemuCommandline)
    qemu_capabilities: QemuCapabilityChanges | None = sub("qemu:capabilities",
                                                                QemuCapabilityChanges)
    qemu_override: QemuOverride | None = sub("qemu:override", QemuOverride)
    qemu_deprecation: str | None = attr("qemu:deprecation/@behavior")
