"""Addresses that libvirt 9.0.0 refuses: which it names, with which code, in which words.

Each case is a document that lacks only addresses; the answers are libvirt's own, asked for one by one.
"""

from __future__ import annotations

import pytest

from tests.support.device_xml import (
    PIIX3,
    at,
    channel,
    controller,
    disk,
    host_scsi,
    hub,
    module,
    nic,
    pci_bus,
    slots,
    tablet,
    unit,
    usb_port,
    video,
)
from tests.support.placing import I440FX, Q35, placed
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

XML, CONFIG, INTERNAL = c.VIR_ERR_XML_ERROR, c.VIR_ERR_CONFIG_UNSUPPORTED, c.VIR_ERR_INTERNAL_ERROR
DETAIL = c.VIR_ERR_XML_DETAIL
DOMAIN, QEMU, NONE = c.VIR_FROM_DOMAIN, c.VIR_FROM_QEMU, c.VIR_FROM_NONE

ISAPC = "isapc", ""
FEW_PORTS = "<controller type='virtio-serial' index='0' ports='4'/>"
VIRTIO_SCSI, LSILOGIC = controller("scsi", 0, "virtio-scsi"), controller("scsi", 0, "lsilogic")
PORT = pci_bus(1, "pcie-root-port")


Q35_RULES = [
    (PORT + nic(address=at(1, 1)), XML, DOMAIN, "Invalid PCI address 0000:01:01.0. slot must be <= 0"),
    (nic("rtl8139", at(1, 0)), XML, DOMAIN, "Invalid PCI address 0000:01:00.0. slot must be >= 1"),
    (nic("rtl8139", at(1, 3)) * 2, XML, DOMAIN,
     "The device at PCI address 0000:01:03.0 cannot be plugged into the PCI controller with index='1'. It requires a "
     "controller that accepts a standard PCI device."),
    (PORT + pci_bus(2, "pcie-switch-upstream-port") + nic(address=at(2, 0)), XML, DOMAIN,
     "The device at PCI address 0000:02:00.0 cannot be plugged into the PCI controller with index='2'. It requires a "
     "controller that accepts a PCI Express device."),
    (PORT + pci_bus(2, "pcie-root-port", at(1, 0)), XML, DOMAIN,
     "The device at PCI address 0000:01:00.0 cannot be plugged into the PCI controller with index='1'. It requires a "
     "controller that accepts a pcie-root-port."),
    (PORT + pci_bus(2, "dmi-to-pci-bridge", at(1, 0)), XML, DOMAIN,
     "The device at PCI address 0000:01:00.0 cannot be plugged into the PCI controller with index='1'. It requires a "
     "controller that accepts a dmi-to-pci-bridge."),
    (pci_bus(1, "pcie-to-pci-bridge", at(0, 3)), XML, DOMAIN,
     "The device at PCI address 0000:00:03.0 cannot be plugged into the PCI controller with index='0'. It requires a "
     "controller that accepts a pcie-to-pci-bridge."),
    (PORT + f"<iommu model='virtio'>{at(1, 0)}</iommu>", XML, DOMAIN,
     "The device at PCI address 0000:01:00.0 needs to be an integrated device (bus=0)"),
    (nic(address=at(0, 0x1F)), XML, DOMAIN, "Attempted double use of PCI Address 0000:00:1f.0"),
    (controller("sata", 0) + nic(address=at(0, 0x1F, 2)), XML, DOMAIN,
     "Attempted double use of PCI Address 0000:00:1f.2"),
    (controller("sata", 0, inside=at(0, 5)), INTERNAL, QEMU, "Primary SATA controller must have PCI address 0:0:1f.2"),
    (controller("ide", 0, inside=at(0, 1, 1)), INTERNAL, QEMU,
     "Bus 0 must be PCI for integrated PIIX3 USB or IDE controllers"),
    (pci_bus(1, "pcie-to-pci-bridge"), INTERNAL, DOMAIN,
     "Cannot automatically add a new PCI bus for a device with connect flags 2000"),
    (nic(model="usb-net"), INTERNAL, DOMAIN,
     "Cannot automatically add a new PCI bus for a device with connect flags 00"),
    (pci_bus(1, "pcie-switch-downstream-port"), INTERNAL, DOMAIN,
     "a PCI slot is needed to connect a PCI controller model='pcie-switch-downstream-port', but none is available, and "
     "it cannot be automatically added"),
    ("".join(pci_bus(index, "pcie-root-port") for index in range(1, 250)), INTERNAL, DOMAIN,
     "a PCI slot is needed to connect a PCI controller model='pcie-root-port', but none is available, and it cannot be "
     "automatically added"),
    (pci_bus(1, "pci-bridge"), CONFIG, QEMU,
     "PCI controller at index 1 (0x01) has bus='0x01', but index must be larger than bus"),
]
I440FX_RULES = [
    (nic(address=at(0, 5)) * 2, XML, DOMAIN, "Attempted double use of PCI Address 0000:00:05.0"),
    (nic(address=at(0, 5)) + video("cirrus", at(0, 5)), XML, DOMAIN,
     "Attempted double use of PCI Address 0000:00:05.0"),
    (nic(address=at(0, 1)), XML, DOMAIN, "Attempted double use of PCI Address 0000:00:01.0"),
    (PIIX3 + nic(address=at(0, 1, 2)), XML, DOMAIN, "Attempted double use of PCI Address 0000:00:01.2"),
    (nic(address=at(0, 5, more="domain='1'")), XML, DOMAIN,
     "Invalid PCI address 0001:00:05.0. Only PCI domain 0 is available"),
    (nic(address=at(0, 5, more="domain='65536'")), XML, DOMAIN,
     "Invalid PCI address 10000:00:05.0. Only PCI domain 0 is available"),
    (nic(address=at(0, 32)), XML, NONE, "Invalid PCI address slot='0x20', must be <= 0x1F"),
    (nic(address=at(256, 2)), XML, NONE, "Invalid PCI address bus='0x100', must be <= 0xFF"),
    (nic(address=at(0, 2, 8)), XML, NONE, "Invalid PCI address function=0x8, must be <= 7"),
    (controller("ide", 0, inside=at(0, 5)), INTERNAL, QEMU, "Primary IDE controller must have PCI address 0:0:1.1"),
    (controller("usb", 0, "piix3-uhci", at(0, 5)), INTERNAL, QEMU,
     "PIIX3 USB controller at index 0 must have PCI address 0:0:1.2"),
    (pci_bus(1, "pcie-root-port"), INTERNAL, DOMAIN,
     "a PCI slot is needed to connect a PCI controller model='pcie-root-port', but none is available, and it cannot be "
     "automatically added"),
    (pci_bus(1, "pci-bridge", at(2, 1)) + pci_bus(2, "pci-bridge"), CONFIG, QEMU,
     "PCI controller at index 1 (0x01) has bus='0x02', but index must be larger than bus"),
    (pci_bus(1, "pci-expander-bus", "<target busNr='2'/>") + pci_bus(2, "pci-expander-bus"), CONFIG,
     QEMU, "No free busNr lower than current lowest busNr is available to auto-assign to bus 0. Must be manually "
           "assigned"),
    (disk("vda", "virtio", unit()), CONFIG, QEMU, "virtio disk cannot have an address of type 'drive'"),
]
USB_RULES = [
    (PIIX3 + tablet(usb_port("1")) * 2, XML, DOMAIN, "Duplicate USB address bus 0 port 1"),
    (PIIX3 + tablet(usb_port("3")), XML, DOMAIN, "requested USB port 3 not present on USB bus 0"),
    (PIIX3 + tablet(usb_port("1.2")), XML, DOMAIN, "there is no hub at port 1 in USB address bus: 0 port: 1.2"),
    (PIIX3 + tablet(usb_port("5.2")), XML, DOMAIN, "port 5 out of range in USB address bus: 0 port: 5.2"),
    (PIIX3 + tablet(usb_port("1", 1)), XML, DOMAIN, "Missing USB bus 1"),
    (PIIX3 + tablet("<address type='usb' bus='1'/>"), XML, DOMAIN,
     "USB bus 1 requested but no controller with that index is present"),
    (PIIX3 + hub("2") * 2, XML, DOMAIN, "Duplicate USB hub on bus 0 port 2"),
    (PIIX3 + hub("2") + tablet(usb_port("2")), XML, DOMAIN, "Duplicate USB address bus 0 port 2"),
    (controller("usb", 0, "nec-xhci") * 2 + tablet(usb_port("1")), XML, DOMAIN,
     "Duplicate USB controllers with index 0"),
    (controller("usb", 0, "ich9-uhci1"), DETAIL, DOMAIN, "No master USB controller specified"),
    (controller("usb", 0, "none") + PIIX3, DETAIL, DOMAIN,
     "Can't add another USB controller: USB is disabled for this domain"),
    (controller("usb", 0, "none") + "<redirdev bus='usb' type='spicevmc'/>", CONFIG, QEMU,
     "USB is disabled for this domain, but USB devices are present in the domain XML"),
]
SERIAL_RULES = [
    (FEW_PORTS + channel("controller='0' port='3'") * 2, XML, DOMAIN,
     "virtio serial port 3 on controller 0 is already occupied"),
    (FEW_PORTS + channel("controller='0' port='4'"), XML, DOMAIN, "virtio serial controller 0 does not have port 4"),
    (FEW_PORTS + channel("controller='0'") * 4, XML, DOMAIN,
     "Unable to find a free port on virtio-serial controller 0"),
]
DRIVE_RULES = [
    (disk("foo", "scsi"), XML, DOMAIN, "Unknown disk name 'foo' and no address specified"),
    (VIRTIO_SCSI + disk("sda", "scsi", unit(3)) + disk("sdd", "scsi"), CONFIG, DOMAIN,
     "Found duplicate drive address for disk with target name 'sda' controller='0' bus='0' target='0' unit='3'"),
    (VIRTIO_SCSI + disk("sda", "scsi") + host_scsi(unit()), CONFIG, DOMAIN,
     "using disk target name 'sda' conflicts with SCSI host device address controller='0' bus='0' target='0' unit='0"),
    (VIRTIO_SCSI + disk("sda", "scsi", unit(3)) + host_scsi(unit(3)), XML, DOMAIN,
     "SCSI host address controller='0' bus='0' target='0' unit='3' in use by a SCSI disk"),
    (VIRTIO_SCSI + host_scsi(unit(4, controller=2)) + host_scsi(unit(4, controller=2), 1), CONFIG, DOMAIN,
     "SCSI host address controller='0' bus='2' target='0' unit='4' in use by another SCSI host device"),
    (LSILOGIC + disk("sda", "scsi", unit(bus=1)), INTERNAL, QEMU, "SCSI controller only supports 1 bus"),
    (LSILOGIC + host_scsi(unit(target=1)), CONFIG, QEMU, "target must be 0 for controller model 'lsilogic'"),
    (disk("hde", "ide"), INTERNAL, QEMU, "Only 1 IDE controller is supported"),
    (disk("hda", "ide", unit(target=1)), CONFIG, QEMU, "target must be 0 for ide controller"),
    (disk("sda", "sata", unit(bus=1)), CONFIG, QEMU, "bus must be 0 for sata controller"),
    (disk("sda", "sata", unit(target=1)), CONFIG, QEMU, "target must be 0 for sata controller"),
    (disk("fdc", "fdc"), INTERNAL, QEMU, "Only 1 fdc controller is supported"),
    (disk("fda", "fdc", unit(bus=1)), INTERNAL, QEMU, "Only 1 fdc bus is supported"),
    (disk("fda", "fdc", unit(target=1)), CONFIG, QEMU, "target must be 0 for controller fdc"),
    (disk("sda", "scsi", at(0, 5)), CONFIG, DOMAIN,
     "Invalid address type 'pci' for the disk 'sda' with the bus type 'scsi'"),
    (disk("hda", "ide", "<address type='unassigned'/>"), CONFIG, DOMAIN,
     "address of type 'unassigned' is supported only for hostdevs"),
    (PIIX3 + disk("sda", "usb", unit()), INTERNAL, QEMU, "unexpected address type for usb disk"),
]
MEMORY_RULES = [
    (module(0) * 2, CONFIG, QEMU, "memory device slot '0' is already being used by another memory device"),
    (module(2), CONFIG, QEMU, "memory device slot '2' exceeds slots count '2'"),
    (module() * 3, INTERNAL, QEMU, "failed to find an empty memory slot"),
    (module(0) * 3, CONFIG, QEMU, "memory device count '3' exceeds slots count '2'"),
    (module(0, "base='0x100000000'") + module(1, "base='0x100000000'"), CONFIG, QEMU,
     "memory device base '0x100000000' is already being used by another memory device"),
]
CASES = [
    *((Q35, "", *rule) for rule in Q35_RULES), *((I440FX, "", *rule) for rule in I440FX_RULES),
    *((I440FX, "", *rule) for rule in (*USB_RULES, *SERIAL_RULES, *DRIVE_RULES)),
    *((I440FX, slots(2), *rule) for rule in MEMORY_RULES),
    (ISAPC, "", "<memballoon model='virtio'/>", XML, DOMAIN, "No PCI buses available"),
    (ISAPC, "", nic(address=at(0, 5)), XML, DOMAIN, "No PCI buses available"),
]


@pytest.mark.parametrize(("machine", "head", "devices", "code", "domain", "detail"), CASES)
def test_what_libvirt_refuses(machine: tuple[str, str], head: str, devices: str, code: int, domain: int,
                              detail: str) -> None:
    """The code, the part of libvirt that speaks, and its words."""
    with pytest.raises(LibvirtError) as refused:
        placed(machine, devices, head)
    assert (refused.value.code, refused.value.domain, refused.value.str2) == (code, domain, detail)
