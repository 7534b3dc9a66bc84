"""Features of the platform: interrupt controllers, power management, enlightenments that a hypervisor offers a guest
which knows it, and what a container's programs may do."""

from __future__ import annotations

from lxml import etree

from virtbus_domain.xml.finished import Required, pretty_size, refuse
from virtbus_domain.xml.platform_values import ANY_BASE, unsupported
from virtbus_shared import constants as c
from virtbus_shared.service.xml import attr, element, flag, size, sub
from virtbus_shared.service.xml_lines import PLANS, Element
from virtbus_shared.service.xml_values import ONOFF, words


@element
class Hyperv(Element):
    """Enlightenments of Hyper-V; ``mode`` passthrough offers all that the host can.

    ``spinlocks_retries`` tells how often the guest tries before it asks the hypervisor; ``vendor_id_value`` is what it
    is told to run on, at most 12 characters.
    """

    mode: str | None = attr("@mode", words("custom", "passthrough"))
    relaxed: bool | None = attr("relaxed/@state", ONOFF)
    vapic: bool | None = attr("vapic/@state", ONOFF)
    spinlocks: bool | None = attr("spinlocks/@state", ONOFF)
    spinlocks_retries: int | None = attr("spinlocks/@retries", ANY_BASE)
    vpindex: bool | None = attr("vpindex/@state", ONOFF)
    runtime: bool | None = attr("runtime/@state", ONOFF)
    synic: bool | None = attr("synic/@state", ONOFF)
    stimer: bool | None = attr("stimer/@state", ONOFF)
    stimer_direct: bool | None = attr("stimer/direct/@state", ONOFF)
    reset: bool | None = attr("reset/@state", ONOFF)
    vendor_id: bool | None = attr("vendor_id/@state", ONOFF)
    vendor_id_value: str | None = attr("vendor_id/@value")
    frequencies: bool | None = attr("frequencies/@state", ONOFF)
    reenlightenment: bool | None = attr("reenlightenment/@state", ONOFF)
    tlbflush: bool | None = attr("tlbflush/@state", ONOFF)
    tlbflush_direct: bool | None = attr("tlbflush/direct/@state", ONOFF)
    tlbflush_extended: bool | None = attr("tlbflush/extended/@state", ONOFF)
    ipi: bool | None = attr("ipi/@state", ONOFF)
    evmcs: bool | None = attr("evmcs/@state", ONOFF)
    avic: bool | None = attr("avic/@state", ONOFF)
    emsr_bitmap: bool | None = attr("emsr_bitmap/@state", ONOFF)
    xmm_input: bool | None = attr("xmm_input/@state", ONOFF)


@element
class Kvm(Element):
    """What KVM offers or hides; ``dirty_ring_size`` is in entries."""

    hidden: bool | None = attr("hidden/@state", ONOFF)
    hint_dedicated: bool | None = attr("hint-dedicated/@state", ONOFF)
    poll_control: bool | None = attr("poll-control/@state", ONOFF)
    pv_ipi: bool | None = attr("pv-ipi/@state", ONOFF)
    dirty_ring: bool | None = attr("dirty-ring/@state", ONOFF)
    dirty_ring_size: int | None = attr("dirty-ring/@size", ANY_BASE)


@element
class Xen(Element):
    """What Xen offers its guest."""

    e820_host: bool | None = attr("e820_host/@state", ONOFF)
    passthrough: bool | None = attr("passthrough/@state", ONOFF)
    passthrough_mode: str | None = attr("passthrough/@mode", words("sync_pt", "share_pt"))


@element
class LinuxCapabilities(Element):
    """What programs in a container may do: the default set, all or nothing by ``policy``, with exceptions by name."""

    policy: str | None = attr("@policy", words("default", "allow", "deny"))
    audit_control: bool | None = attr("audit_control/@state", ONOFF)
    audit_write: bool | None = attr("audit_write/@state", ONOFF)
    block_suspend: bool | None = attr("block_suspend/@state", ONOFF)
    chown: bool | None = attr("chown/@state", ONOFF)
    dac_override: bool | None = attr("dac_override/@state", ONOFF)
    dac_read_search: bool | None = attr("dac_read_search/@state", ONOFF)
    fowner: bool | None = attr("fowner/@state", ONOFF)
    fsetid: bool | None = attr("fsetid/@state", ONOFF)
    ipc_lock: bool | None = attr("ipc_lock/@state", ONOFF)
    ipc_owner: bool | None = attr("ipc_owner/@state", ONOFF)
    kill: bool | None = attr("kill/@state", ONOFF)
    lease: bool | None = attr("lease/@state", ONOFF)
    linux_immutable: bool | None = attr("linux_immutable/@state", ONOFF)
    mac_admin: bool | None = attr("mac_admin/@state", ONOFF)
    mac_override: bool | None = attr("mac_override/@state", ONOFF)
    mknod: bool | None = attr("mknod/@state", ONOFF)
    net_admin: bool | None = attr("net_admin/@state", ONOFF)
    net_bind_service: bool | None = attr("net_bind_service/@state", ONOFF)
    net_broadcast: bool | None = attr("net_broadcast/@state", ONOFF)
    net_raw: bool | None = attr("net_raw/@state", ONOFF)
    setgid: bool | None = attr("setgid/@state", ONOFF)
    setfcap: bool | None = attr("setfcap/@state", ONOFF)
    setpcap: bool | None = attr("setpcap/@state", ONOFF)
    setuid: bool | None = attr("setuid/@state", ONOFF)
    sys_admin: bool | None = attr("sys_admin/@state", ONOFF)
    sys_boot: bool | None = attr("sys_boot/@state", ONOFF)
    sys_chroot: bool | None = attr("sys_chroot/@state", ONOFF)
    sys_module: bool | None = attr("sys_module/@state", ONOFF)
    sys_nice: bool | None = attr("sys_nice/@state", ONOFF)
    sys_pacct: bool | None = attr("sys_pacct/@state", ONOFF)
    sys_ptrace: bool | None = attr("sys_ptrace/@state", ONOFF)
    sys_rawio: bool | None = attr("sys_rawio/@state", ONOFF)
    sys_resource: bool | None = attr("sys_resource/@state", ONOFF)
    sys_time: bool | None = attr("sys_time/@state", ONOFF)
    sys_tty_config: bool | None = attr("sys_tty_config/@state", ONOFF)
    syslog: bool | None = attr("syslog/@state", ONOFF)
    wake_alarm: bool | None = attr("wake_alarm/@state", ONOFF)


@element
class Apic(Element):
    """An advanced interrupt controller; ``eoi`` lets the guest end interrupts without leaving to the hypervisor."""

    eoi: bool | None = attr("@eoi", ONOFF)


@element
class Switch(Element):
    """A feature that is there unless ``state`` says no."""

    state: bool | None = attr("@state", ONOFF)


@element
class Gic(Element):
    """ARM's interrupt controller; ``version`` is a number or the host's."""

    version: str | None = attr("@version", words("host", "2", "3"))


@element
class Smm(Element):
    """System management mode, and the memory that only it sees (``tseg``, in bytes)."""

    state: bool | None = attr("@state", ONOFF)
    tseg: int | None = pretty_size("tseg", "MiB", "string(./features/smm/tseg)", level=3)


@element
class Hpt(Element):
    """POWER's page table: whether the guest may resize it, and its largest page in KiB."""

    resizing: str | None = attr("@resizing", words("enabled", "disabled", "required"))
    maxpagesize: int | None = size("maxpagesize", "KiB",
                                   error=unsupported("Unable to parse HPT maxpagesize setting"))


@element
class Features(Element):
    """What the platform offers the guest; ``tb_cache`` is QEMU's store of translated code, in KiB."""

    acpi: bool = flag("acpi")
    apic: Apic | None = sub("apic", Apic)
    pae: bool = flag("pae")
    hap: Switch | None = sub("hap", Switch)
    viridian: bool = flag("viridian")
    privnet: bool = flag("privnet")
    hyperv: Hyperv | None = sub("hyperv", Hyperv)
    kvm: Kvm | None = sub("kvm", Kvm)
    pvspinlock: Switch | None = sub("pvspinlock", Switch)
    capabilities: LinuxCapabilities | None = sub("capabilities", LinuxCapabilities)
    pmu: Switch | None = sub("pmu", Switch)
    vmport: Switch | None = sub("vmport", Switch)
    gic: Gic | None = sub("gic", Gic)
    smm: Smm | None = sub("smm", Smm)
    ioapic_driver: str | None = attr("ioapic/@driver", words("kvm", "qemu"))
    hpt: Hpt | None = sub("hpt", Hpt)
    vmcoreinfo: Switch | None = sub("vmcoreinfo", Switch)
    htm: bool | None = attr("htm/@state", ONOFF)
    nested_hv: bool | None = attr("nested-hv/@state", ONOFF)
    msrs_unknown: str | None = attr("msrs/@unknown", words("ignore", "fault"))
    ccf_assist: bool | None = attr("ccf-assist/@state", ONOFF)
    xen: Xen | None = sub("xen", Xen)
    cfpc: str | None = attr("cfpc/@value", words("broken", "workaround", "fixed"))
    sbbc: str | None = attr("sbbc/@value", words("broken", "workaround", "fixed"))
    ibs: str | None = attr("ibs/@value", words("broken", "workaround", "fixed-ibs", "fixed-ccd", "fixed-na"))
    tb_cache: int | None = size("tcg/tb-cache", "KiB")
    async_teardown: bool | None = attr("async-teardown/@enabled", ONOFF)


# How children that are no feature are refused.
_UNKNOWN = {".": "unexpected feature '{name}'", "hyperv": "unsupported HyperV Enlightenment feature: {name}",
            "kvm": "unsupported KVM feature: {name}", "xen": "unsupported Xen feature: {name}",
            "capabilities": "unexpected capability feature '{name}'"}
_MODELS: dict[str, type[Element]] = {".": Features, "hyperv": Hyperv, "kvm": Kvm, "xen": Xen,
                                     "capabilities": LinuxCapabilities}
_KNOWN = {path: {line.path.partition("/")[0] for line in PLANS[model].lines.values()}
          for path, model in _MODELS.items()}
REQUIRED_OF_FEATURES = (
    *(Required(f"{path}/*/@state") for path in ("hyperv", "kvm", "xen")), Required("hyperv/stimer/direct/@state"),
    Required("htm/@state"), Required("nested-hv/@state"), Required("ccf-assist/@state"), Required("msrs/@unknown"),
)


def finish_features(features: Features, element: etree._Element) -> None:
    """Refuse features that nobody knows."""
    for path, detail in _UNKNOWN.items():
        for child in element.iterfind("*" if path == "." else f"{path}/*"):
            if child.tag not in _KNOWN[path]:
                refuse(child, *unsupported(detail.replace("{name}", str(child.tag))), c.VIR_FROM_DOMAIN)
