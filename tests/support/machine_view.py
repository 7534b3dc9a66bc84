"""What QEMU says that a guest has, held against what its document says: every device, where it sits, what is under it.

Each function looks at one aspect and notes what is otherwise than the document has it. QEMU is asked by QMP only, and
for what it made of its options (the object tree, the lists of block nodes, character devices, CPUs), not for the
options themselves.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.block_view import look_at_disks
from tests.support.real_qemu import RealGuest
from virtbus_domain.xml.address import (
    CcidAddress,
    DimmAddress,
    DriveAddress,
    IsaAddress,
    PciAddress,
    UsbAddress,
    VirtioSerialAddress,
)
from virtbus_domain.xml.bitmap import numbers
from virtbus_domain.xml.controller import Controller
from virtbus_domain.xml.domain import Devices
from virtbus_shared.service.xml_lines import Element, lines_of

# SCSI adapters without logical units below their targets.
_NARROW = ("lsilogic", "am53c974", "dc390")


@dataclass
class View:
    """A guest, and what was found to be otherwise."""

    guest: RealGuest
    differences: list[str] = field(default_factory=list)

    def expect(self, what: str, wanted: object, found: object) -> None:
        """Note when ``found`` is not what the document wants."""
        if wanted != found:
            self.differences.append(f"{what}: the document says {wanted!r}, QEMU {found!r}")

    @property
    def devices(self) -> Devices:
        """The document's devices."""
        return self.guest.setup.devices

    def all_devices(self) -> Iterator[tuple[str, Any]]:
        """Every device with its family."""
        for family in lines_of(Devices):
            found = getattr(self.devices, family)
            for device in found if isinstance(found, list) else [found]:
                if isinstance(device, Element) and getattr(device, "alias", None):
                    yield family, device

    def controller(self, kind: str, index: int | None) -> Controller:
        """The first controller of a kind with a number: companions of USB ones have that of another."""
        return next(controller for controller in self.devices.controllers
                    if (controller.type, controller.index or 0) == (kind, index or 0))


async def differences(guest: RealGuest) -> list[str]:
    """All that is otherwise."""
    view = View(guest)
    for look in _ASPECTS:
        await look(view)
    return view.differences


# --- the machine ----------------------------------------------------------------------------------------------------


async def _identity(view: View) -> None:
    domain, ask = view.guest.model, view.guest.ask
    view.expect("name", domain.name, (await ask("query-name"))["name"])
    view.expect("uuid", domain.uuid, (await ask("query-uuid"))["UUID"])
    view.expect("state", "prelaunch", (await ask("query-status"))["status"])
    current = await ask("qom-get", path="/machine", property="type")
    view.expect("machine", domain.os.machine if domain.os else None, current.removesuffix("-machine"))


async def _memory(view: View) -> None:
    domain = view.guest.model
    cells = domain.cpu.numa if domain.cpu else []
    modules = sum(memory.size or 0 for memory in view.devices.memories)
    initial = sum(cell.memory or 0 for cell in cells) if cells else (domain.memory or 0) - modules
    summary = await view.guest.ask("query-memory-size-summary")
    view.expect("memory", _whole_mib(initial), summary["base-memory"] // 1024)
    backing = {back_end["id"]: back_end for back_end in await view.guest.ask("query-memdev") if "id" in back_end}
    for cell in cells:
        back_end = backing.get(f"ram-node{cell.id}", {})
        view.expect(f"size of cell {cell.id}", _whole_mib(cell.memory or 0) * 1024, back_end.get("size"))
    tune = domain.numatune
    bound = {node.cellid: node.nodeset for node in tune.memnodes} if tune else {}
    for cell in cells:
        nodeset = bound.get(cell.id) or (tune.memory.nodeset if tune and tune.memory else None)
        if nodeset is not None:
            nodes = backing.get(f"ram-node{cell.id}", {}).get("host-nodes")
            view.expect(f"host nodes of cell {cell.id}", list(numbers(nodeset)), nodes)


def _whole_mib(kibibytes: int) -> int:
    return -(-kibibytes // 1024) * 1024


async def _modules(view: View) -> None:
    found = {item["data"]["id"]: item["data"] for item in await view.guest.ask("query-memory-devices")}
    view.expect("memory modules", {str(memory.alias) for memory in view.devices.memories}, set(found))
    for memory in view.devices.memories:
        data, name = found.get(str(memory.alias), {}), memory.alias
        view.expect(f"back end of {name}", f"/objects/mem{name}", data.get("memdev"))
        if memory.node is not None:
            view.expect(f"cell of {name}", memory.node, data.get("node"))
        if isinstance(memory.address, DimmAddress):
            view.expect(f"slot of {name}", memory.address.slot, data.get("slot"))
            if memory.address.base is not None:
                view.expect(f"base of {name}", memory.address.base, data.get("addr"))
        view.expect(f"size of {name}", _whole_mib(memory.size or 0) * 1024, data.get("size", data.get("max-size")))


async def _cpus(view: View) -> None:
    domain = view.guest.model
    most, topology = domain.vcpu or 1, domain.cpu.topology if domain.cpu else None
    present = await view.guest.ask("query-cpus-fast")
    view.expect("CPUs", domain.vcpu_current or most, len(present))
    if not view.guest.setup.machine.hotplugs_cpus:
        return  # it does not tell of those that there may be
    possible = await view.guest.ask("query-hotpluggable-cpus")
    view.expect("possible CPUs", most, sum(cpu["vcpus-count"] for cpu in possible))
    counts = {"socket-id": most, "core-id": 1, "thread-id": 1}
    if topology is not None:
        counts = {"socket-id": topology.sockets or 1, "die-id": topology.dies or 1, "core-id": topology.cores or 1,
                  "thread-id": topology.threads or 1}
    for level, count in counts.items():
        if count > 1 or level != "die-id":
            view.expect(f"number of {level}", count, len({cpu["props"].get(level) for cpu in possible}))
    for cell in domain.cpu.numa if domain.cpu else []:
        inside = {cpu["cpu-index"] for cpu in present if cpu["props"].get("node-id") == cell.id}
        view.expect(f"CPUs of cell {cell.id}", set(numbers(cell.cpus or "")) & {cpu["cpu-index"] for cpu in present},
                    inside)


async def _threads(view: View) -> None:
    domain = view.guest.model
    found = {thread["id"] for thread in await view.guest.ask("query-iothreads")}
    view.expect("number of I/O threads", max(domain.iothreads or 0, len(domain.iothreadids)), len(found))
    view.expect("I/O threads", {f"iothread{thread.id}" for thread in domain.iothreadids} - found, set())


async def _firmware(view: View) -> None:
    os_part = view.guest.model.os
    if os_part is None or os_part.loader is None or os_part.loader.type != "pflash":
        return
    nodes = {node["node-name"]: node for node in await view.guest.ask("query-named-block-nodes", flat=True)}
    images = [(os_part.loader.path, os_part.loader.readonly is True)]
    if os_part.nvram is not None and os_part.nvram.path and not os_part.loader.stateless:
        images.append((os_part.nvram.path, False))
    for number, (path, read_only) in enumerate(images):
        name = await view.guest.ask("qom-get", path="/machine", property=f"pflash{number}")
        view.expect(f"flash {number}", (path, read_only), (nodes[name]["file"], nodes[name]["ro"]))


# --- names ----------------------------------------------------------------------------------------------------------


async def _names(view: View) -> None:
    listed = {item["name"] for item in await view.guest.ask("qom-list", path="/machine/peripheral")} - {"type"}
    named: set[str] = set()
    for family, device in view.all_devices():
        named.add(device.alias)
        if device.alias not in listed and without_object(family, device, q35=view.guest.setup.is_q35) is None:
            view.differences.append(f"{device.alias}: QEMU has no such device")
    extra = {name for name in listed - named if name != "vmgenid0" and name.split("-codec")[0] not in named}
    view.expect("devices beyond the document's", set(), extra)


def without_object(family: str, device: Any, *, q35: bool) -> str | None:
    """Why QEMU has no object of a device's name, if it must not."""
    kind, model = getattr(device, "type", None), getattr(device, "model", None)
    match family:
        case "controllers":
            if model in ("pci-root", "pcie-root") or (device.index == 0 and kind in _BUILT_IN[q35]):
                return "part of the machine"
            if kind == "usb" and (model == "none" or device.master_startport is not None):
                return "none, or one that has the name of another"
        case "inputs" if device.bus == "ps2" or kind == "evdev":
            return "part of every PC, or no device of the guest's"
        case "sounds" if model == "pcspk":
            return "part of every PC"
        case "videos" | "memballoon" if model == "none":
            return "none"
        case "panics" if model == "hyperv":
            return "a feature of the CPU"
        case "channels" if device.target is not None and device.target.type == "guestfwd":
            return "an address in the guest's network"
    return None


_BUILT_IN = {True: ("sata",), False: ("ide", "fdc", "isa")}


# --- places ---------------------------------------------------------------------------------------------------------


async def _places(view: View) -> None:
    root = {device["qdev_id"]: (device["slot"], device["function"])
            for bus in await view.guest.ask("query-pci") if bus["bus"] == 0 for device in bus["devices"]}
    for family, device in view.all_devices():
        if without_object(family, device, q35=view.guest.setup.is_q35) is not None or device.address is None:
            continue
        if family == "consoles" and any(device.alias == serial.alias for serial in view.devices.serials):
            continue
        match device.address:
            case PciAddress():
                await _pci(view, device, root)
            case UsbAddress():
                await _usb(view, device)
            case VirtioSerialAddress():
                await _port(view, device)
            case DriveAddress():
                await _drive(view, device)
            case CcidAddress():
                await _slot(view, device)
            case IsaAddress():
                await _isa(view, device)


async def _bus(view: View, device: Any) -> tuple[str, str]:
    """The device that a device's bus belongs to, and the bus."""
    path = (await view.guest.get(device.alias, "parent_bus")).removeprefix("/machine/peripheral/").split("/")
    return path[0], path[-1]


async def _pci(view: View, device: Any, root: Mapping[str, tuple[int, int]]) -> None:
    name, address = device.alias, device.address
    where = address.slot or 0, address.function or 0
    bus = view.controller("pci", address.bus)
    view.expect(f"bus of {name}", bus.alias, (await _bus(view, device))[1])
    view.expect(f"place of {name} on the first bus", None if address.bus else where, root.get(name))
    place = int(await view.guest.get(name, "addr"))
    view.expect(f"place of {name}", where, divmod(place, 8))
    if address.multifunction is not None:
        view.expect(f"multifunction of {name}", address.multifunction, await view.guest.get(name, "multifunction"))


async def _usb(view: View, device: Any) -> None:
    name, controller = device.alias, view.controller("usb", device.address.bus)
    view.expect(f"bus of {name}", (controller.alias, f"{controller.alias}.0"), await _bus(view, device))
    view.expect(f"port of {name}", device.address.port, await view.guest.get(name, "port"))


async def _port(view: View, device: Any) -> None:
    name, controller = device.alias, view.controller("virtio-serial", device.address.controller)
    view.expect(f"bus of {name}", (controller.alias, f"{controller.alias}.0"), await _bus(view, device))
    view.expect(f"port of {name}", device.address.port, await view.guest.get(name, "nr"))


async def _drive(view: View, device: Any) -> None:
    name, address, q35 = device.alias, device.address, view.guest.setup.is_q35
    number, unit = address.controller or 0, address.unit or 0
    owner, bus = await _bus(view, device)
    places: dict[str, object] = {}
    match device.target_bus:
        case "ide":
            view.expect(f"bus of {name}", f"ide.{address.bus or 0}", bus)
            places = {"unit": unit}
        case "sata" if number == 0 and q35:
            view.expect(f"bus of {name}", f"ide.{unit}", bus)
        case "sata":
            controller = view.controller("sata", number)
            view.expect(f"bus of {name}", (controller.alias, f"{controller.alias}.{unit}"), (owner, bus))
        case "fdc":
            places = {"unit": unit}
        case "scsi":
            controller = view.controller("scsi", number)
            view.expect(f"bus of {name}", (controller.alias, f"{controller.alias}.0"), (owner, bus))
            places = {"channel": address.bus or 0, "scsi-id": address.target or 0, "lun": unit}
            if controller.model in _NARROW:
                places = {"channel": 0, "scsi-id": unit, "lun": 0}
    for what, wanted in places.items():
        view.expect(f"{what} of {name}", wanted, await view.guest.get(name, what))


async def _slot(view: View, device: Any) -> None:
    name, controller = device.alias, view.controller("ccid", device.address.controller)
    view.expect(f"bus of {name}", (controller.alias, f"{controller.alias}.0"), await _bus(view, device))


async def _isa(view: View, device: Any) -> None:
    for what, wanted in (("iobase", device.address.iobase), ("irq", device.address.irq)):
        if wanted is not None:
            known = "ioport" if type(device).__name__ == "Panic" else what
            view.expect(f"{what} of {device.alias}", wanted, await view.guest.get(device.alias, known))


# --- what devices are made of ---------------------------------------------------------------------------------------

async def _cards(view: View) -> None:
    for interface in view.devices.interfaces:
        mac = await view.guest.get(str(interface.alias), "mac")
        view.expect(f"MAC address of {interface.alias}", interface.mac, mac)


async def _boot(view: View) -> None:
    override = view.guest.setup.domain.qemu_override
    own = {device.alias for device in override.devices} if override else set()  # has what the user says instead
    for name, order in view.guest.setup.boot.items():
        if name in own:
            continue
        device = next((device for _, device in view.all_devices() if device.alias == name), None)
        if device is None or getattr(device, "target_bus", None) == "fdc":
            continue  # left out; a floppy drive's place is its controller's
        view.expect(f"boot order of {name}", order, await view.guest.get(name, "bootindex"))


async def _character_devices(view: View) -> None:
    found = {item["label"]: item["filename"] for item in await view.guest.ask("query-chardev")}
    devices = view.devices
    for device in (*devices.serials, *devices.parallels, *devices.consoles, *devices.channels):
        filename = found.get(f"char{device.alias}")
        view.expect(f"character device of {device.alias}", True, filename is not None)
        source = device.source[0] if device.source else None
        if device.type == "unix" and source is not None and filename is not None:
            listens = source.mode != "connect"
            view.expect(f"listening of {device.alias}", listens, ",server=on" in filename)
            view.expect(f"path of {device.alias}", listens, str(source.path) in filename)
        if device.type == "pty":
            view.expect(f"terminal of {device.alias}", True, str(filename).startswith("pty:/dev/pts/"))


async def _servers(view: View) -> None:
    for graphics in view.devices.graphics:
        listen = graphics.listens[0] if graphics.listens else None
        if graphics.type == "vnc":
            servers = [server for display in await view.guest.ask("query-vnc-servers") for server in display["server"]]
            services = {server["service"] for server in servers}
            if listen is not None and listen.type == "socket":
                view.expect("socket of VNC", True, listen.socket in services)
            elif listen is None or listen.type != "none":
                view.expect("port of VNC", True, str(graphics.port) in services)
                if listen is not None and listen.address:
                    view.expect("address of VNC", {listen.address}, {server["host"] for server in servers})
        elif graphics.type == "spice":
            spice = await view.guest.ask("query-spice")
            view.expect("SPICE", True, spice["enabled"])
            view.expect("ticket of SPICE", "spice" if graphics.passwd else "none", spice["auth"])
            if listen is None or listen.type in ("address", "network"):
                view.expect("port of SPICE", graphics.port, spice.get("port"))


_ASPECTS: tuple[Callable[[View], Awaitable[None]], ...] = (
    _identity, _memory, _modules, _cpus, _threads, _firmware, _names, _places, look_at_disks, _cards, _boot,
    _character_devices, _servers)
