"""The domain document: identity, resources, platform and devices, in the order in which libvirt writes them.

What has no model yet is ``raw``: kept and written back in its place. https://libvirt.org/formatdomain.html tells what
everything means; ``virDomainDefFormatInternal`` of 9.0.0 is the source of the order.
"""

from __future__ import annotations

from virtbus_domain.xml.chardev import Chardev
from virtbus_domain.xml.controller import Controller
from virtbus_domain.xml.disk import Disk
from virtbus_domain.xml.graphics import Graphics
from virtbus_domain.xml.interface import Interface
from virtbus_shared import constants as c
from virtbus_shared.service.xml import attr, block, each, element, flag, raw, size, sub, subs, text
from virtbus_shared.service.xml_lines import Element, Raw
from virtbus_shared.service.xml_metadata import Metadata, read_metadata, write_metadata
from virtbus_shared.service.xml_values import COUNT, UUID, YESNO, Kind, Refusal, words

TYPES = ("none", "qemu", "kqemu", "kvm", "xen", "lxc", "uml", "openvz", "test", "vmware", "hyperv", "vbox", "phyp",
         "parallels", "bhyve", "vz", "hvf")
OS_TYPES = ("hvm", "xen", "linux", "exe", "uml", "xenpvh")
ARCHES = ("alpha", "armv6l", "armv7l", "armv7b", "aarch64", "cris", "i686", "ia64", "lm32", "loongarch64", "m68k",
          "microblaze", "microblazeel", "mips", "mipsel", "mips64", "mips64el", "openrisc", "parisc", "parisc64",
          "ppc", "ppc64", "ppc64le", "ppcemb", "riscv32", "riscv64", "s390", "s390x", "sh4", "sh4eb", "sparc",
          "sparc64", "unicore32", "x86_64", "xtensa", "xtensaeb")
LIFECYCLE = words("destroy", "restart", "rename-restart", "preserve")
CRASH = words("destroy", "restart", "rename-restart", "preserve", "coredump-destroy", "coredump-restart")
# A client's own idea of the number counts for nothing, so even nonsense is no fault (as in libvirt).
INSTANCE: Kind[int | None] = Kind(lambda text: int(text) if text.isascii() and text.isdigit() else None, str)
QEMU_NAMESPACE = "http://libvirt.org/schemas/domain/qemu/1.0"


def _unsupported(detail: str) -> Refusal:
    return (c.VIR_ERR_CONFIG_UNSUPPORTED, detail)


@element
class Os(Element):
    """How the guest boots: from firmware, or a kernel given directly."""

    firmware_auto: str | None = attr("@firmware", words("bios", "efi"))
    arch: str | None = attr("type/@arch", words(*ARCHES), error=_unsupported("Unknown architecture {value}"))
    machine: str | None = attr("type/@machine")
    type: str | None = text("type/.", words(*OS_TYPES), error=_unsupported("unknown OS type '{value}'"))
    firmware: tuple[Raw, ...] = raw("firmware")
    init: str | None = text("init")
    initarg: list[str] = each("initarg")
    initenv: tuple[Raw, ...] = raw("initenv")
    initdir: str | None = text("initdir")
    inituser: str | None = text("inituser")
    initgroup: str | None = text("initgroup")
    loader: tuple[Raw, ...] = raw("loader")
    nvram: tuple[Raw, ...] = raw("nvram")
    kernel: str | None = text("kernel")
    initrd: str | None = text("initrd")
    cmdline: str | None = text("cmdline")
    dtb: str | None = text("dtb")
    root: str | None = text("root")
    acpi: tuple[Raw, ...] = raw("acpi")
    boot: list[str] = each("boot/@dev", words("fd", "hd", "cdrom", "network"))
    bootmenu: tuple[Raw, ...] = raw("bootmenu")
    bios: tuple[Raw, ...] = raw("bios")
    smbios: tuple[Raw, ...] = raw("smbios")


@element
class Features(Element):
    """What the platform offers the guest; each by being there."""

    acpi: bool = flag("acpi")
    apic: tuple[Raw, ...] = raw("apic")
    pae: bool = flag("pae")
    hap: tuple[Raw, ...] = raw("hap")
    viridian: bool = flag("viridian")
    privnet: bool = flag("privnet")
    hyperv: tuple[Raw, ...] = raw("hyperv")
    kvm: tuple[Raw, ...] = raw("kvm")
    pvspinlock: tuple[Raw, ...] = raw("pvspinlock")
    capabilities: tuple[Raw, ...] = raw("capabilities")
    pmu: tuple[Raw, ...] = raw("pmu")
    vmport: tuple[Raw, ...] = raw("vmport")
    gic: tuple[Raw, ...] = raw("gic")
    smm: tuple[Raw, ...] = raw("smm")
    ioapic: tuple[Raw, ...] = raw("ioapic")
    hpt: tuple[Raw, ...] = raw("hpt")
    vmcoreinfo: tuple[Raw, ...] = raw("vmcoreinfo")
    xen: tuple[Raw, ...] = raw("xen")
    tcg: tuple[Raw, ...] = raw("tcg")


@element
class Clock(Element):
    """What the guest's clock starts from."""

    offset: str | None = attr("@offset", words("utc", "localtime", "variable", "timezone", "absolute"),
                              error=_unsupported("unknown clock offset '{value}'"))
    adjustment: str | None = attr("@adjustment")
    basis: str | None = attr("@basis", words("utc", "localtime"))
    timezone: str | None = attr("@timezone")
    start: str | None = attr("@start")
    timer: tuple[Raw, ...] = raw("timer")


@element(open_tag=True)
class Devices(Element):
    """All devices, grouped by kind as libvirt writes them."""

    emulator: str | None = text("emulator")
    disks: list[Disk] = subs("disk", Disk)
    controllers: list[Controller] = subs("controller", Controller)
    leases: tuple[Raw, ...] = raw("lease")
    filesystems: tuple[Raw, ...] = raw("filesystem")
    interfaces: list[Interface] = subs("interface", Interface)
    smartcards: tuple[Raw, ...] = raw("smartcard")
    serials: list[Chardev] = subs("serial", Chardev)
    parallels: list[Chardev] = subs("parallel", Chardev)
    consoles: list[Chardev] = subs("console", Chardev)
    channels: list[Chardev] = subs("channel", Chardev)
    inputs: tuple[Raw, ...] = raw("input")
    tpms: tuple[Raw, ...] = raw("tpm")
    graphics: list[Graphics] = subs("graphics", Graphics)
    sounds: tuple[Raw, ...] = raw("sound")
    audios: tuple[Raw, ...] = raw("audio")
    videos: tuple[Raw, ...] = raw("video")
    hostdevs: tuple[Raw, ...] = raw("hostdev")
    redirdevs: tuple[Raw, ...] = raw("redirdev")
    redirfilter: tuple[Raw, ...] = raw("redirfilter")
    hubs: tuple[Raw, ...] = raw("hub")
    watchdogs: tuple[Raw, ...] = raw("watchdog")
    memballoon: tuple[Raw, ...] = raw("memballoon")
    rngs: tuple[Raw, ...] = raw("rng")
    nvram: tuple[Raw, ...] = raw("nvram")
    panics: tuple[Raw, ...] = raw("panic")
    shmems: tuple[Raw, ...] = raw("shmem")
    memories: tuple[Raw, ...] = raw("memory")
    iommu: tuple[Raw, ...] = raw("iommu")
    vsock: tuple[Raw, ...] = raw("vsock")
    cryptos: tuple[Raw, ...] = raw("crypto")


@element(namespaces={"qemu": QEMU_NAMESPACE})
class Domain(Element):
    """A virtual machine or container. Memory is in KiB; ``id`` is that of a running domain."""

    type: str | None = attr("@type", words(*TYPES), error=_unsupported("invalid domain type {value}"))
    id: int | None = attr("@id", INSTANCE, live=True)
    name: str | None = text("name")
    uuid: str | None = text("uuid", UUID, error=(c.VIR_ERR_INTERNAL_ERROR, "malformed uuid element"))
    genid: tuple[Raw, ...] = raw("genid")
    title: str | None = text("title")
    description: str | None = text("description")
    metadata: Metadata | None = block("metadata", read_metadata, write_metadata)
    max_memory: tuple[Raw, ...] = raw("maxMemory")
    memory: int | None = size("memory", "KiB")
    current_memory: int | None = size("currentMemory", "KiB")
    blkiotune: tuple[Raw, ...] = raw("blkiotune")
    memtune: tuple[Raw, ...] = raw("memtune")
    memory_backing: tuple[Raw, ...] = raw("memoryBacking")
    vcpu_placement: str | None = attr("vcpu/@placement", words("static", "auto"))
    vcpu_cpuset: str | None = attr("vcpu/@cpuset")
    vcpu_current: int | None = attr("vcpu/@current", COUNT)
    vcpu: int | None = text("vcpu/.", COUNT,
                            error=(c.VIR_ERR_XML_ERROR, "maximum vcpus count must be an integer"))
    vcpus: tuple[Raw, ...] = raw("vcpus")
    iothreads: int | None = text("iothreads", COUNT)
    iothreadids: tuple[Raw, ...] = raw("iothreadids")
    defaultiothread: tuple[Raw, ...] = raw("defaultiothread")
    cputune: tuple[Raw, ...] = raw("cputune")
    numatune: tuple[Raw, ...] = raw("numatune")
    resource: tuple[Raw, ...] = raw("resource")
    sysinfo: tuple[Raw, ...] = raw("sysinfo")
    bootloader: str | None = text("bootloader")
    bootloader_args: str | None = text("bootloader_args")
    os: Os | None = sub("os", Os)
    idmap: tuple[Raw, ...] = raw("idmap")
    features: Features | None = sub("features", Features)
    cpu: tuple[Raw, ...] = raw("cpu")
    clock: Clock | None = sub("clock", Clock)
    on_poweroff: str | None = text("on_poweroff", LIFECYCLE,
                                   error=_unsupported("unknown on_poweroff action: {value}"))
    on_reboot: str | None = text("on_reboot", LIFECYCLE, error=_unsupported("unknown on_reboot action: {value}"))
    on_crash: str | None = text("on_crash", CRASH, error=_unsupported("unknown on_crash action: {value}"))
    on_lockfailure: str | None = text("on_lockfailure", words("default", "poweroff", "restart", "pause", "ignore"))
    suspend_to_mem: bool | None = attr("pm/suspend-to-mem/@enabled", YESNO)
    suspend_to_disk: bool | None = attr("pm/suspend-to-disk/@enabled", YESNO)
    perf: tuple[Raw, ...] = raw("perf")
    devices: Devices | None = sub("devices", Devices)
    seclabels: tuple[Raw, ...] = raw("seclabel")
    keywrap: tuple[Raw, ...] = raw("keywrap")
    launch_security: tuple[Raw, ...] = raw("launchSecurity")
    qemu_commandline: tuple[Raw, ...] = raw("qemu:commandline")
    qemu_capabilities: tuple[Raw, ...] = raw("qemu:capabilities")
    qemu_override: tuple[Raw, ...] = raw("qemu:override")
