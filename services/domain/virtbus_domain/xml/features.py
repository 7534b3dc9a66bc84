"""Features of the platform: interrupt controllers, power management, enlightenments that a hypervisor offers a guest
which knows it, and what a container's programs may do."""

from __future__ import annotations

from virtbus_domain.xml.platform_values import ANY_BASE, pretty_size, unsupported
from virtbus_shared.service.xml import attr, element, flag, size, sub
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import ONOFF, words


def _state(path: str) -> bool | None:
    return attr(f"{path}/@state", ONOFF, required=True)


@element(open_tag=True, unknown_child=unsupported("unsupported HyperV Enlightenment feature: {value}"))
class Hyperv(Element):
    """Enlightenments of Hyper-V; ``mode`` passthrough offers all that the host can.

    ``spinlocks_retries`` tells how often the guest tries before it asks the hypervisor; ``vendor_id_value`` is what it
    is told to run on, at most 12 characters.
    """

    mode: str | None = attr("@mode", words("custom", "passthrough"))
    relaxed: bool | None = _state("relaxed")
    vapic: bool | None = _state("vapic")
    spinlocks: bool | None = _state("spinlocks")
    spinlocks_retries: int | None = attr("spinlocks/@retries", ANY_BASE)
    vpindex: bool | None = _state("vpindex")
    runtime: bool | None = _state("runtime")
    synic: bool | None = _state("synic")
    stimer: bool | None = _state("stimer")
    stimer_direct: bool | None = _state("stimer/direct")
    reset: bool | None = _state("reset")
    vendor_id: bool | None = _state("vendor_id")
    vendor_id_value: str | None = attr("vendor_id/@value")
    frequencies: bool | None = _state("frequencies")
    reenlightenment: bool | None = _state("reenlightenment")
    tlbflush: bool | None = _state("tlbflush")
    tlbflush_direct: bool | None = _state("tlbflush/direct")
    tlbflush_extended: bool | None = _state("tlbflush/extended")
    ipi: bool | None = _state("ipi")
    evmcs: bool | None = _state("evmcs")
    avic: bool | None = _state("avic")
    emsr_bitmap: bool | None = _state("emsr_bitmap")
    xmm_input: bool | None = _state("xmm_input")


@element(open_tag=True, unknown_child=unsupported("unsupported KVM feature: {value}"))
class Kvm(Element):
    """What KVM offers or hides; ``dirty_ring_size`` is in entries."""

    hidden: bool | None = _state("hidden")
    hint_dedicated: bool | None = _state("hint-dedicated")
    poll_control: bool | None = _state("poll-control")
    pv_ipi: bool | None = _state("pv-ipi")
    dirty_ring: bool | None = _state("dirty-ring")
    dirty_ring_size: int | None = attr("dirty-ring/@size", ANY_BASE)


@element(open_tag=True, unknown_child=unsupported("unsupported Xen feature: {value}"))
class Xen(Element):
    """What Xen offers its guest."""

    e820_host: bool | None = _state("e820_host")
    passthrough: bool | None = _state("passthrough")
    passthrough_mode: str | None = attr("passthrough/@mode", words("sync_pt", "share_pt"))


@element(unknown_child=unsupported("unexpected capability feature '{value}'"))
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
    tseg: int | None = pretty_size("tseg", "MiB", "string(./features/smm/tseg)", pad=" " * 6)


@element
class Hpt(Element):
    """POWER's page table: whether the guest may resize it, and its largest page in KiB."""

    resizing: str | None = attr("@resizing", words("enabled", "disabled", "required"))
    maxpagesize: int | None = size("maxpagesize", "KiB",
                                   error=unsupported("Unable to parse HPT maxpagesize setting"))


@element(unknown_child=unsupported("unexpected feature '{value}'"))
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
    htm: bool | None = _state("htm")
    nested_hv: bool | None = _state("nested-hv")
    msrs_unknown: str | None = attr("msrs/@unknown", words("ignore", "fault"), required=True)
    ccf_assist: bool | None = _state("ccf-assist")
    xen: Xen | None = sub("xen", Xen)
    cfpc: str | None = attr("cfpc/@value", words("broken", "workaround", "fixed"))
    sbbc: str | None = attr("sbbc/@value", words("broken", "workaround", "fixed"))
    ibs: str | None = attr("ibs/@value", words("broken", "workaround", "fixed-ibs", "fixed-ccd", "fixed-na"))
    tb_cache: int | None = size("tcg/tb-cache", "KiB")
    async_teardown: bool | None = attr("async-teardown/@enabled", ONOFF)
