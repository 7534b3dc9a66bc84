"""Disks: what backs them, what the guest sees, and in what order they boot."""

from __future__ import annotations

from virtbus_domain.xml.address import address, alias
from virtbus_shared import constants as c
from virtbus_shared.service.xml import attr, element, flag, raw, sub, text
from virtbus_shared.service.xml_lines import Element, Raw
from virtbus_shared.service.xml_values import ORDER, YESNO, words

TYPES = ("file", "block", "dir", "network", "volume", "nvme", "vhostuser", "vhostvdpa")
BUSES = ("none", "ide", "fdc", "scsi", "virtio", "xen", "usb", "uml", "sata", "sd")
FORMATS = ("raw", "dir", "bochs", "cloop", "dmg", "iso", "vpc", "vdi", "fat", "vhd", "ploop", "cow", "qcow", "qcow2",
           "qed", "vmdk", "luks", "none")


@element
class DiskDriver(Element):
    """How the hypervisor opens the source; ``type`` is the image format."""

    name: str | None = attr("@name")
    type: str | None = attr("@type", words(*FORMATS),
                            error=(c.VIR_ERR_CONFIG_UNSUPPORTED, "unknown driver format value '{value}'"))
    cache: str | None = attr("@cache", words("default", "none", "writethrough", "writeback", "directsync", "unsafe"))
    error_policy: str | None = attr("@error_policy", words("default", "stop", "report", "ignore", "enospace"))
    rerror_policy: str | None = attr("@rerror_policy", words("default", "stop", "report", "ignore"))
    io: str | None = attr("@io", words("native", "threads", "io_uring"))
    discard: str | None = attr("@discard", words("unmap", "ignore"))
    detect_zeroes: str | None = attr("@detect_zeroes", words("off", "on", "unmap"))


@element
class DiskSource(Element):
    """What backs the disk: one of ``file``, ``dev``, ``dir``, ``pool`` with ``volume``, ``protocol`` with ``name``."""

    file: str | None = attr("@file")
    dev: str | None = attr("@dev")
    dir: str | None = attr("@dir")
    protocol: str | None = attr("@protocol")
    name: str | None = attr("@name")
    pool: str | None = attr("@pool")
    volume: str | None = attr("@volume")
    startup_policy: str | None = attr("@startupPolicy", words("default", "mandatory", "requisite", "optional"))
    index: str | None = attr("@index", live=True)

    @property
    def path(self) -> str | None:
        """The file or device on the host, None for what is reached otherwise."""
        return self.file or self.dev or self.dir

    @property
    def is_empty(self) -> bool:
        """Nothing is named: an empty drive, or a mistake."""
        return not (self.path or self.protocol or self.volume or self.rest)


@element
class Disk(Element):
    """A disk, CD-ROM or floppy drive."""

    type: str | None = attr("@type", words(*TYPES))
    device: str | None = attr("@device", words("disk", "cdrom", "floppy", "lun"))
    model: str | None = attr("@model", words("virtio", "virtio-transitional", "virtio-non-transitional"))
    rawio: bool | None = attr("@rawio", YESNO)
    sgio: str | None = attr("@sgio", words("default", "filtered", "unfiltered"))
    snapshot: str | None = attr("@snapshot", words("default", "no", "internal", "external", "manual"))
    driver: DiskDriver | None = sub("driver", DiskDriver)
    auth: tuple[Raw, ...] = raw("auth")
    source: DiskSource | None = sub("source", DiskSource)
    backing_store: tuple[Raw, ...] = raw("backingStore")
    geometry: tuple[Raw, ...] = raw("geometry")
    blockio: tuple[Raw, ...] = raw("blockio")
    mirror: tuple[Raw, ...] = raw("mirror")
    target_dev: str | None = attr("target/@dev")
    target_bus: str | None = attr("target/@bus", words(*BUSES))
    target_tray: str | None = attr("target/@tray", words("closed", "open"))
    target_removable: str | None = attr("target/@removable", words("on", "off"))
    iotune: tuple[Raw, ...] = raw("iotune")
    readonly: bool = flag("readonly")
    shareable: bool = flag("shareable")
    transient: tuple[Raw, ...] = raw("transient")
    serial: str | None = text("serial")
    wwn: str | None = text("wwn")
    vendor: str | None = text("vendor")
    product: str | None = text("product")
    encryption: tuple[Raw, ...] = raw("encryption")
    boot_order: int | None = attr("boot/@order", ORDER)
    alias: str | None = alias()
    address: Element | None = address()
