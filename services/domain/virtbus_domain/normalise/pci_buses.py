"""The PCI buses of one domain: which kinds of device each takes, and which functions on it are in use.

What fits where is a matter of bits. A device's *kind* says what it has to be plugged into (one of the types below) and
how (the other bits); each bus has the bits that it accepts. The values are libvirt's own, because a refusal may show
them. A place (bus, slot, function) is one number inside, so that looking for a free one costs little.

``PciBuses`` serves define, which also asks it how many buses there have to be (``growing``), and hot-plug, which keeps
one per running domain.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable
from typing import Any

from virtbus_domain.xml.address import PciAddress
from virtbus_domain.xml.controller import Controller
from virtbus_domain.xml.iommu import Iommu
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

# How a device is plugged in, or what a bus allows: at libvirt's own choice, at run time, together with its like as
# functions of one slot, only as part of the root bus.
AUTOASSIGN, HOTPLUGGABLE, AGGREGATE, INTEGRATED = 1 << 0, 1 << 1, 1 << 2, 1 << 12
# What it is plugged into.
PCI_DEVICE, PCIE_DEVICE, ROOT_PORT, UPSTREAM_PORT, DOWNSTREAM_PORT = 1 << 3, 1 << 4, 1 << 5, 1 << 6, 1 << 7
DMI_TO_PCI_BRIDGE, PCI_EXPANDER, PCIE_EXPANDER, PCI_BRIDGE = 1 << 8, 1 << 9, 1 << 10, 1 << 11
PCIE_TO_PCI_BRIDGE = 1 << 13

CONVENTIONAL = PCI_DEVICE | AUTOASSIGN
EXPRESS = PCIE_DEVICE | AUTOASSIGN

_ENDPOINTS = PCI_DEVICE | PCIE_DEVICE
# The types, and what a refusal calls what they need, in the order in which it looks.
_CALLED = {
    PCI_DEVICE: "standard PCI device", PCIE_DEVICE: "PCI Express device", ROOT_PORT: "pcie-root-port",
    UPSTREAM_PORT: "pcie-switch-upstream-port", DOWNSTREAM_PORT: "pcie-switch-downstream-port",
    DMI_TO_PCI_BRIDGE: "dmi-to-pci-bridge", PCIE_TO_PCI_BRIDGE: "pcie-to-pci-bridge",
    PCI_EXPANDER: "pci-expander-bus", PCIE_EXPANDER: "pcie-expander-bus", PCI_BRIDGE: "pci-bridge",
}
_TYPES = sum(_CALLED)
# Controllers whose want of a bus is named as such; libvirt's list lacks the pcie-to-pci-bridge.
_NAMED = (ROOT_PORT, UPSTREAM_PORT, DOWNSTREAM_PORT, DMI_TO_PCI_BRIDGE, PCI_EXPANDER, PCIE_EXPANDER, PCI_BRIDGE)

# What the controllers that have a place themselves are plugged into.
CONTROLLER_KINDS = {
    "pci-bridge": PCI_BRIDGE, "dmi-to-pci-bridge": DMI_TO_PCI_BRIDGE, "pcie-to-pci-bridge": PCIE_TO_PCI_BRIDGE,
    "pcie-root-port": ROOT_PORT | AGGREGATE, "pcie-switch-upstream-port": UPSTREAM_PORT,
    "pcie-switch-downstream-port": DOWNSTREAM_PORT, "pci-expander-bus": PCI_EXPANDER,
    "pcie-expander-bus": PCIE_EXPANDER,
}

_BRIDGED = PCI_DEVICE | PCI_BRIDGE | AUTOASSIGN | HOTPLUGGABLE
_PORT = PCIE_DEVICE | UPSTREAM_PORT | PCIE_TO_PCI_BRIDGE | AUTOASSIGN | HOTPLUGGABLE
# What the bus of each controller accepts, and its first and last slot.
_BUSES = {
    "pci-root": (_BRIDGED | PCI_EXPANDER, 1, 31),
    "pci-bridge": (_BRIDGED, 1, 31),
    "pci-expander-bus": (_BRIDGED, 0, 31),
    "pcie-to-pci-bridge": (_BRIDGED, 1, 31),
    "dmi-to-pci-bridge": (PCI_DEVICE | PCI_BRIDGE, 0, 31),
    "pcie-root": (PCIE_DEVICE | ROOT_PORT | DMI_TO_PCI_BRIDGE | PCIE_EXPANDER, 1, 31),
    "pcie-root-port": (_PORT, 0, 0),
    "pcie-switch-downstream-port": (_PORT, 0, 0),
    "pcie-switch-upstream-port": (DOWNSTREAM_PORT, 0, 31),
    "pcie-expander-bus": (ROOT_PORT | DMI_TO_PCI_BRIDGE, 0, 31),
}
_SLOTS = {model: (2 << last) - (1 << first) for model, (_, first, last) in _BUSES.items()}


# Devices that are not simply plugged into whatever slot there is, when their document gives them one.
_UNUSUAL = (Controller, Iommu)


def _internal(detail: str) -> LibvirtError:
    return LibvirtError(c.VIR_ERR_INTERNAL_ERROR, detail, domain=c.VIR_FROM_DOMAIN)


def _xml_error(detail: str) -> LibvirtError:
    return LibvirtError(c.VIR_ERR_XML_ERROR, detail, domain=c.VIR_FROM_DOMAIN)


def place_of(address: PciAddress) -> int:
    """Bus, slot and function as one number."""
    return (address.bus or 0) << 8 | (address.slot or 0) << 3 | (address.function or 0)


def address_of(place: int) -> PciAddress:
    """The address of a place."""
    return PciAddress(domain=0, bus=place >> 8, slot=place >> 3 & 31, function=place & 7)


def is_empty(address: PciAddress) -> bool:
    """Whether an address says no more than that there shall be one."""
    return not (address.domain or address.bus or address.slot)


def wants_address(device: Any) -> bool:
    """Whether a device has no address, or one that says no more than that it is on PCI."""
    address = device.address
    return address is None or (type(address) is PciAddress and is_empty(address))


def _shown(place: int, domain: int = 0) -> str:
    return f"{domain:04x}:{place >> 8:02x}:{place >> 3 & 31:02x}.{place & 7:x}"


class PciBuses:
    """Buses by the number of their controller, and who holds which function on them.

    While it is ``growing``, a device for which there is no place brings along the buses that it needs.
    """

    __slots__ = ("_accepted", "_aggregates", "_free", "_functions", "_holders", "_search_from", "_slots", "growing",
                 "models")

    def __init__(self) -> None:
        self.growing = False
        self.models: list[str] = []
        self._accepted: list[int] = []
        # Per bus, a bit for each slot that it has, and for each that nothing sits in.
        self._slots: list[int] = []
        self._free: list[int] = []
        # Functions in use, as bits, by bus and slot; whoever holds them, by place; slots whose functions are ports.
        self._functions: dict[int, int] = {}
        self._holders: dict[int, object] = {}
        self._aggregates: list[int] = []
        # By kind, the first bus that may still have room. Room only gets less until something is released.
        self._search_from: dict[int, int] = {}

    def copy(self) -> PciBuses:
        """The same buses, to try something on."""
        other = PciBuses()
        other.growing = self.growing
        other.models, other._accepted = self.models[:], self._accepted[:]
        other._slots, other._free = self._slots[:], self._free[:]
        other._functions, other._holders = self._functions.copy(), self._holders.copy()
        other._aggregates = self._aggregates[:]
        return other

    def add(self, model: str, *, hotplug: bool = True) -> None:
        """Add the next bus, that of a controller of this model; ``hotplug`` is what its document says of that."""
        accepted, slots = _BUSES[model][0], _SLOTS[model]
        self.models.append(model)
        self._accepted.append(accepted if hotplug else accepted & ~HOTPLUGGABLE)
        self._slots.append(slots)
        self._free.append(slots)

    def settle(self) -> None:
        """Grow no more, and let the ports that came along be ports like any other."""
        self.growing = False
        self._search_from.clear()
        for bus, model in enumerate(self.models):
            if self._accepted[bus] == PCIE_TO_PCI_BRIDGE:
                self._accepted[bus] = _BUSES[model][0]

    def is_full(self) -> bool:
        """Whether something sits in each slot of each bus."""
        return not any(self._free)

    def in_use(self, place: int) -> bool:
        """Whether something sits in the slot of a place."""
        return place >> 3 in self._functions

    def holder(self, address: PciAddress) -> object | None:
        """The device at an address; None when nobody is there, or a part of the chipset that no document shows."""
        return self._holders.get(place_of(address))

    def first_of_many(self) -> list[object]:
        """The devices that share their slot with others and are its function 0."""
        shared = (slot for slot, functions in self._functions.items() if functions & ~1)
        return [self._holders[slot << 3] for slot in shared if slot << 3 in self._holders]

    def count_free(self, kind: int) -> int:
        """How many empty slots there are that a kind of device can have."""
        how, types = kind & (AUTOASSIGN | HOTPLUGGABLE), kind & _TYPES
        return sum(slots.bit_count() for slots, allowed in zip(self._free, self._accepted, strict=True)
                   if allowed & types and allowed & how == how)

    def claim(self, devices: Iterable[Any], usual_kind: Callable[[Any], int]) -> list[Any]:
        """Take the places that documents give devices, as long as nothing speaks against it; the devices that are left.

        ``reserve`` says what speaks against it. Most devices need no more than this, which is in one loop for speed.
        """
        accepted, slots, free, in_use, holders = self._accepted, self._slots, self._free, self._functions, self._holders
        count, left = len(self.models), []
        for device in devices:
            address = device.address
            if type(address) is not PciAddress or not (address.bus or address.slot or address.domain):
                continue
            kind = usual_kind(device) if type(device) in _UNUSUAL else _ENDPOINTS
            bus, slot, function = address.bus or 0, address.slot or 0, address.function or 0
            if bus < count and not address.domain and accepted[bus] & kind & _TYPES and slots[bus] >> slot & 1:
                key = bus << 5 | slot
                functions = in_use.get(key, 0)
                if not functions >> function & 1:
                    if not functions:
                        free[bus] &= ~(1 << slot)
                        if kind & AGGREGATE:
                            insort(self._aggregates, key)
                    in_use[key] = functions | 1 << function
                    holders[key << 3 | function] = device
                    continue
            left.append(device)
        return left

    def reserve(self, address: PciAddress, device: object | None, kind: int) -> None:
        """Take the place that a document gives a device. Raises ``LibvirtError`` where the device cannot be.

        What one asks for outright may be a PCI Express device in a conventional slot, or the reverse.
        """
        place, domain = place_of(address), address.domain or 0
        if kind & HOTPLUGGABLE and place & 7:
            raise _internal("Only PCI device addresses with function=0 are supported")
        named = _shown(place, domain)
        if self.growing and place >> 8 >= len(self.models):
            bus = self._grow(place >> 8, kind)
            if bus != place >> 8:  # the place that was asked for is taken by the port of the bridge that it needs
                address.bus, place = bus, bus << 8 | place & 255
        self._check(named, domain, place, kind)
        self.take(place, device, kind)

    def take(self, place: int, device: object | None, kind: int) -> None:
        """Take a place that is known to be on a bus for this kind, as if a document had asked for it."""
        slot, bit = place >> 3, 1 << (place & 7)
        functions = self._functions.get(slot, 0)
        if functions & bit:
            raise _xml_error(f"Attempted double use of PCI Address {_shown(place)}")
        if not functions:
            self._free[slot >> 5] &= ~(1 << (slot & 31))
            if kind & AGGREGATE:
                insort(self._aggregates, slot)
        self._functions[slot] = functions | bit
        if device is not None:
            self._holders[place] = device

    def release(self, address: PciAddress) -> None:
        """Give a place back."""
        place = place_of(address)
        slot = place >> 3
        functions = self._functions.get(slot, 0) & ~(1 << (place & 7))
        self._holders.pop(place, None)
        self._search_from.clear()
        if functions:
            self._functions[slot] = functions
        elif self._functions.pop(slot, 0):
            self._free[slot >> 5] |= 1 << (slot & 31)
            if slot in self._aggregates:
                self._aggregates.remove(slot)

    def next_free(self, kind: int) -> PciAddress:
        """An address for a device that has none; it stays free until it is reserved. Raises ``LibvirtError``."""
        return address_of(self.find(kind))

    def seat(self, device: object | None, kind: int, function: int = 0) -> int:
        """Find a free place and take it; where that is."""
        place = self.find(kind, function)
        self.take(place, device, kind)
        return place

    def find(self, kind: int, function: int = 0) -> int:
        """The first free place for a kind of device: the lowest bus that it fits, and there the lowest empty slot.

        Root ports fill up all eight functions of a slot that they began.
        """
        if not self.models:
            raise _xml_error("No PCI buses available")
        free, accepted, count = self._free, self._accepted, len(self._free)
        how, types = kind & (AUTOASSIGN | HOTPLUGGABLE), kind & _TYPES
        for bus in range(self._search_from.get(kind, 0), count):
            allowed = accepted[bus]
            if kind & INTEGRATED:
                if bus:
                    break
                allowed |= AUTOASSIGN
            if not allowed & types or allowed & how != how:
                continue
            slots = free[bus]
            place = (bus << 5 | (slots & -slots).bit_length() - 1) << 3 | function if slots else -1
            if kind & AGGREGATE:
                place = self._find_function(bus, place)
            if place >= 0:
                self._search_from[kind] = bus
                return place
        if not self.growing:
            raise _internal("No more available PCI slots")
        bus = self._grow(count, kind)
        self._search_from[kind] = bus
        return bus << 8 | _BUSES[self.models[bus]][1] << 3 | function

    def _find_function(self, bus: int, place: int) -> int:
        """A function beside others of its like, if that comes before an empty slot."""
        for slot in self._aggregates:
            if slot >> 5 == bus and (place < 0 or slot < place >> 3):
                free = ~self._functions[slot] & 255
                if free:
                    return slot << 3 | (free & -free).bit_length() - 1
        return place

    def _check(self, named: str, domain: int, place: int, kind: int) -> None:
        if not self.models:
            raise _xml_error("No PCI buses available")
        if domain:
            raise _xml_error(f"Invalid PCI address {named}. Only PCI domain 0 is available")
        bus, slot = place >> 8, place >> 3 & 31
        if bus >= len(self.models):
            raise _xml_error(f"Invalid PCI address {named}. Only PCI buses up to {len(self.models) - 1} are available")
        if kind & INTEGRATED and bus:
            raise _xml_error(f"The device at PCI address {named} needs to be an integrated device (bus=0)")
        allowed = self._accepted[bus]
        if allowed & _ENDPOINTS:
            allowed |= _ENDPOINTS
        if kind & PCI_BRIDGE:
            kind |= PCI_DEVICE
        if kind & HOTPLUGGABLE and not allowed & HOTPLUGGABLE:
            raise _xml_error(f"The device at PCI address {named} requires hotplug capability, but the PCI controller "
                             f"with index='{bus}' doesn't support hotplug")
        if not allowed & kind & _TYPES:
            needed = next(called for type_, called in _CALLED.items() if kind & type_)
            raise _xml_error(f"The device at PCI address {named} cannot be plugged into the PCI controller with "
                             f"index='{bus}'. It requires a controller that accepts a {needed}.")
        _, first, last = _BUSES[self.models[bus]]
        if slot < first:
            raise _xml_error(f"Invalid PCI address {named}. slot must be >= {first}")
        if slot > last:
            raise _xml_error(f"Invalid PCI address {named}. slot must be <= {last}")

    def _grow(self, bus: int, kind: int) -> int:
        """Add buses up to this number, of which the last has room for the kind; the last one's number."""
        if kind & PCI_DEVICE:
            model = "pci-bridge"
            if not any(accepted & PCI_BRIDGE for accepted in self._accepted):
                # No conventional bus at all: it hangs from a port that is for nothing else. libvirt counts both.
                bus = max(bus, len(self.models) + 1)
                self.add("pcie-root-port")
                self._accepted[-1] = PCIE_TO_PCI_BRIDGE
                self.add("pcie-to-pci-bridge")
        elif kind & (PCIE_DEVICE | UPSTREAM_PORT):
            model = "pcie-root-port"
        else:
            needed = next((_CALLED[type_] for type_ in _NAMED if kind & type_), None)
            if needed is None:
                raise _internal(f"Cannot automatically add a new PCI bus for a device with connect flags {kind:02x}")
            raise _internal(f"a PCI slot is needed to connect a PCI controller model='{needed}', but none is "
                            "available, and it cannot be automatically added")
        while len(self.models) <= bus:
            self.add(model)
        return bus
