"""What a machine cannot have: controllers, TPMs, watchdogs and the like, for all of libvirt's drivers and QEMU's."""

from __future__ import annotations

from virtbus_domain.normalise.check_disks import has_iothread
from virtbus_domain.normalise.check_virtio import refuse_virtio_options
from virtbus_domain.normalise.context import Context, qemu_unsupported, unsupported, xml_error
from virtbus_domain.xml.controller import Controller, ControllerDriver
from virtbus_domain.xml.domain import Domain
from virtbus_domain.xml.iommu import Iommu
from virtbus_domain.xml.panic import Panic
from virtbus_domain.xml.tpm import Tpm
from virtbus_domain.xml.watchdog import Watchdog

_VIRTIO_SCSI = ("virtio-scsi", "virtio-transitional", "virtio-non-transitional")
_MOST_XHCI_PORTS = 15
_FOREIGN_USB = ("qusb1", "qusb2")
_FOREIGN_SCSI = ("buslogic",)
_FOREIGN_TPMS = ("tpm-spapr", "spapr-tpm-proxy")
_FOREIGN_PANICS = {"pseries": "pSeries", "s390": "S390"}
_QUEUES = ("queues", "cmd_per_lun", "max_sectors", "ioeventfd")
_MOST_VCPUS = 255  # that interrupts reach without help of the IOMMU
_X86 = ("x86_64", "i686")


# --- for every driver -----------------------------------------------------------------------------------------------


def check_controller(controller: Controller, domain: Domain) -> None:
    """Refuse numbers that no bus has, and threads for what has none."""
    del domain
    if controller.type == "pci":
        if (controller.index or 0) > 255:
            raise unsupported(f"PCI controller index {controller.index} too high, maximum is 255")
        if controller.index == 0 and controller.target_node is not None:
            raise unsupported("The PCI controller with index=0 can't be associated with a NUMA node")
    driver = controller.driver
    if driver is not None and driver.iothread and controller.type == "scsi" and controller.model not in _VIRTIO_SCSI:
        raise xml_error("'iothread' attribute only supported for virtio scsi controllers")


def check_tpm(tpm: Tpm, domain: Domain) -> None:
    """Hashes are chosen for the newer version only."""
    del domain
    backend = tpm.backend
    if backend and backend.active_pcr_banks is not None and backend.version != "2.0":
        raise xml_error("<active_pcr_banks/> requires TPM version '2.0'")


def check_iommu(iommu: Iommu, domain: Domain) -> None:
    """What the IOMMU does to interrupts depends on who serves them."""
    if iommu.model == "virtio" and any(getattr(iommu, name) is not None for name in (
            "driver_intremap", "driver_caching_mode", "driver_eim", "driver_iotlb", "driver_aw_bits")):
        raise xml_error("iommu model 'virtio' doesn't support additional attributes")
    if iommu.driver_intremap and not (domain.features and domain.features.ioapic_driver == "qemu"):
        raise unsupported("IOMMU interrupt remapping requires split I/O APIC (ioapic driver='qemu')")
    if iommu.driver_eim and not iommu.driver_intremap:
        raise unsupported("IOMMU eim requires interrupt remapping to be enabled")


def check_machine(domain: Domain, context: Context) -> None:
    """What there is one of, and what it cannot be."""
    assert domain.devices
    devices = domain.devices
    if devices.iommu is not None:
        check_iommu(devices.iommu, domain)
        if context.qemu:
            _check_qemu_iommu(devices.iommu, domain)
    vsock = devices.vsock
    if vsock is not None:
        if vsock.cid_address is not None and vsock.cid_address < 3:
            raise unsupported("guest CIDs must be >= 3")
        if vsock.model is None:
            refuse_virtio_options(vsock)
    if devices.nvram is not None and context.qemu and not (domain.os and (domain.os.arch or "").startswith("ppc")):
        raise qemu_unsupported("nvram device is only supported for PPC64")


# --- for QEMU -------------------------------------------------------------------------------------------------------


def check_qemu_controller(controller: Controller, domain: Domain) -> None:
    """Refuse controllers that QEMU, or its machine, does not have."""
    kind, model = controller.type, controller.model
    if kind == "usb":
        if model in _FOREIGN_USB:
            raise qemu_unsupported("USB controller model type 'qusb1' or 'qusb2' is not supported in qemu")
        if model == "qemu-xhci" and (controller.ports or 0) > _MOST_XHCI_PORTS:
            raise qemu_unsupported(f"'{model}' controller only supports up to '{_MOST_XHCI_PORTS}' ports")
    elif kind == "ide":
        assert domain.os
        if not (domain.os.machine or "").startswith("pc-i440fx"):
            raise qemu_unsupported("IDE controllers are unsupported for this QEMU binary or machine type")
        if controller.index:
            raise qemu_unsupported("Only a single IDE controller is supported for this machine type")
    elif kind == "scsi":
        if model in _FOREIGN_SCSI:
            raise qemu_unsupported(f"Unsupported controller model: {model}")
        if model == "ncr53c90":
            raise qemu_unsupported(f"{model} SCSI controller is not a built-in for this machine")
        if controller.driver is not None:
            _check_scsi_driver(controller.driver, model, domain)


def _check_scsi_driver(driver: ControllerDriver, model: str | None, domain: Domain) -> None:
    if model not in _VIRTIO_SCSI:
        for name in _QUEUES:
            if getattr(driver, name) is not None:
                raise qemu_unsupported(f"'{name}' is only supported by virtio-scsi controller")
    elif driver.iothread and not has_iothread(domain, driver.iothread):
        raise qemu_unsupported(f"controller iothread '{driver.iothread}' not defined in iothreadid")


def check_qemu_tpm(tpm: Tpm, domain: Domain) -> None:
    """Refuse interfaces of other machines, and of other versions."""
    version = tpm.backend.version if tpm.backend and tpm.backend.type == "emulator" else None
    if version == "1.2":
        if tpm.model == "tpm-spapr":
            raise qemu_unsupported("TPM 1.2 is not supported with the SPAPR device model")
        if tpm.model == "tpm-crb":
            raise qemu_unsupported(f"Unsupported interface '{tpm.model}' for TPM 1.2")
    if tpm.model in _FOREIGN_TPMS:
        emulator = domain.devices.emulator if domain.devices else None
        raise qemu_unsupported(f"The QEMU executable {emulator} does not support TPM model {tpm.model}")


def check_qemu_watchdog(watchdog: Watchdog, domain: Domain) -> None:
    """Refuse watchdogs of other machines, and a place for one that has its own."""
    del domain
    if watchdog.model == "diag288":
        raise qemu_unsupported("diag288 model of watchdog is allowed for s390 and s390x only")
    if watchdog.model == "ib700" and watchdog.address is not None:
        raise qemu_unsupported("ib700 model of watchdog does not support configuring the address")


def _check_qemu_iommu(iommu: Iommu, domain: Domain) -> None:
    assert domain.os
    machine, model = domain.os.machine or "", iommu.model
    q35 = machine.startswith("pc-q35")
    virt = machine.startswith("virt")
    if model == "intel" and not q35:
        raise qemu_unsupported(f"IOMMU device: '{model}' is only supported with Q35 machines")
    if model == "smmuv3" and not virt:
        raise qemu_unsupported(f"IOMMU device: '{model}' is only supported with ARM Virt machines")
    if model == "virtio":
        if not q35 and not virt:
            raise qemu_unsupported(f"IOMMU device: '{model}' is only supported with Q35 and ARM Virt machines")
        if not (domain.features and domain.features.acpi):
            raise qemu_unsupported(f"IOMMU device: '{model}' requires ACPI")


def check_many_vcpus(domain: Domain, context: Context) -> None:
    """More CPUs than old interrupts can name need an IOMMU that knows how."""
    assert domain.os
    assert domain.devices
    if not context.qemu or (domain.vcpu or 0) <= _MOST_VCPUS or domain.os.arch not in _X86:
        return
    if not (domain.os.machine or "").startswith("pc-q35"):
        raise qemu_unsupported(f"more than {_MOST_VCPUS} vCPUs are only supported on q35-based machines")
    iommu = domain.devices.iommu
    if iommu is None or not iommu.driver_eim:
        raise qemu_unsupported(f"more than {_MOST_VCPUS} vCPUs require extended interrupt mode enabled on the iommu "
                               "device")


def check_qemu_panic(panic: Panic, domain: Domain) -> None:
    """Refuse panic devices of other machines."""
    del domain
    if panic.model in _FOREIGN_PANICS:
        raise qemu_unsupported(f"only {_FOREIGN_PANICS[panic.model]} guests support panic device of model "
                               f"'{panic.model}'")


def check_single_devices(domain: Domain, context: Context) -> None:
    """Of some devices a QEMU machine has one."""
    if not context.qemu:
        return
    assert domain.devices
    if len(domain.devices.tpms) > 1:
        raise qemu_unsupported("only a single TPM non-proxy device is supported")
    if len(domain.devices.smartcards) > 1:
        raise qemu_unsupported("this QEMU binary lacks multiple smartcard support")
