"""Where new devices go, what they are called, and which devices of two documents are the same one.

Places, names and refusals are libvirt 9.0.0's: they were asked of it with a running guest.
"""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.live_guest import CONTEXT, NUMA, PORTS, device_of, domain_of, x86_capabilities
from virtbus_domain.drivers.qemu.capabilities import QemuCapabilities
from virtbus_domain.drivers.qemu.command.live_difference import difference
from virtbus_domain.drivers.qemu.command.live_fields import complete, differences
from virtbus_domain.drivers.qemu.command.live_places import place_new, with_device, without_device
from virtbus_domain.drivers.qemu.names import assign_names
from virtbus_domain.xml.address import DimmAddress, DriveAddress, PciAddress, UsbAddress, VirtioSerialAddress
from virtbus_domain.xml.controller import Controller
from virtbus_domain.xml.domain import Domain
from virtbus_shared.errors import LibvirtError

RNG = "<rng model='virtio'><backend model='random'>/dev/urandom</backend>{}</rng>"
DISK = ("<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/{dev}'/>"
        "<target dev='{dev}' bus='{bus}'/>{extra}</disk>")
CARD = "<interface type='user'><mac address='52:54:00:00:00:{:02x}'/><model type='{}'/>{}</interface>"
TABLET = "<input type='tablet' bus='usb'>{}</input>"
CHANNEL = "<channel type='pty'><target type='virtio' name='{}'/>{}</channel>"
DIMM = "<memory model='dimm'><target><size unit='MiB'>{}</size><node>0</node></target>{}</memory>"


@pytest.fixture(scope="module")
def capabilities() -> QemuCapabilities:
    """What the x86 emulator of this machine can do."""
    return x86_capabilities()


def running(capabilities: QemuCapabilities, devices: str = "", *, machine: str = "q35", top: str = "") -> Domain:
    """A domain as it runs, with names."""
    domain = domain_of(capabilities, devices, machine=machine, top=top)
    assert domain.devices is not None
    assign_names(domain.devices, q35=machine == "q35")
    return domain


class Plugging:
    """A domain to which devices come, one after the other."""

    def __init__(self, capabilities: QemuCapabilities, domain: Domain) -> None:
        self.capabilities = capabilities
        self.domain = domain
        self.needed: list[Controller] = []

    def plug(self, xml: str) -> Any:
        """The device that a document describes, at its place."""
        family, device = device_of(self.capabilities, xml)
        self.needed = place_new(self.domain, family, device, CONTEXT)
        for controller in self.needed:
            self.domain = with_device(self.domain, "controllers", controller)
        self.domain = with_device(self.domain, family, device)
        return device


class TestPlaces:
    """A free place where devices come and go."""

    def test_pci_express(self, capabilities: QemuCapabilities) -> None:
        """On q35 a modern device gets a port of its own, an old one a slot of the bridge, until none is left."""
        guest = Plugging(capabilities, running(
            capabilities, "<controller type='pci' model='pcie-root'/>"
            + "<controller type='pci' model='pcie-root-port'/>" * 3
            + "<controller type='pci' model='pcie-to-pci-bridge'/><controller type='usb' model='none'/>"
            "<memballoon model='none'/>"))
        places = [guest.plug(xml).address for xml in (RNG.format(""), CARD.format(1, "e1000", ""),
                                                      CARD.format(2, "virtio", ""))]
        assert places == [PciAddress(domain=0, bus=bus, slot=slot, function=0) for bus, slot in (
            (2, 0), (4, 1), (3, 0))]
        with pytest.raises(LibvirtError) as error:
            guest.plug(RNG.format(""))
        assert (error.value.code, error.value.domain, error.value.message) == (
            1, 20, "internal error: No more available PCI slots")

    def test_conventional_pci(self, capabilities: QemuCapabilities) -> None:
        """On i440fx devices share the slots of the root bus."""
        guest = Plugging(capabilities, running(capabilities, machine="pc"))
        taken = {device.address.slot for device in guest.domain.devices.all()  # type: ignore[union-attr]
                 if isinstance(getattr(device, "address", None), PciAddress)}
        places = [guest.plug(RNG.format("")).address for _ in range(3)]
        assert [place.bus for place in places] == [0, 0, 0]
        assert not taken & {place.slot for place in places}
        assert len({place.slot for place in places}) == 3

    @pytest.mark.parametrize(("address", "expected"), [
        ("bus='0' slot='0x10'", "XML error: The device at PCI address 0000:00:10.0 requires hotplug capability, but "
                                "the PCI controller with index='0' doesn't support hotplug"),
        ("bus='3' slot='0'", "XML error: The device at PCI address 0000:03:00.0 requires hotplug capability, but "
                             "the PCI controller with index='3' doesn't support hotplug"),
        ("bus='9' slot='0'", "XML error: Invalid PCI address 0000:09:00.0. Only PCI buses up to 3 are available"),
        ("bus='1' slot='1'", "XML error: Invalid PCI address 0000:01:01.0. slot must be <= 0"),
    ])
    def test_given_pci(self, address: str, expected: str, capabilities: QemuCapabilities) -> None:
        """A place of the user's choice must be one where devices come and go."""
        ports = "<controller type='pci' model='pcie-root'/>" + "<controller type='pci' model='pcie-root-port'/>" * 2
        guest = Plugging(capabilities, running(
            capabilities, f"{ports}<controller type='pci' model='pcie-root-port'><target hotplug='off'/></controller>"
            "<controller type='usb' model='none'/><memballoon model='none'/>"))
        with pytest.raises(LibvirtError) as error:
            guest.plug(RNG.format(f"<address type='pci' {address}/>"))
        assert (error.value.code, error.value.domain, error.value.message) == (27, 20, expected)
        good = guest.plug(RNG.format("<address type='pci' bus='2' slot='0'/>")).address
        assert (good.bus, good.slot) == (2, 0)
        with pytest.raises(LibvirtError, match="Attempted double use of PCI Address 0000:02:00\\.0"):
            guest.plug(RNG.format("<address type='pci' bus='2' slot='0'/>"))

    def test_usb(self, capabilities: QemuCapabilities) -> None:
        """The lowest free port, the one that was asked for, and none when all are taken."""
        guest = Plugging(capabilities, running(
            capabilities, PORTS + "<controller type='usb' model='qemu-xhci' ports='4'/>" + TABLET.format("") * 2))
        asked = guest.plug(TABLET.format("<address type='usb' bus='0' port='4'/>"))
        assert asked.address == UsbAddress(bus=0, port="4")
        assert guest.plug(DISK.format(dev="sda", bus="usb", extra="")).address == UsbAddress(bus=0, port="3")
        for xml, expected in (
                (TABLET.format(""), (1, 20, "internal error: No free USB ports")),
                (TABLET.format("<address type='usb' bus='0' port='9'/>"),
                 (27, 20, "XML error: requested USB port 9 not present on USB bus 0")),
                (TABLET.format("<address type='usb' bus='0' port='1'/>"),
                 (27, 20, "XML error: Duplicate USB address bus 0 port 1"))):
            with pytest.raises(LibvirtError) as error:
                guest.plug(xml)
            assert (error.value.code, error.value.domain, error.value.message) == expected

    def test_without_usb(self, capabilities: QemuCapabilities) -> None:
        """A domain that has no USB bus gets none."""
        guest = Plugging(capabilities, running(capabilities, "<controller type='usb' model='none'/>"))
        for xml, expected in (
                (TABLET.format(""), "Device configuration is not compatible: Domain has no USB bus support"),
                ("<redirdev bus='usb' type='pty'/>",
                 "cannot add redirected USB device: USB is disabled for this domain")):
            with pytest.raises(LibvirtError) as error:
                guest.plug(xml)
            assert (error.value.code, error.value.domain, error.value.message) == (
                67, 20, f"unsupported configuration: {expected}")

    def test_virtio_serial(self, capabilities: QemuCapabilities) -> None:
        """Ports of the controllers there are; a console needs none."""
        guest = Plugging(capabilities, running(
            capabilities, PORTS + "<controller type='virtio-serial' ports='3'/>" + CHANNEL.format("a", "")))
        assert guest.plug(CHANNEL.format("b", "")).address == VirtioSerialAddress(controller=0, bus=0, port=2)
        assert guest.plug("<console type='pty'><target type='virtio'/></console>").address is None
        with pytest.raises(LibvirtError, match="Unable to find a free virtio-serial port"):
            guest.plug(CHANNEL.format("c", ""))
        with pytest.raises(LibvirtError, match="virtio serial port 1 on controller 0 is already occupied"):
            guest.plug(CHANNEL.format("c", "<address type='virtio-serial' controller='0' bus='0' port='1'/>"))
        with pytest.raises(LibvirtError) as error:
            Plugging(capabilities, running(capabilities)).plug(CHANNEL.format("a", ""))
        assert (error.value.code, error.value.domain, error.value.message) == (
            1, 20, "internal error: no virtio-serial controllers are available")

    def test_memory(self, capabilities: QemuCapabilities) -> None:
        """Slots and sizes up to the maximum."""
        top = NUMA.replace("slots='4' unit='GiB'>4", "slots='2' unit='GiB'>1")
        guest = Plugging(capabilities, running(capabilities, PORTS, top=top))
        assert guest.plug(DIMM.format(128, "<address type='dimm' slot='1'/>")).address == DimmAddress(slot=1)
        with pytest.raises(LibvirtError) as error:
            guest.plug(DIMM.format(128, "<address type='dimm' slot='1'/>"))
        assert (error.value.code, error.value.domain, error.value.message) == (
            67, 10, "unsupported configuration: memory device slot '1' is already being used by another memory device")
        device = guest.plug(DIMM.format(128, ""))
        assert (device.address, device.alias) == (DimmAddress(slot=0), "dimm0")
        for size, expected in ((128, (67, 10, "memory device count '3' exceeds slots count '2'")),
                               (2048, (67, 20, "Attaching memory device with size '2097152' would exceed domain's "
                                               "maxMemory config size '1048576'"))):
            with pytest.raises(LibvirtError) as error:
                guest.plug(DIMM.format(size, ""))
            assert (error.value.code, error.value.domain) == expected[:2]
            assert error.value.message == f"unsupported configuration: {expected[2]}"
        with pytest.raises(LibvirtError, match="cannot use/hotplug a memory device when domain 'maxMemory' is not def"):
            Plugging(capabilities, running(capabilities)).plug(DIMM.format(128, ""))

    def test_scsi(self, capabilities: QemuCapabilities) -> None:
        """A disk's letters are its unit; a controller that it lacks comes first, of the kind of the others."""
        guest = Plugging(capabilities, running(
            capabilities, PORTS + "<controller type='scsi' model='virtio-scsi'/>"))
        assert guest.plug(DISK.format(dev="sdc", bus="scsi", extra="")).address == DriveAddress(
            controller=0, bus=0, target=0, unit=2)
        assert guest.needed == []
        with pytest.raises(LibvirtError) as error:
            guest.plug(DISK.format(dev="sdd", bus="scsi", extra="<address type='drive' unit='2'/>"))
        assert (error.value.code, error.value.domain, error.value.message) == (
            55, 10, "Requested operation is not valid: Domain already contains a disk with that address")
        device = guest.plug(DISK.format(dev="sdz", bus="scsi", extra=""))
        assert (device.address.controller, device.address.unit, device.alias) == (3, 4, "scsi3-0-0-4")
        assert [(other.index, other.model, other.alias) for other in guest.needed] == [
            (number, "virtio-scsi", f"scsi{number}") for number in (1, 2, 3)]
        assert len({repr(other.address) for other in guest.needed}) == 3
        bridge = PORTS + "<controller type='pci' model='pcie-to-pci-bridge'/>"
        other = Plugging(capabilities, running(capabilities, bridge))
        other.plug(DISK.format(dev="sda", bus="scsi", extra=""))
        assert [controller.model for controller in other.needed] == ["lsilogic"]

    def test_only_one(self, capabilities: QemuCapabilities) -> None:
        """What there is one of, and numbers that are taken."""
        guest = Plugging(capabilities, running(
            capabilities, PORTS + "<controller type='pci' model='pcie-to-pci-bridge'/>"
            "<controller type='scsi' model='virtio-scsi'/><watchdog model='i6300esb'/><vsock model='virtio'>"
            "<cid auto='no' address='4'/></vsock>"))
        for xml, code, detail in (
                ("<watchdog model='i6300esb'/>", 55, "domain already has a watchdog"),
                ("<vsock model='virtio'><cid auto='no' address='5'/></vsock>", 55,
                 "the domain already has a vsock device"),
                ("<controller type='scsi' index='0' model='virtio-scsi'/>", 9, "target scsi:0 already exists")):
            with pytest.raises(LibvirtError) as error:
                guest.plug(xml)
            assert (error.value.code, error.value.domain) == (code, 10)
            assert error.value.message.endswith(detail)
        assert guest.plug("<controller type='scsi' model='virtio-scsi'/>").index == 1


class TestNames:
    """Names and numbers that nobody has had."""

    def test_the_next_one(self, capabilities: QemuCapabilities) -> None:
        """A number follows the largest in use, not the first free one; a user's name stays, and must be new."""
        domain = running(capabilities, PORTS + TABLET.format("") * 2 + RNG.format("") * 2)
        assert domain.devices is not None
        guest = Plugging(capabilities, domain)
        del domain.devices.rngs[0]
        assert guest.plug(RNG.format("")).alias == "rng2"
        assert guest.plug(RNG.format("<alias name='ua-mine'/>")).alias == "ua-mine"
        assert guest.plug(RNG.format("<alias name='rng7'/>")).alias == "rng3"
        assert guest.plug(TABLET.format("")).alias == f"input{len(domain.devices.inputs)}"
        assert guest.plug(CARD.format(1, "virtio", "")).alias == "net0"
        assert guest.plug(DISK.format(dev="vdc", bus="virtio", extra="")).alias == "virtio-disk2"
        with pytest.raises(LibvirtError) as error:
            guest.plug(RNG.format("<alias name='ua-mine'/>"))
        assert (error.value.code, error.value.domain, error.value.message) == (
            67, 20, "unsupported configuration: non unique alias detected: ua-mine")

    def test_layers(self, capabilities: QemuCapabilities) -> None:
        """Numbers of layers are larger than all in use, the top one's first; the domain's own stay."""
        chain = ("<backingStore type='file'><format type='raw'/><source file='/base'/><backingStore/></backingStore>")
        domain = running(capabilities, PORTS + DISK.format(dev="vda", bus="virtio", extra="")
                         + DISK.format(dev="vdb", bus="virtio", extra=chain).replace("'raw'", "'qcow2'", 1))
        assert domain.devices is not None
        before = [disk.source.index for disk in domain.devices.disks if disk.source]
        guest = Plugging(capabilities, domain)
        device = guest.plug(DISK.format(dev="vdc", bus="virtio", extra=chain).replace("'raw'", "'qcow2'", 1))
        assert (device.source.index, device.backing_store.index) == (4, 5)
        assert [disk.source.index for disk in domain.devices.disks if disk.source] == before
        assert guest.plug(DISK.format(dev="vdd", bus="virtio", extra="")).source.index == 6

    @given(plugs=st.lists(st.sampled_from((
        RNG.format(""), CARD.format(9, "virtio", ""), CARD.format(9, "e1000", ""), TABLET.format(""),
        CHANNEL.format("x", ""), "<input type='tablet' bus='virtio'/>", "<controller type='scsi' model='virtio-scsi'/>",
        DIMM.format(128, ""))), max_size=12))
    @settings(max_examples=40, deadline=None)
    def test_no_two_alike(self, plugs: list[str], capabilities: QemuCapabilities) -> None:
        """Whatever comes, in whatever order: no two devices at one place or of one name, or a refusal."""
        guest = Plugging(capabilities, running(
            capabilities, PORTS + "<controller type='usb' model='qemu-xhci' ports='3'/>"
            "<controller type='virtio-serial' ports='3'/><controller type='pci' model='pcie-to-pci-bridge'/>",
            top=NUMA))
        refusals = []
        for xml in plugs:
            try:
                guest.plug(xml)
            except LibvirtError as error:
                refusals.append(error.message)
        assert all(re.search("No more|No free|Unable to find|exceed", refusal) for refusal in refusals)
        devices = list(guest.domain.devices.all())  # type: ignore[union-attr]
        addresses = [repr(device.address) for device in devices
                     if getattr(device, "address", None) is not None and not isinstance(device.address, DriveAddress)]
        assert len(addresses) == len(set(addresses))
        names = [device.alias for device in devices if getattr(device, "alias", None)]
        assert len(names) == len(set(names)) + (guest.domain.devices.consoles != [])  # type: ignore[union-attr]


def twin(domain: Domain) -> Domain:
    """A client's document of the same domain: without what only a running one has."""
    copied = copy.deepcopy(domain)
    assert copied.devices is not None
    for device in copied.devices.all():
        if getattr(device, "alias", None):
            device.alias = None  # type: ignore[attr-defined]
    for disk in copied.devices.disks:
        if disk.source:
            disk.source.index = None
    return copied


def told(old: Domain, new: Domain) -> list[tuple[str, str]]:
    """What the difference of two documents consists of."""
    return [(change.what, change.family) for change in difference(old, new)]


class TestDifference:
    """Which devices come, go and change."""

    EVERYTHING = (PORTS + "<controller type='usb' model='qemu-xhci' ports='8'/><controller type='scsi' "
                  "model='virtio-scsi'/><controller type='virtio-serial'/>"
                  + DISK.format(dev="vda", bus="virtio", extra="") + DISK.format(dev="sda", bus="scsi", extra="")
                  + CARD.format(1, "virtio", "") * 2 + RNG.format("") * 2 + TABLET.format("")
                  + CHANNEL.format("a", "") + "<serial type='pty'/><console type='pty'/><sound model='ich9'/>"
                  "<graphics type='vnc' port='5900' autoport='no' passwd='x'/><video><model type='vga'/></video>"
                  "<hostdev mode='subsystem' type='usb'><source><address bus='3' device='4'/></source></hostdev>"
                  "<memballoon model='virtio'/><panic model='isa'/>")

    def test_none(self, capabilities: QemuCapabilities) -> None:
        """A domain does not differ from itself, nor from what its author wrote, nor by what concerns no guest."""
        domain = running(capabilities, self.EVERYTHING)
        assert told(domain, domain) == []
        assert told(domain, twin(domain)) == []
        described = twin(domain)
        described.title, described.description = "A", "B"
        assert told(domain, described) == []

    def test_order(self, capabilities: QemuCapabilities) -> None:
        """What goes, goes before what it sits on; what comes, comes after; changes are between."""
        none = "<memballoon model='none'/>"
        small = running(capabilities, PORTS + none + "<controller type='usb' model='qemu-xhci' ports='8'/>"
                        "<controller type='virtio-serial'/>" + CARD.format(1, "virtio", ""))
        large = running(capabilities, PORTS + none + "<controller type='usb' model='qemu-xhci' ports='8'/>"
                        "<controller type='virtio-serial'/><controller type='scsi' model='virtio-scsi'/>"
                        + DISK.format(dev="sda", bus="scsi", extra="") + TABLET.format("")
                        + CARD.format(1, "virtio", "<link state='down'/>"))
        come = told(small, twin(large))
        assert come == [("update", "interfaces"), ("attach", "controllers"), ("attach", "disks"), ("attach", "inputs")]
        gone = told(large, twin(small))
        assert gone == [("detach", "inputs"), ("detach", "disks"), ("detach", "controllers"), ("update", "interfaces")]

    def test_memory(self, capabilities: QemuCapabilities) -> None:
        """A module that comes or goes takes its memory along; what the domain has without modules must stay."""
        domain = running(capabilities, PORTS, top=NUMA)
        guest = Plugging(capabilities, domain)
        module = guest.plug(DIMM.format(128, ""))
        more = guest.domain
        assert (more.memory, domain.memory) == (384 * 1024, 256 * 1024)
        assert told(domain, twin(more)) == [("attach", "memories")]
        assert told(more, twin(domain)) == [("detach", "memories")]
        assert without_device(more, "memories", module) == domain

    def test_identity(self, capabilities: QemuCapabilities) -> None:
        """Disks are known by target, cards by MAC address, hosts' devices by source, channels by all that they are."""
        domain = running(capabilities, self.EVERYTHING)
        for change, expected in (
                (lambda devices: setattr(devices.disks[0], "serial", "S"), [("update", "disks")]),
                (lambda devices: setattr(devices.disks[0], "target_dev", "vdb"),
                 [("detach", "disks"), ("attach", "disks")]),
                (lambda devices: setattr(devices.interfaces[0], "model", "e1000"), [("update", "interfaces")]),
                (lambda devices: setattr(devices.interfaces[0], "mac", "52:54:00:00:00:77"),
                 [("detach", "interfaces"), ("attach", "interfaces")]),
                (lambda devices: setattr(devices.hostdevs[0].source.address, "device", 5),
                 [("detach", "hostdevs"), ("attach", "hostdevs")]),
                (lambda devices: setattr(devices.channels[0].target, "name", "b"),
                 [("detach", "channels"), ("attach", "channels")]),
                (lambda devices: setattr(devices.rngs[0].backend, "path", "/dev/hwrng"),
                 [("detach", "rngs"), ("attach", "rngs")]),
                (lambda devices: setattr(devices.graphics[0], "passwd", "y"), [("update", "graphics")]),
                (lambda devices: setattr(devices.memballoon, "stats_period", 5), [("update", "memballoon")]),
                (lambda devices: devices.sounds.clear(), [("detach", "sounds")]),
                (lambda devices: setattr(devices.consoles[0].target, "port", 3), [])):
            new = twin(domain)
            change(new.devices)
            assert told(domain, new) == expected

    def test_the_name_decides(self, capabilities: QemuCapabilities) -> None:
        """Devices of one name are the same one whatever else differs, and of two names two."""
        domain = running(capabilities, PORTS + CARD.format(1, "virtio", "<alias name='ua-a'/>"))
        new = copy.deepcopy(domain)
        assert new.devices is not None
        new.devices.interfaces[0].mac = "52:54:00:00:00:02"
        assert told(domain, new) == [("update", "interfaces")]
        new.devices.interfaces[0].alias = "ua-b"
        assert told(domain, new) == [("detach", "interfaces"), ("attach", "interfaces")]

    def test_twins_find_each_other(self, capabilities: QemuCapabilities) -> None:
        """Of two cards with one MAC address, each is found by its place, in whatever order they are listed."""
        domain = running(capabilities, PORTS + CARD.format(1, "virtio", "") + CARD.format(1, "virtio", ""))
        new = twin(domain)
        assert new.devices is not None
        new.devices.interfaces.reverse()
        assert told(domain, new) == []
        new.devices.interfaces[0].link_state = "down"  # the second one
        [change] = difference(domain, new)
        assert (change.what, change.old.alias) == ("update", "net1")

    @pytest.mark.parametrize(("change", "path"), [
        (lambda domain: setattr(domain, "vcpu", 2), "/domain/vcpu/."),
        (lambda domain: setattr(domain.os, "cmdline", "x"), "/domain/os/cmdline"),
        (lambda domain: setattr(domain, "memory", 1024), "/domain/memory/."),
        (lambda domain: setattr(domain.features, "acpi", False), "/domain/features/acpi"),
        (lambda domain: setattr(domain.devices, "emulator", "/other"), "/domain/devices/emulator"),
    ])
    def test_not_of_devices(self, change: Any, path: str, capabilities: QemuCapabilities) -> None:
        """What is no device's is refused by its path."""
        domain = running(capabilities)
        new = twin(domain)
        change(new)
        with pytest.raises(LibvirtError) as error:
            difference(domain, new)
        assert (error.value.code, error.value.domain) == (84, 10)
        assert error.value.message.startswith(f"Operation not supported: cannot change '{path.removesuffix('/.')}")


class TestFields:
    """What two documents of one thing say."""

    def test_silence(self, capabilities: QemuCapabilities) -> None:
        """Names, places and passwords that are left out are as they are; everything else that is left out is gone."""
        domain = running(capabilities, PORTS + DISK.format(dev="vda", bus="virtio", extra="<serial>S</serial>")
                         + "<graphics type='vnc' port='5900' autoport='no' passwd='x'/>")
        assert domain.devices is not None
        [disk], [graphics] = domain.devices.disks, domain.devices.graphics
        new = copy.deepcopy(disk)
        new.alias = new.address = new.source.index = new.serial = None  # type: ignore[union-attr]
        assert [(found.name, found.path, found.old, found.new) for found in differences(disk, new)] == [
            ("serial", "serial", "S", None)]
        complete(disk, new)
        assert (new.alias, new.address, new.serial) == (disk.alias, disk.address, None)
        assert new.source is not None
        assert disk.source is not None
        assert new.source.index == disk.source.index
        unseen = copy.deepcopy(graphics)
        unseen.passwd = None
        assert list(differences(graphics, unseen)) == []

    def test_inside(self, capabilities: QemuCapabilities) -> None:
        """A difference is named as deep as it is, also in what one of both does not have at all."""
        domain = running(capabilities, PORTS + DISK.format(dev="vda", bus="virtio", extra=""))
        assert domain.devices is not None
        [disk] = domain.devices.disks
        without = copy.deepcopy(disk)
        without.driver = None
        assert [found.name for found in differences(disk, without)] == ["driver.name", "driver.type"]
        assert [found.path for found in differences(without, disk)] == ["driver/@name", "driver/@type"]
