"""Address sets as hot-plug uses them: what is free, what is taken, what comes back; and places on other buses than PCI.

PCI at define has ``test_addresses_pci.py``, what is refused ``test_addresses_refused.py``.
"""

from __future__ import annotations

import pytest

from tests.support.device_xml import (
    PIIX3,
    SERIAL,
    channel,
    console,
    controller,
    disk,
    host_scsi,
    module,
    nic,
    pci_bus,
    tablet,
    unit,
)
from tests.support.device_xml import slots as with_slots
from tests.support.placing import DOCUMENT, I440FX, Q35, document, place, placed, places
from virtbus_domain.normalise.address_sets import MemorySlots, ScsiUnits, UsbPorts, VirtioSerialPorts
from virtbus_domain.normalise.context import Context
from virtbus_domain.normalise.drive import add_host_controllers
from virtbus_domain.normalise.pci import pci_buses
from virtbus_domain.normalise.pci_buses import CONVENTIONAL, EXPRESS, HOTPLUGGABLE, PciBuses
from virtbus_domain.normalise.usb import shared_index, usb_ports
from virtbus_domain.xml.address import DimmAddress, DriveAddress, PciAddress, UsbAddress, VirtioSerialAddress
from virtbus_domain.xml.controller import Controller
from virtbus_domain.xml.domain import Domain
from virtbus_shared.errors import LibvirtError


def running(machine: tuple[str, str], devices: str) -> Domain:
    """A definition with all its addresses."""
    return place(DOCUMENT.parse(document(machine, devices)))


def refusal(error: pytest.ExceptionInfo[LibvirtError]) -> str | None:
    """libvirt's words."""
    return error.value.str2


# --- PCI ------------------------------------------------------------------------------------------------------------


def test_a_plugged_device_gets_the_spare_port() -> None:
    """The buses of a running domain know what its devices hold; the spare port is the place for one more."""
    domain = running(Q35, nic())
    buses = pci_buses(domain)
    assert domain.devices
    assert buses.holder(PciAddress(bus=1, slot=0, function=0)) is domain.devices.interfaces[0]
    address = buses.next_free(EXPRESS | HOTPLUGGABLE)
    assert address == PciAddress(domain=0, bus=2, slot=0, function=0)
    buses.reserve(address, "a new card", EXPRESS | HOTPLUGGABLE)
    assert buses.holder(address) == "a new card"
    with pytest.raises(LibvirtError) as full:
        buses.next_free(EXPRESS | HOTPLUGGABLE)
    assert refusal(full) == "No more available PCI slots"


def test_a_place_that_is_given_back_is_free_again() -> None:
    """Released, the lowest slot is the first to be given again."""
    domain = running(I440FX, nic() * 3)
    buses = pci_buses(domain)
    assert buses.next_free(CONVENTIONAL).slot == 5
    second = PciAddress(bus=0, slot=3, function=0)
    buses.release(second)
    assert buses.holder(second) is None
    assert buses.next_free(CONVENTIONAL) == PciAddress(domain=0, bus=0, slot=3, function=0)


def test_one_function_of_a_slot_does_not_free_the_others() -> None:
    """A slot is free when nothing sits in it any more."""
    buses = PciBuses()
    buses.add("pci-root")
    for function in (0, 1):
        buses.reserve(PciAddress(slot=1, function=function), function, CONVENTIONAL)
    buses.release(PciAddress(slot=1, function=1))
    assert buses.next_free(CONVENTIONAL).slot == 2
    buses.release(PciAddress(slot=1, function=0))
    assert buses.next_free(CONVENTIONAL).slot == 1


@pytest.mark.parametrize(("bus", "function", "words"), [
    (0, 0, "The device at PCI address 0000:00:05.0 requires hotplug capability, but the PCI controller with index='0' "
           "doesn't support hotplug"),
    (1, 0, "The device at PCI address 0000:01:05.0 requires hotplug capability, but the PCI controller with index='1' "
           "doesn't support hotplug"),
    (0, 1, "Only PCI device addresses with function=0 are supported"),
    (9, 0, "Invalid PCI address 0000:09:05.0. Only PCI buses up to 1 are available"),
])
def test_where_no_device_can_be_plugged(bus: int, function: int, words: str) -> None:
    """The express root takes none while it runs, nor a bridge whose document says so; functions come with the first."""
    domain = running(Q35, pci_bus(1, "dmi-to-pci-bridge"))
    with pytest.raises(LibvirtError) as refused:
        pci_buses(domain).reserve(PciAddress(bus=bus, slot=5, function=function), None, CONVENTIONAL | HOTPLUGGABLE)
    assert refusal(refused) == words


def test_a_port_without_hot_plug_is_passed_over() -> None:
    """Define uses such a port, hot-plug the next."""
    devices = pci_bus(1, "pcie-root-port", "<target hotplug='off'/>") + pci_bus(2, "pcie-root-port")
    assert pci_buses(running(Q35, devices)).next_free(EXPRESS | HOTPLUGGABLE).bus == 2
    assert places(placed(Q35, devices + nic()).interfaces) == ["01:00.0"]


def test_a_copy_is_apart() -> None:
    """What is tried on a copy does not happen."""
    buses = PciBuses()
    buses.add("pci-root")
    trial = buses.copy()
    trial.reserve(PciAddress(slot=1), None, CONVENTIONAL)
    trial.add("pci-bridge")
    assert buses.next_free(CONVENTIONAL).slot == 1
    assert buses.models == ["pci-root"]


# --- USB ------------------------------------------------------------------------------------------------------------


def test_usb_devices_get_ports_in_libvirts_order_of_kinds() -> None:
    """Hubs first, then host devices, disks, readers, input, serial ports, sound, and redirected devices."""
    devices = placed(I440FX, (
        "<controller type='usb' index='0' model='qemu-xhci' ports='12'/><hub type='usb'/><sound model='usb'/>"
        "<redirdev bus='usb' type='spicevmc'/><serial type='pty'><target type='usb-serial'/></serial>"
        + tablet() + controller("ccid", 0) + disk("sda", "usb") + "<hostdev mode='subsystem' type='usb'><source>"
        "<vendor id='0x1234'/><product id='0xbeef'/></source></hostdev>"))
    reader = next(device for device in devices.controllers if device.type == "ccid")
    assert places([*devices.hubs, *devices.hostdevs, *devices.disks, reader, *devices.inputs, *devices.serials,
                   *devices.sounds, *devices.redirdevs]) == [f"0:{port}" for port in range(1, 9)]


def test_hubs_are_added_where_ports_lack() -> None:
    """A hub takes one port and brings eight; libvirt adds hubs, not controllers."""
    assert placed(I440FX, PIIX3 + tablet() * 2).hubs == []
    devices = placed(I440FX, PIIX3 + tablet() * 3)
    assert places(devices.hubs + devices.inputs) == ["0:1", "0:2", "0:1.1", "0:1.2"]
    many = placed(I440FX, PIIX3 + tablet() * 12)
    assert places(many.hubs) == ["0:1", "0:2"]
    assert places(many.inputs)[7:9] == ["0:1.8", "0:2.1"]


@pytest.mark.parametrize(("model", "ports"), [
    ("piix3-uhci", 2), ("piix4-uhci", 2), ("vt82c686b-uhci", 2), ("pci-ohci", 3), ("ehci", 6), ("ich9-ehci1", 6),
    ("nec-xhci", 4), ("qemu-xhci", 4)])
def test_the_ports_of_a_controller(model: str, ports: int) -> None:
    """Each model has its number of ports; one device more, and there is a hub."""
    bus = controller("usb", 0, model)
    assert placed(I440FX, bus + tablet() * ports).hubs == []
    assert len(placed(I440FX, bus + tablet() * (ports + 1)).hubs) == 1


def test_a_bus_that_is_named_is_used() -> None:
    """An address with a bus only gets the first free port there; without one, the lowest bus is tried first."""
    devices = placed(I440FX, PIIX3 + controller("usb", 3, "nec-xhci") + tablet("<address type='usb' bus='3'/>")
                     + tablet() * 3)
    assert places(devices.inputs) == ["3:1", "0:1", "0:2", "3:2"]


def test_companions_begin_at_their_ports() -> None:
    """The parts of a USB 2 controller for slow devices each serve two ports of it, unless the user says otherwise."""
    devices = placed(I440FX, controller("usb", 0, "ich9-ehci1") + controller("usb", 0, "ich9-uhci1")
                     + controller("usb", 0, "ich9-uhci2", "<master startport='4'/>")
                     + controller("usb", 0, "ich9-uhci3"))
    assert [part.master_startport for part in devices.controllers[1:]] == [None, 0, 4, 4]


def test_a_part_without_a_number_joins_the_one_before() -> None:
    """Unless that has its like already, or is another kind of controller."""
    parts = [Controller(type="usb", index=index, model=model) for index, model in (
        (0, "nec-xhci"), (None, "ich9-ehci1"), (1, "ich9-ehci1"), (None, "ich9-uhci1"), (1, "ich9-uhci1"),
        (None, "ich9-uhci2"), (None, "nec-xhci"))]
    assert [shared_index(parts, position) for position in (0, 1, 3, 5, 6)] == [None, None, None, 1, None]
    assert shared_index(parts[:4], 3) == 1


def test_usb_ports_come_and_go() -> None:
    """A hub that is unplugged takes its ports along."""
    ports = UsbPorts()
    ports.add_controller(0, 2)
    ports.add_hub(UsbAddress(bus=0, port="1"))
    ports.reserve(UsbAddress(bus=0, port="1.8"))
    ports.reserve(UsbAddress(bus=0, port="2"))
    assert ports.next_free() == UsbAddress(bus=0, port="1.1")
    ports.release(UsbAddress(bus=0, port="1"))
    assert ports.next_free() == UsbAddress(bus=0, port="1")
    ports.reserve(UsbAddress(bus=0, port="1"))
    with pytest.raises(LibvirtError) as full:
        ports.next_free()
    assert refusal(full) == "No free USB ports"


def test_ports_end_at_the_fourth_level() -> None:
    """USB allows no hubs below that; libvirt looks no further."""
    ports = UsbPorts()
    ports.add_controller(0, 1)
    for path in ("1", "1.1", "1.1.1"):
        ports.add_hub(UsbAddress(bus=0, port=path))
    for port in range(2, 9):
        for path in ("1", "1.1"):
            ports.reserve(UsbAddress(bus=0, port=f"{path}.{port}"))
    assert ports.next_free() == UsbAddress(bus=0, port="1.1.1.1")
    for port in range(1, 9):
        ports.reserve(UsbAddress(bus=0, port=f"1.1.1.{port}"))
    with pytest.raises(LibvirtError):
        ports.next_free()


def test_a_running_domains_hubs_are_known() -> None:
    """The ports of a definition include those of its hubs."""
    devices = placed(I440FX, PIIX3 + tablet() * 3)
    ports = usb_ports(devices)
    ports.reserve(UsbAddress(bus=0, port="1.3"))
    with pytest.raises(LibvirtError) as taken:
        ports.reserve(UsbAddress(bus=0, port="1"))
    assert refusal(taken) == "Duplicate USB address bus 0 port 1"


# --- virtio-serial --------------------------------------------------------------------------------------------------


def test_channels_begin_at_port_1_and_consoles_are_not_told() -> None:
    """Port 0 is for consoles; one without an address gets none."""
    devices = placed(I440FX, SERIAL + console() * 2 + channel() * 2)
    assert places(devices.consoles + devices.channels) == [None, None, "0/1", "0/2"]


def test_a_channel_goes_to_the_next_controller_and_then_to_a_new_one() -> None:
    """When the ports of all are taken another controller is added, of the lowest number that is free."""
    small = "<controller type='virtio-serial' index='{0}' ports='2'/>"
    devices = placed(I440FX, small.format(0) + small.format(2) + channel() * 4)
    assert places(devices.channels) == ["0/1", "2/1", "1/1", "1/2"]
    assert (devices.controllers[-1].type, devices.controllers[-1].index) == ("virtio-serial", 1)


def test_a_controller_that_is_named_is_used() -> None:
    """An address with a controller only gets a port there; one of another kind is replaced."""
    devices = placed(I440FX, SERIAL + controller("virtio-serial", 1) + channel("controller='1'") * 2
                     + channel().replace("</channel>", "<address type='isa'/></channel>"))
    assert places(devices.channels) == ["1/1", "1/2", "0/1"]


def test_a_console_with_half_an_address_costs_a_port() -> None:
    """As in libvirt, which sets one aside on controller 0 and writes it nowhere."""
    devices = placed(I440FX, SERIAL + console("controller='0'") + channel())
    assert places(devices.consoles + devices.channels) == ["0/0", "0/2"]


def test_virtio_serial_ports_come_and_go() -> None:
    """What is not there, what is taken, and what is free again."""
    ports = VirtioSerialPorts()
    with pytest.raises(LibvirtError) as none:
        ports.next_free()
    assert refusal(none) == "no virtio-serial controllers are available"
    ports.add_controller(0, 2)
    first = VirtioSerialAddress(controller=0, bus=0, port=1)
    assert ports.next_free() == first
    ports.reserve(first)
    assert ports.next_free() is None
    assert ports.next_free(console=True) == VirtioSerialAddress(controller=0, bus=0, port=0)
    for index, words in ((1, "virtio-serial controller 1 not available"),
                         (0, "Unable to find a free port on virtio-serial controller 0")):
        with pytest.raises(LibvirtError) as refused:
            ports.next_free_of(index)
        assert refusal(refused) == words
    ports.release(first)
    assert ports.next_free_of(0) == first
    with pytest.raises(LibvirtError) as missing:
        ports.reserve(VirtioSerialAddress(controller=2, port=1))
    assert refusal(missing) == "virtio serial controller 2 is missing"
    with pytest.raises(LibvirtError) as twice:
        ports.add_controller(0)
    assert refusal(twice) == "virtio serial controller with index 0 already exists in the address set"


# --- drives, memory, smart cards ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bus", "names", "expected"), [
    ("scsi", ("sda", "sdg", "sdh", "sdaa"), ["0.0.0.0", "0.0.0.6", "1.0.0.0", "3.0.0.5"]),
    ("sata", ("sda", "sdf", "sdg"), ["0.0.0.0", "0.0.0.5", "1.0.0.0"]),
    ("ide", ("hda", "hdb", "hdc", "hdd"), ["0.0.0.0", "0.0.0.1", "0.1.0.0", "0.1.0.1"]),
    ("fdc", ("fda", "fdb"), ["0.0.0.0", "0.0.0.1"]),
    ("scsi", ("xvdb",), ["0.0.0.1"]), ("virtio", ("vda",), ["00:02.0"]), ("usb", ("sda",), ["0:1"]),
])
def test_letters_are_places(bus: str, names: tuple[str, ...], expected: list[str]) -> None:
    """A disk's letters count through the units of a controller, and then through controllers."""
    assert places(placed(I440FX, PIIX3 + "".join(disk(name, bus) for name in names)).disks) == expected


def test_a_drive_address_is_completed_with_zeros() -> None:
    """A unit is enough."""
    assert places(placed(I440FX, disk("sda", "scsi", "<address type='drive' unit='3'/>")).disks) == ["0.0.0.3"]


def test_scsi_devices_of_the_host_share_the_units_of_disks() -> None:
    """They get the first unit that no disk has, seven to a controller."""
    devices = placed(I440FX, disk("sdb", "scsi") + host_scsi() * 7)
    assert places(devices.hostdevs) == ["0.0.0.0", "0.0.0.2", "0.0.0.3", "0.0.0.4", "0.0.0.5", "0.0.0.6", "1.0.0.0"]


def test_the_host_devices_bring_their_controllers() -> None:
    """Up to the highest that one has, of the model of the controller that it is on."""
    domain = DOCUMENT.parse(document(I440FX, controller("scsi", 0, "virtio-scsi") + host_scsi()
                                     + host_scsi(unit(0, controller=2))))
    add_host_controllers(domain, Context("qemu"))
    assert domain.devices
    assert [(added.index, added.model) for added in domain.devices.controllers[1:]] == [
        (0, "virtio-scsi"), (1, "virtio-scsi"), (2, "virtio-scsi")]
    alone = DOCUMENT.parse(document(I440FX, host_scsi()))
    add_host_controllers(alone, Context("qemu"))
    assert alone.devices
    assert [(added.index, added.model) for added in alone.devices.controllers[1:]] == [(0, "lsilogic")]


def test_scsi_units_come_and_go() -> None:
    """Who has a unit, and that it is free when it was given back."""
    units, first = ScsiUnits(), DriveAddress(controller=0, bus=0, target=0, unit=0)
    units.reserve(first, "a disk")
    assert units.holder(first) == "a disk"
    assert units.next_free() == DriveAddress(controller=0, bus=0, target=0, unit=1)
    units.release(first)
    assert units.next_free() == first


def test_memory_modules_get_the_lowest_slots() -> None:
    """Beside those that have theirs; a base address is the user's to give."""
    devices = placed(I440FX, module() + module(0, "base='0x100000000'") + module(2) + module(), with_slots(4))
    assert places(devices.memories) == ["1", "0", "2", "3"]
    slots = MemorySlots(2)
    slots.reserve(DimmAddress(slot=0))
    assert slots.next_free() == DimmAddress(slot=1)
    slots.release(DimmAddress(slot=0))
    assert slots.next_free() == DimmAddress(slot=0)


def test_smart_cards_go_behind_each_other() -> None:
    """In the first reader, after the highest slot that is taken."""
    card = "<smartcard mode='host'>{0}</smartcard>"
    reader = PIIX3 + controller("ccid", 0)
    assert places(placed(I440FX, reader + card.format("<address type='ccid' controller='0' slot='3'/>")
                         + card.format("")).smartcards) == ["0/3", "0/4"]
