"""The block graph that QEMU has under each disk, held against the layers of its document: see ``machine_view``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tests.support.stand_in_rules import is_encrypted
from virtbus_domain.xml.disk import BackingStore, Disk

if TYPE_CHECKING:
    from tests.support.machine_view import View

_CACHES = {"none": (True, False), "writeback": (False, False), "writethrough": (False, False),
           "directsync": (True, False), "unsafe": (False, True)}
_FORMATS = {"iso": "raw", "fat": "raw", "dir": "raw", "vhd": "vpc", "ploop": "parallels"}


async def look_at_disks(view: View) -> None:
    """Each disk has its drive, with the layers that the document tells, or none when it has no medium."""
    nodes = {node["node-name"]: node for node in await view.guest.ask("query-named-block-nodes", flat=True)}
    drives = {block["qdev"].removeprefix("/machine/peripheral/").split("/")[0]: block
              for block in await view.guest.ask("query-block") if block.get("qdev")}
    for disk in view.devices.disks:
        drive = drives.get(str(disk.alias))
        if drive is None:
            view.differences.append(f"{disk.alias}: QEMU has no such drive")
            continue
        view.expect(f"medium of {disk.alias}", disk.source is not None, "inserted" in drive)
        if disk.source is not None:
            _chain(view, disk, nodes, drive["inserted"])


def _chain(view: View, disk: Disk, nodes: Mapping[str, Mapping[str, Any]], inserted: Mapping[str, Any]) -> None:
    driver, layer, number = disk.driver, disk, 0
    image_format = (driver.type if driver else None) or "raw"
    top: Any = disk.source
    names = {f"libvirt-{top.index}-format", f"libvirt-{top.index}-throttle", f"libvirt-CoR-{disk.target_dev}"}
    view.expect(f"node of {disk.alias}", True, inserted["node-name"] in names)
    throttled = inserted["node-name"] == f"libvirt-{top.index}-throttle"
    limited = disk.iotune is not None and not (driver and driver.copy_on_read)
    view.expect(f"throttling of {disk.alias}", limited, throttled)
    current: Any = layer
    while current is not None and current.source is not None:
        what = f"layer {number} of {disk.alias}"
        index = current.index if isinstance(current, BackingStore) else current.source.index
        node, storage = (nodes.get(f"libvirt-{index}-{kind}", {}) for kind in ("format", "storage"))
        wanted = "luks" if is_encrypted(current) and image_format == "raw" else _FORMATS.get(image_format, image_format)
        view.expect(f"format of {what}", wanted, node.get("drv"))
        view.expect(f"read only {what}", number > 0 or disk.readonly, node.get("ro"))
        if current.source.file:
            view.expect(f"file of {what}", current.source.file, storage.get("file"))
        if driver is not None and driver.cache in _CACHES:
            cache = node.get("cache", {})
            view.expect(f"cache of {what}", _CACHES[driver.cache], (cache.get("direct"), cache.get("no-flush")))
        current, number = current.backing_store, number + 1
        image_format = (current.format if current is not None else None) or "raw"
    if disk.backing_store is not None:
        filters = (disk.iotune is not None) + bool(driver and driver.copy_on_read)  # QEMU counts them
        view.expect(f"layers below {disk.alias}", number - 1 + filters, _depth(inserted["image"]))


def _depth(image: Mapping[str, Any]) -> int:
    below = image.get("backing-image")
    return 0 if below is None else 1 + _depth(below)
