"""Who has taken which port, unit or slot: the address sets of a domain, other than PCI's.

Each kind of bus has a set that is filled from a definition: when it is completed, and again when it runs, so that
hot-plug knows what is free. All work alike: ``reserve`` takes the address that a device has or raises libvirt's
refusal, ``next_free`` names one for a device that has none without taking it, ``release`` gives it back. PCI, where
what fits where is most of the matter, has ``pci_buses.py``.
"""

from __future__ import annotations

from virtbus_domain.xml.address import DimmAddress, DriveAddress, UsbAddress, VirtioSerialAddress
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

HUB_PORTS = 8
_USB_DEPTH = 4
_VIRTIO_SERIAL_PORTS = 31
_SCSI_UNITS = 7


def _internal(detail: str, domain: int = c.VIR_FROM_DOMAIN) -> LibvirtError:
    return LibvirtError(c.VIR_ERR_INTERNAL_ERROR, detail, domain=domain)


def _xml_error(detail: str) -> LibvirtError:
    return LibvirtError(c.VIR_ERR_XML_ERROR, detail, domain=c.VIR_FROM_DOMAIN)


def _first_clear(bits: int) -> int:
    """The lowest bit that is not set."""
    return (~bits & (bits + 1)).bit_length() - 1


class _Hub:
    """The ports of a USB controller or hub: how many, which are in use (a bit each, from 1), and hubs in them."""

    __slots__ = ("hubs", "ports", "used")

    def __init__(self, ports: int) -> None:
        self.ports = ports
        self.used = 1
        self.hubs: dict[int, _Hub] = {}


class UsbPorts:
    """The ports of all USB buses, those of hubs included."""

    def __init__(self) -> None:
        self._buses: dict[int, _Hub] = {}

    def add_controller(self, index: int, ports: int) -> None:
        """Add the bus of a controller. Raises ``LibvirtError`` if there is one of this number."""
        if index in self._buses:
            raise _xml_error(f"Duplicate USB controllers with index {index}")
        self._buses[index] = _Hub(ports)

    def add_hub(self, address: UsbAddress) -> None:
        """Add the ports of a hub, which itself takes one."""
        bus, port = address.bus or 0, address.port or ""
        hub, number = self._find(bus, port)
        if number in hub.hubs:
            raise _xml_error(f"Duplicate USB hub on bus {bus} port {port}")
        hub.used |= 1 << number
        hub.hubs[number] = _Hub(HUB_PORTS)

    def reserve(self, address: UsbAddress) -> None:
        """Take a port. Raises ``LibvirtError`` when it does not exist or is taken."""
        bus, port = address.bus or 0, address.port or ""
        hub, number = self._find(bus, port)
        if hub.used >> number & 1:
            raise _xml_error(f"Duplicate USB address bus {bus} port {port}")
        hub.used |= 1 << number

    def release(self, address: UsbAddress) -> None:
        """Give a port back, and with it those of a hub in it."""
        hub, number = self._find(address.bus or 0, address.port or "")
        hub.used &= ~(1 << number)
        hub.hubs.pop(number, None)

    def next_free(self, bus: int | None = None) -> UsbAddress:
        """A free port, on a given bus or on the first that has one; near the controller before behind hubs."""
        if bus is not None and bus not in self._buses:
            raise _xml_error(f"USB bus {bus} requested but no controller with that index is present")
        for index in sorted(self._buses) if bus is None else (bus,):
            path = self._free_path(self._buses[index], 1)
            if path is not None:
                return UsbAddress(bus=index, port=path)
        raise _internal("No free USB ports")

    def _free_path(self, hub: _Hub, depth: int) -> str | None:
        number = _first_clear(hub.used)
        if number <= hub.ports:
            return str(number)
        if depth < _USB_DEPTH:
            for number in sorted(hub.hubs):
                path = self._free_path(hub.hubs[number], depth + 1)
                if path is not None:
                    return f"{number}.{path}"
        return None

    def _find(self, bus: int, port: str) -> tuple[_Hub, int]:
        """The hub that a path leads to, and the last port of it."""
        hub = self._buses.get(bus)
        if hub is None:
            raise _xml_error(f"Missing USB bus {bus}")
        *path, last = map(int, port.split("."))
        for number in path:
            if number > hub.ports:
                raise _xml_error(f"port {number} out of range in USB address bus: {bus} port: {port}")
            if number not in hub.hubs:
                raise _xml_error(f"there is no hub at port {number} in USB address bus: {bus} port: {port}")
            hub = hub.hubs[number]
        if last > hub.ports:
            raise _xml_error(f"requested USB port {port} not present on USB bus {bus}")
        return hub, last


class VirtioSerialPorts:
    """The ports of all virtio-serial controllers. Port 0 is for a console, and never counts as taken."""

    def __init__(self) -> None:
        self._controllers: dict[int, tuple[int, int]] = {}  # index: number of ports, bits of those in use

    def add_controller(self, index: int, ports: int | None = None) -> None:
        """Add a controller with so many ports, by default as many as there can be."""
        if index in self._controllers:
            raise _internal(f"virtio serial controller with index {index} already exists in the address set")
        self._controllers[index] = (_VIRTIO_SERIAL_PORTS if ports is None else ports, 0)

    def reserve(self, address: VirtioSerialAddress) -> None:
        """Take a port. Raises ``LibvirtError`` when it does not exist or is taken."""
        index, port = address.controller or 0, address.port or 0
        if not port:
            return
        if index not in self._controllers:
            raise _xml_error(f"virtio serial controller {index} is missing")
        ports, used = self._controllers[index]
        if port >= ports:
            raise _xml_error(f"virtio serial controller {index} does not have port {port}")
        if used >> port & 1:
            raise _xml_error(f"virtio serial port {port} on controller {index} is already occupied")
        self._controllers[index] = (ports, used | 1 << port)

    def release(self, address: VirtioSerialAddress) -> None:
        """Give a port back."""
        ports, used = self._controllers[address.controller or 0]
        self._controllers[address.controller or 0] = (ports, used & ~(1 << (address.port or 0)))

    def next_free(self, *, console: bool = False) -> VirtioSerialAddress | None:
        """A free port of the first controller that has one, None when there has to be another controller."""
        if not self._controllers:
            raise _internal("no virtio-serial controllers are available")
        for index in sorted(self._controllers):
            ports, used = self._controllers[index]
            port = 0 if console else _first_clear(used | 1)
            if port < ports:
                return VirtioSerialAddress(controller=index, bus=0, port=port)
        return None

    def next_free_of(self, index: int) -> VirtioSerialAddress:
        """A free port, other than 0, of the controller that a device asked for."""
        if index not in self._controllers:
            raise _internal(f"virtio-serial controller {index} not available")
        ports, used = self._controllers[index]
        port = _first_clear(used | 1)
        if port >= ports:
            raise _xml_error(f"Unable to find a free port on virtio-serial controller {index}")
        return VirtioSerialAddress(controller=index, bus=0, port=port)


class ScsiUnits:
    """The units of all SCSI controllers, which disks share with SCSI devices of the host."""

    def __init__(self) -> None:
        self._holders: dict[tuple[int, int, int, int], object] = {}

    @staticmethod
    def key(address: DriveAddress) -> tuple[int, int, int, int]:
        """Controller, bus, target, unit."""
        return address.controller or 0, address.bus or 0, address.target or 0, address.unit or 0

    def holder(self, address: DriveAddress) -> object | None:
        """The device at an address."""
        return self._holders.get(self.key(address))

    def reserve(self, address: DriveAddress, device: object) -> None:
        """Take a unit; that nobody else has it is for the caller to see, since libvirt's words for it differ."""
        self._holders.setdefault(self.key(address), device)

    def release(self, address: DriveAddress) -> None:
        """Give a unit back."""
        self._holders.pop(self.key(address), None)

    def next_free(self) -> DriveAddress:
        """The first unit that is free on the lowest controller, be there such a controller or not."""
        controller = 0
        while True:
            for unit in range(_SCSI_UNITS):
                if (controller, 0, 0, unit) not in self._holders:
                    return DriveAddress(controller=controller, bus=0, target=0, unit=unit)
            controller += 1


class MemorySlots:
    """The slots that a domain has for memory devices."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._used = 0

    def reserve(self, address: DimmAddress) -> None:
        """Take a slot. Raises ``LibvirtError`` when it does not exist or is taken."""
        slot = address.slot or 0
        if slot >= self._slots:
            raise _unsupported(f"memory device slot '{slot}' exceeds slots count '{self._slots}'")
        if self._used >> slot & 1:
            raise _unsupported(f"memory device slot '{slot}' is already being used by another memory device")
        self._used |= 1 << slot

    def release(self, address: DimmAddress) -> None:
        """Give a slot back."""
        self._used &= ~(1 << (address.slot or 0))

    def next_free(self) -> DimmAddress:
        """The lowest free slot."""
        slot = _first_clear(self._used)
        if slot >= self._slots:
            raise _internal("failed to find an empty memory slot", c.VIR_FROM_QEMU)
        return DimmAddress(slot=slot)


def _unsupported(detail: str) -> LibvirtError:
    return LibvirtError(c.VIR_ERR_CONFIG_UNSUPPORTED, detail, domain=c.VIR_FROM_QEMU)
