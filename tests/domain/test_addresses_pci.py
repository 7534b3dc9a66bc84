"""PCI addresses: the rules by which define gives each device its place, and the buses that grow for it.

Every expectation is what libvirt 9.0.0 answers; ``test_addresses_oracle.py`` asks it for many more.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.device_xml import (
    BALLOON,
    PIIX3,
    SERIAL,
    XHCI,
    at,
    controller,
    disk,
    host_interface,
    host_pci,
    mediated,
    module,
    nic,
    pci_bus,
    slots,
    tablet,
    usb2,
    vhost_scsi,
    video,
)
from tests.support.placing import I440FX, Q35, pci_controllers, placed, places, where
from virtbus_domain.normalise.context import Context
from virtbus_domain.normalise.pci import assign_pci
from virtbus_domain.normalise.pci_kinds import host_is_express
from virtbus_domain.xml.address import PciAddress
from virtbus_domain.xml.domain import Devices, Domain

# --- growing with the devices ---------------------------------------------------------------------------------------


def test_modern_devices_get_a_port_each_and_one_is_spare() -> None:
    """On q35 each express device has its own root port, ports share a slot, and a new domain has one to spare."""
    devices = placed(Q35, nic() + XHCI + BALLOON)
    assert places([*devices.interfaces, *devices.controllers[1:2], devices.memballoon]) == [
        "01:00.0", "02:00.0", "03:00.0"]
    assert pci_controllers(devices) == [
        (1, "pcie-root-port", "00:01.0+"), (2, "pcie-root-port", "00:01.1"), (3, "pcie-root-port", "00:01.2"),
        (4, "pcie-root-port", "00:01.3")]


def test_what_a_guest_sees_of_a_port_follows_from_its_place() -> None:
    """A root port's chassis is its number, its port is its place, and its device is QEMU's plain one."""
    port = placed(Q35, nic() * 9).controllers[9]
    assert (port.index, where(port)) == (9, "00:02.0+")
    assert (port.target_chassis, port.target_port, port.model_name) == (9, 0x10, "pcie-root-port")


def test_ports_fill_eight_functions_of_a_slot() -> None:
    """The ninth root port begins the next slot."""
    assert [place for _, _, place in pci_controllers(placed(Q35, nic() * 9))][6:9] == ["00:01.6", "00:01.7", "00:02.0+"]


def test_conventional_devices_bring_a_bridge_behind_a_port() -> None:
    """On q35 old cards share the slots of a pcie-to-pci-bridge, which takes the first port."""
    devices = placed(Q35, nic() + nic("rtl8139") + nic("e1000"))
    assert places(devices.interfaces) == ["02:00.0", "03:01.0", "03:02.0"]
    assert pci_controllers(devices)[2] == (3, "pcie-to-pci-bridge", "01:00.0")


def test_a_bridge_that_comes_first_has_the_lower_number() -> None:
    """The numbers of new controllers follow the order in which devices ask for them."""
    assert [entry[1] for entry in pci_controllers(placed(Q35, nic("rtl8139") + nic()))] == [
        "pcie-root-port", "pcie-to-pci-bridge", "pcie-root-port", "pcie-root-port"]


def test_a_conventional_machine_grows_bridges_with_a_slot_to_spare() -> None:
    """30 devices fill an i440fx machine's bus but one slot; one more, and all that follow are behind a bridge."""
    assert pci_controllers(placed(I440FX, nic() * 29)) == []
    devices = placed(I440FX, nic() * 30)
    assert pci_controllers(devices) == [(1, "pci-bridge", "00:02.0")]
    assert places(devices.interfaces)[-2:] == ["00:1f.0", "01:01.0"]
    assert (devices.controllers[-1].target_chassis_nr, devices.controllers[-1].model_name) == (1, "pci-bridge")


def test_a_full_conventional_machine_stays_as_it_is() -> None:
    """Where every slot was given by hand there is none to keep free, and no bridge is added for it."""
    everywhere = "".join(nic(address=at(0, slot)) for slot in range(2, 32))
    assert pci_controllers(placed(I440FX, everywhere)) == []


def test_ports_that_are_there_are_used_and_none_is_spare() -> None:
    """The spare port is for a document that leaves the controllers to libvirt."""
    devices = placed(Q35, pci_bus(1, "pcie-root-port") + nic() * 2)
    assert places(devices.interfaces) == ["01:00.0", "02:00.0"]
    assert [entry[0] for entry in pci_controllers(devices)] == [1, 2]


def test_numbers_between_given_controllers_are_filled() -> None:
    """Buses are numbered without gaps; what is added stands behind, and gets its place after."""
    devices = placed(Q35, pci_bus(3, "pcie-root-port") + nic())
    assert pci_controllers(devices) == [
        (3, "pcie-root-port", "00:01.0+"), (1, "pcie-root-port", "00:01.1"), (2, "pcie-root-port", "00:01.2")]
    assert places(devices.interfaces) == ["01:00.0"]


def test_an_address_on_a_bus_to_come_makes_it_come() -> None:
    """An address may be on a bus that no controller makes yet: it and those below are added, which are to spare."""
    devices = placed(Q35, nic(address=at(3, 0)))
    assert [entry[0] for entry in pci_controllers(devices)] == [1, 2, 3]
    assert places(devices.interfaces) == ["03:00.0"]
    assert [entry[1] for entry in pci_controllers(placed(I440FX, nic(address=at(2, 1))))] == ["pci-bridge"] * 2


def test_a_conventional_address_on_the_first_bus_moves_behind_the_bridge() -> None:
    """Bus 1 becomes the port of the bridge that the card needs, so the card is on bus 2, as libvirt has it."""
    assert places(placed(Q35, nic("rtl8139", at(1, 3))).interfaces) == ["02:03.0"]


# --- fixed places ---------------------------------------------------------------------------------------------------


def test_parts_of_the_chipset_have_their_places() -> None:
    """IDE and the first USB controller are in the PIIX3 of i440fx, the first SATA controller in the ICH9 of q35."""
    devices = placed(I440FX, PIIX3 + controller("ide", 0) + nic())
    assert places(devices.controllers) == [None, "00:01.2", "00:01.1"]
    assert places(devices.interfaces) == ["00:02.0"]
    assert places(placed(Q35, controller("sata", 0)).controllers) == [None, "00:1f.2"]


def test_another_usb_controller_is_a_card() -> None:
    """Only a PIIX3 of number 0 is the chipset's."""
    devices = placed(I440FX, XHCI + controller("usb", 1, "piix3-uhci"))
    assert places(devices.controllers[1:]) == ["00:02.0", "00:03.0"]


@pytest.mark.parametrize(("machine", "first", "second"), [(I440FX, "00:02.0", "00:04.0"), (Q35, "00:01.0", "03:01.0")])
def test_the_first_display_is_in_the_slot_after_the_chipset(machine: tuple[str, str], first: str, second: str) -> None:
    """Whatever kind of card it is; further ones are like any other device."""
    devices = placed(machine, nic() + video("qxl") + video("qxl"))
    assert places(devices.videos) == [first, second]


def test_a_display_whose_slot_is_taken_is_the_first_to_get_another() -> None:
    """On i440fx the next slot; on q35 an old card is then behind the bridge."""
    cirrus = video("cirrus")
    assert places(placed(I440FX, nic(address=at(0, 2)) + nic() + cirrus).videos) == ["00:03.0"]
    devices = placed(Q35, nic(address=at(0, 1)) + cirrus)
    assert places(devices.videos) == ["02:01.0"]
    # The trial seats it twice; with a modern display that shows in one port more.
    modern = placed(Q35, nic(address=at(0, 1)) + video("virtio"))
    assert [entry[0] for entry in pci_controllers(modern)] == [1, 2, 3]


def test_no_display_on_pci() -> None:
    """A frame buffer in memory and no display at all take no place."""
    assert places(placed(Q35, video("none")).videos) == [None]
    assert places(placed(Q35, video("ramfb")).videos) == [None]


def test_what_a_real_ich9_has_goes_where_it_has_it() -> None:
    """The first sound card of its kind, up to two USB 2 controllers, and the bridge; further ones elsewhere."""
    devices = placed(Q35, "<sound model='ich9'/>" * 2 + pci_bus(1, "dmi-to-pci-bridge")
                     + pci_bus(2, "dmi-to-pci-bridge") + "".join(map(usb2, range(3))))
    assert places(devices.sounds)[0] == "00:1b.0"
    assert [where(controller) for controller in devices.controllers if controller.model == "ich9-uhci1"][:2] == [
        "00:1d.0+", "00:1a.0+"]
    assert [place for _, model, place in pci_controllers(devices) if model == "dmi-to-pci-bridge"] == [
        "00:1e.0", "00:01.0"]


def test_parts_of_a_usb2_controller_share_a_slot() -> None:
    """Each part has its function, beside the one that is placed, whether by hand or first."""
    parts = ["00:02.7", "00:02.0+", "00:02.1", "00:02.2"]
    assert places(placed(I440FX, usb2(0)).controllers[1:]) == parts
    given = usb2(0).replace("'ich9-ehci1'>", f"'ich9-ehci1'>{at(0, 8, 7)}")
    assert places(placed(I440FX, given).controllers[1:]) == ["00:08.7", "00:08.0+", "00:08.1", "00:08.2"]


def test_the_trial_counts_each_part_of_a_usb2_controller() -> None:
    """On a nearly full bus its four parts bring a bridge although they sit in one slot."""
    assert [entry[1] for entry in pci_controllers(placed(I440FX, nic() * 26 + usb2(0)))] == ["pci-bridge"]


def test_an_iommu_is_part_of_the_root_bus() -> None:
    """The virtio one is integrated, so it is not behind a port."""
    devices = placed(Q35, nic() + "<iommu model='virtio'/>")
    assert where(devices.iommu) == "00:02.0"
    assert where(placed(Q35, "<iommu model='intel'/>").iommu) is None


# --- topologies -----------------------------------------------------------------------------------------------------


def test_switches_and_expanders() -> None:
    """A switch's ports hang from each other; an expander gets the highest bus number that leaves room for its own."""
    switch = placed(Q35, pci_bus(1, "pcie-root-port") + pci_bus(2, "pcie-switch-upstream-port")
                    + pci_bus(3, "pcie-switch-downstream-port") + nic())
    assert [place for _, _, place in pci_controllers(switch)] == ["00:01.0", "01:00.0", "02:00.0"]
    assert places(switch.interfaces) == ["03:00.0"]
    downstream = switch.controllers[3]
    assert (downstream.target_chassis, downstream.target_port, downstream.model_name) == (3, 0, "xio3130-downstream")
    expanders = placed(Q35, pci_bus(1, "pcie-expander-bus") + pci_bus(2, "pcie-expander-bus"))
    assert [controller.target_bus_nr for controller in expanders.controllers[1:]] == [254, 252]
    old = placed(I440FX, pci_bus(1, "pci-expander-bus", "<target busNr='100'/>") + pci_bus(2, "pci-expander-bus"))
    assert [(controller.target_bus_nr, controller.model_name) for controller in old.controllers[1:]] == [
        (100, "pxb"), (98, "pxb")]


def test_a_conventional_bridge_serves_where_there_is_one() -> None:
    """With a dmi-to-pci-bridge, which takes no devices of libvirt's own choice, a pci-bridge is added behind it."""
    devices = placed(Q35, pci_bus(1, "dmi-to-pci-bridge") + nic("rtl8139"))
    assert pci_controllers(devices) == [(1, "dmi-to-pci-bridge", "00:1e.0"), (2, "pci-bridge", "01:00.0")]
    assert places(devices.interfaces) == ["02:01.0"]


def test_what_the_user_numbered_stays() -> None:
    """Chassis, port and model of a root port are completed one by one."""
    port = placed(Q35, pci_bus(1, "pcie-root-port", "<model name='ioh3420'/><target chassis='7'/>")).controllers[1]
    assert (port.model_name, port.target_chassis, port.target_port) == ("ioh3420", 7, 8)


# --- addresses that are given ---------------------------------------------------------------------------------------


def test_given_places_are_kept_and_gone_around() -> None:
    """Old cards may sit on the express root, modern ones behind bridges, if that is what the user wants."""
    assert places(placed(Q35, nic("rtl8139", at(0, 5)) + nic(address=at(0, 6))).interfaces) == ["00:05.0", "00:06.0"]
    assert places(placed(I440FX, nic(address=at(0, 2)) + nic() + nic(address=at(0, 3))).interfaces) == [
        "00:02.0", "00:04.0", "00:03.0"]


def test_an_empty_address_is_a_wish_for_one() -> None:
    """An address that says no more than "pci", or bus 0 slot 0, is given by libvirt."""
    assert places(placed(I440FX, nic(address="<address type='pci'/>") + nic(address=at(0, 0, 1))).interfaces) == [
        "00:02.0", "00:03.0"]


def test_a_shared_slot_is_marked_at_its_first_function() -> None:
    """Function 0 of a slot with several says so, unless the user says that it does not."""
    both = placed(I440FX, nic(address=at(0, 9)) + nic(address=at(0, 9, 1)))
    assert places(both.interfaces) == ["00:09.0+", "00:09.1"]
    off = placed(I440FX, nic(address=at(0, 9, 0, "multifunction='off'")) + nic(address=at(0, 9, 1)))
    assert [nic.address.multifunction for nic in off.interfaces] == [False, None]  # type: ignore[union-attr]
    assert places(placed(I440FX, nic(address=at(0, 9, 1))).interfaces) == ["00:09.1"]


def test_a_device_at_another_kind_of_address_is_left_alone() -> None:
    """A host device without a place, a virtio disk on another bus."""
    devices = placed(Q35, host_pci(2, "<address type='unassigned'/>")
                     + disk("vda", "virtio", "<address type='virtio-mmio'/>"))
    assert places([*devices.hostdevs, *devices.disks]) == [None, None]
    assert pci_controllers(devices) == []


# --- what each device is plugged into -------------------------------------------------------------------------------

EXPRESS = (
    nic("virtio"), nic("virtio-non-transitional"), nic("e1000e"), nic("pcnet"), XHCI, BALLOON, SERIAL,
    controller("usb", 0, "nec-xhci"), controller("scsi", 0, "virtio-scsi"), tablet(bus="virtio"),
    "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>",
    "<vsock model='virtio'><cid auto='yes'/></vsock>",
    "<filesystem type='mount'><driver type='virtiofs'/><source dir='/x'/><target dir='y'/></filesystem>",
    "<filesystem type='mount'><source dir='/x'/><target dir='y'/></filesystem>",
    disk("vda", "virtio"), mediated(), vhost_scsi(), host_pci(2), host_interface(2),
)
CONVENTIONAL = (
    nic("rtl8139"), nic("e1000"), nic("virtio-transitional"), nic("vmxnet3"), "<sound model='ich6'/>",
    "<sound model='ac97'/>", controller("sata", 1), controller("usb", 0, "ehci"), controller("scsi", 0, "lsilogic"),
    controller("scsi", 0, "virtio-transitional"), "<memballoon model='virtio-transitional'/>",
    "<watchdog model='i6300esb' action='reset'/>", "<shmem name='a'><model type='ivshmem-plain'/></shmem>",
    "<serial type='pty'><target type='pci-serial'/></serial>", disk("vda", "virtio", model="virtio-transitional"),
)
ELSEWHERE = (
    "<sound model='sb16'/>", "<sound model='pcspk'/>", "<watchdog model='ib700' action='reset'/>",
    "<memballoon model='none'/>", controller("usb", 0, "none"), controller("fdc", 0), tablet(bus="ps2"),
    "<serial type='pty'><target type='isa-serial'/></serial>", "<panic model='isa'/>",
    "<tpm model='tpm-tis'><backend type='emulator' version='2.0'/></tpm>",
)


@pytest.mark.parametrize(("devices", "models"), [
    *((device, ["pcie-root-port"] * 2) for device in EXPRESS),
    *((device, ["pcie-root-port", "pcie-to-pci-bridge", "pcie-root-port"]) for device in CONVENTIONAL),
    *((device, []) for device in ELSEWHERE)])
def test_the_buses_that_one_device_needs_on_q35(devices: str, models: list[str]) -> None:
    """A port for a modern device, a bridge for an old one, nothing for one that is not on PCI; and the spare port."""
    assert [entry[1] for entry in pci_controllers(placed(Q35, devices))] == models


def test_everything_is_conventional_on_a_conventional_machine() -> None:
    """On i440fx modern devices are in slots beside the old ones, in libvirt's order of kinds."""
    devices = placed(I440FX, BALLOON + SERIAL + controller("scsi", 0, "virtio-scsi") + nic() + nic("rtl8139")
                     + "<sound model='ich6'/>")
    assert places(devices.interfaces + devices.sounds) == ["00:02.0", "00:03.0", "00:04.0"]
    assert places(devices.controllers) == [None, "00:05.0", "00:06.0"]
    assert where(devices.memballoon) == "00:07.0"


def test_virtual_memory_devices_are_on_pci() -> None:
    """virtio-mem and virtio-pmem need a port, a module a slot."""
    devices = placed(Q35, "<memory model='virtio-mem'><target><size unit='MiB'>512</size><node>0</node>"
                     "<block unit='MiB'>2</block><requested unit='MiB'>0</requested></target></memory>" + module(),
                     slots(4))
    assert places(devices.memories) == ["01:00.0", "0"]


def capabilities(*numbers: int) -> bytes:
    """The configuration space of a PCI device with a list of these capabilities."""
    config = bytearray(256)
    config[6], config[0x34] = 0x10, 0x40
    for position, number in enumerate(numbers):
        config[0x40 + 8 * position] = number
        config[0x41 + 8 * position] = 0x48 + 8 * position if position + 1 < len(numbers) else 0
    return bytes(config)


@pytest.mark.parametrize(("config", "express"), [
    (capabilities(0x01, 0x05, 0x10), True), (capabilities(0x01, 0x05), False), (bytes(256), False), (None, True)])
def test_a_device_of_the_host_is_what_its_configuration_says(tmp_path: Path, config: bytes | None,
                                                             express: bool) -> None:
    """It is express if it has that capability; one that is not there is taken for express."""
    if config is not None:
        (tmp_path / "0000:06:02.1").mkdir()
        (tmp_path / "0000:06:02.1" / "config").write_bytes(config)
    assert host_is_express(PciAddress(bus=6, slot=2, function=1), tmp_path) is express


def test_a_configuration_whose_list_is_a_circle_ends(tmp_path: Path) -> None:
    """A broken device cannot hang a define."""
    config = bytearray(capabilities(0x01))
    config[0x41] = 0x40
    (tmp_path / "0000:00:02.0").mkdir()
    (tmp_path / "0000:00:02.0" / "config").write_bytes(config)
    assert host_is_express(PciAddress(slot=2), tmp_path) is False


def test_the_test_driver_gives_no_pci_addresses() -> None:
    """As libvirt's, it has no machine to give them on."""
    domain = Domain(type="test", devices=Devices())
    assign_pci(domain, Context("test"))
    assert domain.devices == Devices()
