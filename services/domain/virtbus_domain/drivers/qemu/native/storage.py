"""Disks read back: the device, the block graph under it from the top down, and a target for the guest's name of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from virtbus_domain.drivers.qemu.command.block import CACHE, FORMATS, IOTUNE
from virtbus_domain.drivers.qemu.names import NARROW_SCSI
from virtbus_domain.drivers.qemu.native.options import refusal
from virtbus_domain.drivers.qemu.native.reader import Reader, encrypted, transport
from virtbus_domain.drivers.qemu.native.sources import SOURCES
from virtbus_domain.drivers.qemu.native.values import Values
from virtbus_domain.normalise.disks import disk_index
from virtbus_domain.xml.address import DriveAddress
from virtbus_domain.xml.disk import BackingStore, Disk, DiskDriver, Iotune
from virtbus_domain.xml.storage_source import DiskSource, StorageSlice

_FORMAT_OF = {driver: ours for ours, driver in reversed(FORMATS.items())}
_LIMIT_OF = {"iops-size": "size_iops_sec"} | {theirs: ours for ours, theirs in IOTUNE.items()}
_MODE_OF = {flags: mode for mode, flags in CACHE.items()}
_VIRTIO = {"virtio-blk-pci": None, "virtio-blk-pci-transitional": "virtio-transitional",
           "virtio-blk-pci-non-transitional": "virtio-non-transitional"}
_KIND_OF = {"ide-cd": "cdrom", "scsi-cd": "cdrom", "floppy": "floppy", "scsi-block": "lun"}
_PREFIX = {"virtio": "vd", "scsi": "sd", "sata": "sd", "usb": "sd", "ide": "hd", "fdc": "fd"}
_POLICIES = {"stop": "stop", "report": "report", "ignore": "ignore", "enospc": "enospace"}
_WITH_AIO = ("file", "host_device", "host_cdrom")
_MOST_LAYERS = 200  # libvirt's own limit

Cache = tuple[bool, bool] | None  # whether it is passed by, and whether flushes are ignored


def read_disk(reader: Reader, item: Values) -> None:
    """One drive, with its medium if it has one."""
    options = DiskDriver(name="qemu")
    disk = Disk(type="file", device=_KIND_OF.get(item.kind, "disk"), driver=options, readonly=item.kind in _CDROMS)
    _sit(reader, disk, item)
    name = item.text("drive")
    cache = _graph(reader, name, disk, options) if name is not None else None
    written = item.text("write-cache")
    if cache is not None or written is not None:
        options.cache = _MODE_OF.get((*(cache or ()), written or ""))
        if options.cache is None:
            raise item.wrong("write-cache")
    _device(disk, item, options)
    reader.devices.disks.append(disk)


_CDROMS = ("ide-cd", "scsi-cd")


def _sit(reader: Reader, disk: Disk, item: Values) -> None:
    """The bus of a drive and its place there, and the letters of its target where a name tells them."""
    if item.kind in _VIRTIO or item.kind == "usb-storage":
        disk.target_bus = "usb" if item.kind == "usb-storage" else "virtio"
        reader.sit(disk, item)
        number = item.id.removeprefix(f"{disk.target_bus}-disk")
        if number.isdecimal() and len(number) < len("10000"):
            disk.target_dev = _PREFIX[disk.target_bus] + _letters(int(number))
        return
    reader.name(disk, item)
    if item.kind == "floppy":
        disk.target_bus = "fdc"
        unit = item.required_number("unit")
        controller = reader.branch(item)[1] if item.has("bus") else 0
        disk.address = DriveAddress(controller=controller, bus=0, target=0, unit=unit)
        disk.boot_order = _floppy_order(reader, unit)
        return
    bus, controller, branch = reader.branch(item)
    disk.target_bus = bus
    match bus:
        case "ide":
            unit = item.required_number("unit")
            disk.address = DriveAddress(controller=controller, bus=branch, target=0, unit=unit)
        case "sata":
            disk.address = DriveAddress(controller=controller, bus=0, target=0, unit=branch)
        case "scsi" if reader.scsi_models.get(controller) in NARROW_SCSI:
            disk.address = DriveAddress(controller=controller, bus=0, target=0, unit=item.required_number("scsi-id"))
        case "scsi":
            disk.address = DriveAddress(
                controller=controller, bus=item.required_number("channel"), target=item.required_number("scsi-id"),
                unit=item.required_number("lun"))
        case _:
            raise item.wrong("bus")


def _floppy_order(reader: Reader, unit: int) -> int | None:
    """The place of a floppy drive in the boot order, which is a property of its controller."""
    name = f"bootindex{'AB'[unit % 2]}"
    found = [item.number(name) for item in reader.command.all("-device", "isa-fdc")]
    for text in reader.command.plain.get("-global", []):
        _, is_ours, number = text.partition(f"isa-fdc.{name}=")
        if is_ours and number.isdecimal() and len(number) < len("100000"):
            found.append(int(number))
    return found[0] if found else None


def _device(disk: Disk, item: Values, options: DiskDriver) -> None:
    disk.serial, disk.vendor, disk.product = (item.text(name) for name in ("serial", "vendor", "product"))
    wwn = item.number("wwn")
    disk.wwn = None if wwn is None else f"{wwn:016x}"
    disk.shareable = item.flag("share-rw") is True
    disk.logical_block_size, disk.physical_block_size = (
        item.number("logical_block_size"), item.number("physical_block_size"))
    disk.geometry_cyls, disk.geometry_heads, disk.geometry_secs = (
        item.number(name) for name in ("cyls", "heads", "secs"))
    disk.geometry_trans = item.text("bios-chs-trans")
    disk.target_rotation_rate = item.number("rotation_rate")
    disk.target_removable = item.flag("removable") or None
    item.skip("device_id")  # the serial number or the name
    options.error_policy, rerror = item.word("werror", _POLICIES), item.word("rerror", _POLICIES)
    options.rerror_policy = None if rerror == options.error_policy else rerror
    if item.kind in _VIRTIO:
        disk.model = _VIRTIO[item.kind]
        options.iothread = item.affixed("iothread", "iothread")
        options.ioeventfd, options.event_idx = item.flag("ioeventfd"), item.flag("event_idx")
        options.queues, options.queue_size = item.number("num-queues"), item.number("queue-size")
        for name, value in transport(item).items():
            setattr(options, name, value)


DISKS: Mapping[str, Callable[[Reader, Values], None]] = dict.fromkeys(
    (*_VIRTIO, "usb-storage", "floppy", "scsi-hd", "scsi-cd", "scsi-block", "ide-hd", "ide-cd"), read_disk)


# --- the graph ------------------------------------------------------------------------------------------------------


def _graph(reader: Reader, name: str, disk: Disk, options: DiskDriver) -> Cache:
    """The nodes under a drive; what all of them say of the host's cache."""
    for node in _filters(reader, name):
        if node.kind == "copy-on-read":
            options.copy_on_read = True
            node.skip("discard")
            disk.target_dev = node.id.removeprefix("libvirt-CoR-")
        elif node.kind == "throttle":
            _limits(reader.command.named("-object", node.required_text("throttle-group")), disk)
        else:
            break
    if node.kind not in _FORMAT_OF:
        raise refusal(node.what)
    cache, options.detect_zeroes = _cache(node), node.text("detect-zeroes")
    options.metadata_cache_max_size = node.number("cache-size")
    disk.readonly = node.flag("read-only") is True
    options.discard, options.io = node.text("discard"), _storage(reader, node).text("aio")
    disk.type, options.type, disk.source = _layer(reader, node, options, cache)
    disk.backing_store = _below(reader, node, options, cache)
    return cache


def _filters(reader: Reader, name: str | None) -> Iterator[Values]:
    """The nodes from the top of a drive to that of a format."""
    for _ in range(3):  # both filters, and the format
        node = reader.command.named("-blockdev", name or "")
        yield node
        name = node.required_text("file")


def _cache(node: Values) -> Cache:
    part = node.part("cache")
    return None if part is None else (part.flag("direct") is True, part.flag("no-flush") is True)


def _limits(group: Values, disk: Disk) -> None:
    disk.iotune = Iotune(group_name=None if group.id == f"throttle-{disk.alias}" else group.id)
    limits = group.part("limits")
    for name in limits.names if limits else ():
        if limits is None or name not in _LIMIT_OF:
            raise group.wrong("limits")
        setattr(disk.iotune, _LIMIT_OF[name], limits.number(name))


def _below(reader: Reader, node: Values, options: DiskDriver, cache: Cache) -> BackingStore | None:
    """The layers below a node, which may go round in circles in a command that is not ours."""
    layers: list[BackingStore] = []
    while node.has("backing"):
        if len(layers) == _MOST_LAYERS:
            raise refusal(f"{node.what}: more than {_MOST_LAYERS} layers")
        if node.is_null("backing"):
            layers.append(BackingStore())
            break
        node = reader.command.named("-blockdev", node.required_text("backing"))
        node.expect("read-only", True)
        kind, image_format, source = _layer(reader, node, options, cache)
        layers.append(BackingStore(type=kind, format=image_format, source=source,
                                   metadata_cache_max_size=node.number("cache-size")))
    below = None
    for layer in reversed(layers):
        layer.backing_store, below = below, layer
    return below


def _storage(reader: Reader, node: Values) -> Values:
    return reader.command.named("-blockdev", node.required_text("file"))


def _layer(reader: Reader, node: Values, options: DiskDriver, cache: Cache) -> tuple[str, str, DiskSource]:
    """One layer, of which all have the same options of the host's."""
    storage = _storage(reader, node)
    if storage.kind not in SOURCES or node.kind not in _FORMAT_OF:
        raise refusal(storage.what)
    if _cache(node) != cache or _cache(storage) != cache:
        raise node.wrong("cache")
    if node.text("discard") != options.discard:
        raise node.wrong("discard")
    if storage.kind in _WITH_AIO and storage.text("aio") != options.io:
        raise storage.wrong("aio")
    storage.expect("auto-read-only", True)
    storage.expect("discard", "unmap")
    kind, source = SOURCES[storage.kind](storage)
    source.tls = encrypted(reader, storage, server=False)
    if node.has("offset"):
        source.slices = [StorageSlice(type="storage", offset=node.number("offset"), size=node.number("size"))]
    return kind, "fat" if kind == "dir" else _FORMAT_OF[node.kind], source


# --- targets --------------------------------------------------------------------------------------------------------


def _letters(index: int) -> str:
    letters, index = "", index + 1
    while index:
        index, rest = divmod(index - 1, 26)
        letters = chr(ord("a") + rest) + letters
    return letters


def settle_disks(reader: Reader) -> None:
    """Give each drive whose target nothing tells the next letters of its bus that are free."""
    disks = reader.devices.disks
    taken = {disk.target_dev for disk in disks}
    following: dict[str, int] = {}
    for disk in disks:
        bus = disk.target_bus or ""
        if disk.target_dev is None:
            prefix = _PREFIX[bus]
            index = following.get(bus, 0)
            while prefix + _letters(index) in taken:
                index += 1
            disk.target_dev = prefix + _letters(index)
            taken.add(disk.target_dev)
        following[bus] = max(following.get(bus, 0), disk_index(disk.target_dev) + 1)
