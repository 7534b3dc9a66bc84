"""The disks of a command line: the block graph under each drive, read from the top down."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from virtbus_domain.drivers.qemu.command.block import CACHE, FORMATS, IOTUNE
from virtbus_domain.drivers.qemu.native.options import CommandWords, refusal
from virtbus_domain.xml.address import DriveAddress
from virtbus_domain.xml.disk import BackingStore, Disk, DiskDriver, Iotune
from virtbus_domain.xml.storage_source import DiskSource, StorageHost, StorageSlice

_FORMAT_OF = {driver: ours for ours, driver in reversed(FORMATS.items())}
_LIMIT_OF = {theirs: ours for ours, theirs in IOTUNE.items()}
_BUS_OF = {"virtio-blk-pci": "virtio", "virtio-blk-pci-transitional": "virtio", "scsi-hd": "scsi", "scsi-cd": "scsi",
           "virtio-blk-pci-non-transitional": "virtio", "scsi-block": "scsi", "usb-storage": "usb", "floppy": "fdc"}
_KIND_OF = {"ide-cd": "cdrom", "scsi-cd": "cdrom", "floppy": "floppy", "scsi-block": "lun"}
_PREFIX = {"virtio": "vd", "scsi": "sd", "sata": "sd", "usb": "sd", "ide": "hd", "fdc": "fd"}
DISK_DRIVERS = frozenset((*_BUS_OF, "ide-hd", "ide-cd"))


class Disks:
    """Reads the drives of one command, and gives each the first target of its bus that is free."""

    def __init__(self, words: CommandWords, *, q35: bool) -> None:
        self._nodes = {item["node-name"]: item for item in words.objects("-blockdev")}
        self._groups = {item["id"]: item.get("limits", {}) for item in words.objects("-object")
                        if item["qom-type"] == "throttle-group"}
        self._q35 = q35
        self._used: dict[str, int] = {}

    def read(self, item: Mapping[str, Any], scsi_models: Mapping[int, str | None]) -> Disk:
        """One drive."""
        driver = item["driver"]
        bus = _BUS_OF.get(driver) or ("sata" if self._q35 or not item["bus"].startswith("ide") else "ide")
        disk = Disk(device=_KIND_OF.get(driver, "disk"), target_bus=bus)
        name = item["id"]
        found = re.fullmatch(r"(?:virtio-disk|usb-disk)(\d+)", name)
        disk.target_dev = self._target(_PREFIX[bus], int(found[1]) if found else None)
        if name.startswith("ua-"):
            disk.alias = name
        disk.address = self._place(item, bus, scsi_models)
        options = disk.driver = DiskDriver(name="qemu")
        if "drive" in item:
            self._graph(item["drive"], disk, options)
        self._device(item, disk, options)
        if disk.device == "cdrom":
            disk.readonly = True
        disk.type = disk.type or "file"
        return disk

    def _target(self, prefix: str, index: int | None) -> str:
        if index is None:
            index = self._used.get(prefix, -1) + 1
        self._used[prefix] = max(index, self._used.get(prefix, -1))
        letters = ""
        index += 1
        while index:
            index, rest = divmod(index - 1, 26)
            letters = chr(ord("a") + rest) + letters
        return prefix + letters

    def _place(self, item: Mapping[str, Any], bus: str, scsi_models: Mapping[int, str | None]) -> DriveAddress | None:
        found = re.fullmatch(r"(?:ide|scsi|sata|fdc)?(\d*)\.(\d+)", item.get("bus", ""))
        owner, port = (int(found[1] or 0), int(found[2])) if found else (0, 0)
        match bus:
            case "scsi":
                if "lun" in item:
                    return DriveAddress(controller=owner, bus=item["channel"], target=item["scsi-id"],
                                        unit=item["lun"])
                return DriveAddress(controller=owner, bus=0, target=0, unit=item["scsi-id"])
            case "sata":
                return DriveAddress(controller=owner, bus=0, target=0, unit=port)
            case "ide":
                return DriveAddress(controller=0, bus=port, target=0, unit=item["unit"])
            case "fdc":
                return DriveAddress(controller=0, bus=0, target=0, unit=item["unit"])
        return None

    def _device(self, item: Mapping[str, Any], disk: Disk, options: DiskDriver) -> None:
        disk.serial, disk.vendor, disk.product = item.get("serial"), item.get("vendor"), item.get("product")
        disk.wwn = f"{item['wwn']:016x}" if "wwn" in item else None
        disk.shareable = bool(item.get("share-rw"))
        disk.logical_block_size, disk.physical_block_size = (
            item.get("logical_block_size"), item.get("physical_block_size"))
        disk.geometry_cyls, disk.geometry_heads, disk.geometry_secs = (
            item.get("cyls"), item.get("heads"), item.get("secs"))
        disk.target_rotation_rate = item.get("rotation_rate")
        if item["driver"] == "usb-storage" and item.get("removable"):
            disk.target_removable = True
        options.error_policy = {"enospc": "enospace"}.get(item.get("werror", ""), item.get("werror"))
        rerror = item.get("rerror")
        options.rerror_policy = None if rerror == options.error_policy else rerror
        if "iothread" in item:
            options.iothread = int(item["iothread"].removeprefix("iothread"))
        options.queues, options.queue_size = item.get("num-queues"), item.get("queue-size")
        options.ioeventfd, options.event_idx = item.get("ioeventfd"), item.get("event_idx")
        options.iommu, options.ats = item.get("iommu_platform"), item.get("ats")
        options.packed, options.page_per_vq = item.get("packed"), item.get("page-per-vq")
        if item["driver"].startswith("virtio-blk-pci-"):
            disk.model = item["driver"].replace("-blk-pci", "")
        if options.cache is None and "write-cache" in item:
            options.cache = "writeback" if item["write-cache"] == "on" else "writethrough"

    # -- the graph --------------------------------------------------------------------------------------------------

    def _node(self, name: str) -> Mapping[str, Any]:
        if name not in self._nodes:
            raise refusal(f"block node '{name}', which is not there")
        return self._nodes[name]

    def _graph(self, name: str, disk: Disk, options: DiskDriver) -> None:
        node = self._node(name)
        while node["driver"] in ("copy-on-read", "throttle"):
            if node["driver"] == "copy-on-read":
                options.copy_on_read = True
            else:
                self._limits(node["throttle-group"], disk)
            node = self._node(node["file"])
        options.type, options.discard = _FORMAT_OF[node["driver"]], node.get("discard")
        options.detect_zeroes = node.get("detect-zeroes")
        options.metadata_cache_max_size = node.get("cache-size")
        disk.readonly = node["read-only"]
        storage = self._node(node["file"])
        options.io = storage.get("aio")
        cache = node.get("cache")
        if cache is not None:
            pair = (cache["direct"], cache["no-flush"])
            options.cache = next(mode for mode, (*flags, _) in CACHE.items() if tuple(flags) == pair)
        disk.type, disk.source = self._source(node, storage)
        disk.backing_store = self._below(node)

    def _limits(self, group: str, disk: Disk) -> None:
        disk.iotune = Iotune(group_name=None if group.startswith("throttle-") else group)
        for name, value in self._groups.get(group, {}).items():
            setattr(disk.iotune, "size_iops_sec" if name == "iops-size" else _LIMIT_OF[name], value)

    def _below(self, node: Mapping[str, Any]) -> BackingStore | None:
        if "backing" not in node:
            return None
        if node["backing"] is None:
            return BackingStore()
        below = self._node(node["backing"])
        kind, source = self._source(below, self._node(below["file"]))
        return BackingStore(type=kind, format=_FORMAT_OF[below["driver"]], source=source,
                            backing_store=self._below(below))

    def _source(self, node: Mapping[str, Any], storage: Mapping[str, Any]) -> tuple[str, DiskSource]:
        read = _SOURCES.get(storage["driver"])
        if read is None or "key-secret" in node or "encrypt" in node:
            raise refusal(f"block node '{storage['node-name']}'")
        kind, source = read(storage)
        if "offset" in node:
            source.slices = [StorageSlice(type="storage", offset=node["offset"], size=node["size"])]
        return kind, source


def _host(server: Mapping[str, Any]) -> StorageHost:
    if server.get("type") == "unix":
        return StorageHost(transport="unix", socket=server["path"])
    return StorageHost(name=server["host"], port=int(server.get("port", 0)) or None)


def _url(storage: Mapping[str, Any]) -> tuple[str, DiskSource]:
    found = re.fullmatch(r"(\w+)://(\[[^\]]*\]|[^:/]*):(\d+)/([^?]*)(?:\?(.*))?", storage["url"])
    if found is None or "cookie-secret" in storage or "password-secret" in storage:
        raise refusal(f"block node '{storage['node-name']}'")
    protocol, host, port, name, query = found.groups()
    return "network", DiskSource(
        protocol=protocol, name=name, query=query, hosts=[StorageHost(name=host.strip("[]"), port=int(port))],
        ssl_verify=storage.get("sslverify"), readahead=storage.get("readahead"), timeout=storage.get("timeout"))


def _rbd(storage: Mapping[str, Any]) -> tuple[str, DiskSource]:
    name = "/".join(part for part in (storage["pool"], storage.get("namespace"), storage["image"]) if part)
    if "key-secret" in storage:
        raise refusal(f"block node '{storage['node-name']}'")
    return "network", DiskSource(
        protocol="rbd", name=name, hosts=[_host(server) for server in storage.get("server", [])],
        snapshot=storage.get("snapshot"), config_file=storage.get("conf"))


def _iscsi(storage: Mapping[str, Any]) -> tuple[str, DiskSource]:
    host, _, port = storage["portal"].rpartition(":")
    if "password-secret" in storage:
        raise refusal(f"block node '{storage['node-name']}'")
    return "network", DiskSource(
        protocol="iscsi", name=f"{storage['target']}/{storage['lun']}", initiator=storage.get("initiator-name"),
        hosts=[StorageHost(name=host.strip("[]"), port=int(port))])


def _server(protocol: str, name: Callable[[Mapping[str, Any]], str | None]
            ) -> Callable[[Mapping[str, Any]], tuple[str, DiskSource]]:
    def read(storage: Mapping[str, Any]) -> tuple[str, DiskSource]:
        server = storage["server"]
        return "network", DiskSource(protocol=protocol, name=name(storage), hosts=[
            _host(item) for item in (server if isinstance(server, list) else [server])])

    return read


def _nfs(storage: Mapping[str, Any]) -> tuple[str, DiskSource]:
    kind, source = _server("nfs", lambda storage: storage["path"])(storage)
    source.identity_user, source.identity_group = (
        f"+{storage[name]}" if name in storage else None for name in ("user", "group"))
    return kind, source


_SOURCES: dict[str, Callable[[Mapping[str, Any]], tuple[str, DiskSource]]] = {
    "file": lambda storage: ("file", DiskSource(file=storage["filename"])),
    "host_device": lambda storage: ("block", DiskSource(dev=storage["filename"])),
    "host_cdrom": lambda storage: ("block", DiskSource(dev=storage["filename"])),
    "vvfat": lambda storage: ("dir", DiskSource(dir=storage["dir"])),
    "rbd": _rbd, "iscsi": _iscsi,
    "nbd": _server("nbd", lambda storage: storage.get("export")),
    "gluster": _server("gluster", lambda storage: f"{storage['volume']}/{storage['path']}"),
    "nfs": _nfs, "ssh": _server("ssh", lambda storage: storage["path"]),
} | dict.fromkeys(("http", "https", "ftp", "ftps", "tftp"), _url)
