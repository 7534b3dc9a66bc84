"""Features of the platform: what libvirt reads of them, and those that QEMU's PCs do not have."""

from __future__ import annotations

from virtbus_domain.normalise.context import Context, qemu_unsupported, xml_error
from virtbus_domain.xml.domain import Domain
from virtbus_domain.xml.features import Features, Hyperv, Kvm, LinuxCapabilities
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

_NOTHING = Features()
_NO_CAPABILITIES = LinuxCapabilities()
# Features that are on where only their name is said.
_SWITCHES = ("hap", "pvspinlock", "pmu", "vmport", "smm", "vmcoreinfo")
_FEWEST_SPINLOCKS = 4095
_VENDOR_LENGTH = 12
_RINGS = (1024, 65536)  # entries
# Features of other machines, by field, with libvirt's names of them.
_OF_PSERIES = {"hpt": "hpt", "htm": "htm", "nested_hv": "nested-hv", "ccf_assist": "ccf-assist", "cfpc": "cfpc",
               "sbbc": "sbbc", "ibs": "ibs"}
_OF_ARM = {"gic": "gic"}


def read_features(domain: Domain, context: Context) -> None:
    """What a feature says when only its name is given; a list without content vanishes."""
    del context
    features = domain.features
    if features is None:
        return
    if features.capabilities is not None and features.capabilities == _NO_CAPABILITIES:
        features.capabilities = None
    if features == _NOTHING:
        domain.features = None
        return
    for name in _SWITCHES:
        switch = getattr(features, name)
        if switch is not None and switch.state is None:
            switch.state = True
    if features.hyperv:
        _read_hyperv(features.hyperv)
    if features.kvm:
        _read_kvm(features.kvm)
    if features.smm and not features.smm.state:
        features.smm.tseg = None


def _missing(attribute: str, element: str) -> LibvirtError:
    return LibvirtError(c.VIR_ERR_XML_ERROR, f"Missing required attribute '{attribute}' in element '{element}'",
                        domain=c.VIR_FROM_XML)


def _read_hyperv(hyperv: Hyperv) -> None:
    """Chosen one by one unless said otherwise."""
    hyperv.mode = hyperv.mode or "custom"
    if not hyperv.spinlocks:
        hyperv.spinlocks_retries = None
    elif hyperv.spinlocks_retries is None:
        raise _missing("retries", "spinlocks")
    elif hyperv.spinlocks_retries < _FEWEST_SPINLOCKS:
        raise xml_error(f"HyperV spinlock retry count must be at least {_FEWEST_SPINLOCKS}")
    if not hyperv.stimer:
        hyperv.stimer_direct = None
    if not hyperv.vendor_id:
        hyperv.vendor_id_value = None
    elif hyperv.vendor_id_value is None:
        raise xml_error("missing 'value' attribute for HyperV feature 'vendor_id'")
    elif len(hyperv.vendor_id_value.encode()) > _VENDOR_LENGTH:
        raise xml_error(f"HyperV vendor_id value must not be more than {_VENDOR_LENGTH} characters.")
    elif "," in hyperv.vendor_id_value:
        raise xml_error("HyperV vendor_id value is invalid")


def _read_kvm(kvm: Kvm) -> None:
    if not kvm.dirty_ring:
        kvm.dirty_ring_size = None
    elif kvm.dirty_ring_size is None:
        raise _missing("size", "dirty-ring")
    elif not _RINGS[0] <= kvm.dirty_ring_size <= _RINGS[1] or kvm.dirty_ring_size.bit_count() != 1:
        raise xml_error(f"dirty ring must be power of 2 and ranges [{_RINGS[0]}, {_RINGS[1]}]")


def check_features(domain: Domain, context: Context) -> None:
    """Refuse what another kind of machine has."""
    features = domain.features
    if not context.qemu or features is None:
        return
    assert domain.os
    arch, machine = domain.os.arch or "", domain.os.machine
    foreign = (_OF_ARM if arch.startswith("ppc") else _OF_PSERIES if arch.startswith(("arm", "aarch"))
               else _OF_PSERIES | _OF_ARM)
    for field, name in foreign.items():
        if getattr(features, field) is not None:
            raise qemu_unsupported(f"The '{name}' feature is not supported for architecture '{arch}' or machine type "
                                   f"'{machine}'")
    if features.smm and features.smm.tseg is not None:
        if not (machine or "").startswith("pc-q35"):
            raise qemu_unsupported("SMM TSEG is only supported with q35 machine type")
        if features.smm.tseg % 2**20:
            raise qemu_unsupported("SMM TSEG size must be divisible by 1 MiB")
