"""Disks: what backs them, what the guest sees, and in what order they boot."""

from __future__ import annotations

import re

from virtbus_domain.xml.address import acpi_index, address, alias, boot_loadparm, boot_order
from virtbus_domain.xml.lenient import unless
from virtbus_domain.xml.storage_source import FORMATS, TYPES, DiskSource, Encryption, StorageAuth
from virtbus_domain.xml.values import OWN_NUMBER, UINT_OR_ZERO, ULONG_OR_ZERO, VIRTIO_MODELS, synonyms, wrong_text
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.xml import attr, element, flag, nested, size, sub, text
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import ONOFF, ORDER, YESNO, Kind, Refusal, words

BUSES = ("ide", "fdc", "scsi", "virtio", "xen", "usb", "uml", "sata", "sd")
SNAPSHOTS = ("no", "internal", "external", "manual")
CACHES = ("default", "none", "writethrough", "writeback", "directsync", "unsafe")

# "aio" is what Xen called raw.
_FORMAT = synonyms({word: word for word in FORMATS} | {"aio": "raw"})
_WWN = re.compile("(?:0x)?[0-9a-fA-F]{16}", re.ASCII)
_LENGTHS = {"vendor": 8, "product": 16}


def _unsupported(detail: str) -> Refusal:
    return (c.VIR_ERR_CONFIG_UNSUPPORTED, detail)


def _limit(name: str) -> int | None:
    """The line of a limit of input and output; 0 is none."""
    return text(name, ULONG_OR_ZERO, error=(c.VIR_ERR_XML_ERROR, f"disk iotune field '{name}' must be an integer"))


def _label(name: str) -> Kind[str]:
    """The vendor or product that a SCSI disk shows the guest: few printable characters."""
    def read(text: str) -> str:
        if not (text.isascii() and text.isprintable()):
            raise LibvirtError(c.VIR_ERR_XML_ERROR, f"disk {name} is not printable string", domain=c.VIR_FROM_DOMAIN)
        if len(text) > _LENGTHS[name]:
            raise LibvirtError(c.VIR_ERR_CONFIG_UNSUPPORTED, f"disk {name} is more than {_LENGTHS[name]} characters",
                               domain=c.VIR_FROM_DOMAIN)
        return text

    return Kind(read)


def _read_wwn(name: str) -> str:
    if not _WWN.fullmatch(name):
        raise ValueError
    return name


@element
class DiskDriver(Element):
    """How the hypervisor opens the source, and how the guest's device works; ``type`` is the image format.

    ``metadata_cache_max_size`` is in bytes.
    """

    name: str | None = attr("@name")
    type: str | None = attr("@type", _FORMAT,
                            error=_unsupported("unknown driver format value '{value}'"))
    cache: str | None = attr("@cache", unless(words(*CACHES), "default"))
    error_policy: str | None = attr("@error_policy", words("stop", "report", "ignore", "enospace"))
    rerror_policy: str | None = attr("@rerror_policy", words("stop", "report", "ignore"))
    io: str | None = attr("@io", words("native", "threads", "io_uring"))
    ioeventfd: bool | None = attr("@ioeventfd", ONOFF)
    event_idx: bool | None = attr("@event_idx", ONOFF)
    copy_on_read: bool | None = attr("@copy_on_read", ONOFF)
    discard: str | None = attr("@discard", words("unmap", "ignore"))
    iothread: int | None = attr("@iothread", ORDER)
    detect_zeroes: str | None = attr("@detect_zeroes", words("off", "on", "unmap"))
    queues: int | None = attr("@queues", UINT_OR_ZERO)
    queue_size: int | None = attr("@queue_size", UINT_OR_ZERO)
    iommu: bool | None = attr("@iommu", ONOFF)
    ats: bool | None = attr("@ats", ONOFF)
    packed: bool | None = attr("@packed", ONOFF)
    page_per_vq: bool | None = attr("@page_per_vq", ONOFF)
    metadata_cache_max_size: int | None = size("metadata_cache/max_size", "bytes",
                                                error=wrong_text("./metadata_cache/max_size"))


@element
class BackingStore(Element):
    """The layer that an image is an overlay of; one without a type says that there is none.

    Absent, the layer is found in the image itself when the domain starts.
    """

    type: str | None = attr("@type", words(*TYPES),
                            error=(c.VIR_ERR_XML_ERROR, "unknown storage source type '{value}'"))
    index: int | None = attr("@index", OWN_NUMBER, live=True)
    format: str | None = attr("format/@type", words(*FORMATS),
                              error=(c.VIR_ERR_XML_ERROR, "unknown storage source format '{value}'"))
    metadata_cache_max_size: int | None = size("format/metadata_cache/max_size", "bytes",
                                                error=wrong_text("./format/metadata_cache/max_size"))
    source: DiskSource | None = sub("source", DiskSource)
    backing_store: BackingStore | None = nested("backingStore")


@element
class Mirror(Element):
    """Where a running block job copies the disk to; ``ready`` once source and copy are alike.

    ``file`` and ``file_format`` repeat source and format for old clients.
    """

    type: str | None = attr("@type", words(*TYPES))
    file: str | None = attr("@file")
    file_format: str | None = attr("@format", words(*FORMATS))
    job: str | None = attr("@job", words("copy", "active-commit"))
    ready: str | None = attr("@ready", words("yes", "abort", "pivot"))
    format: str | None = attr("format/@type", words(*FORMATS))
    metadata_cache_max_size: int | None = size("format/metadata_cache/max_size", "bytes",
                                                error=wrong_text("./format/metadata_cache/max_size"))
    source: DiskSource | None = sub("source", DiskSource)
    backing_store: BackingStore | None = sub("backingStore", BackingStore)


@element
class Iotune(Element):
    """Limits of a disk's throughput, in bytes and operations per second, over all or for reads and writes.

    ``*_max`` may be reached for ``*_max_length`` seconds; an operation counts as one for each ``size_iops_sec`` bytes.
    Disks with the same ``group_name`` share their limits.
    """

    total_bytes_sec: int | None = _limit("total_bytes_sec")
    read_bytes_sec: int | None = _limit("read_bytes_sec")
    write_bytes_sec: int | None = _limit("write_bytes_sec")
    total_iops_sec: int | None = _limit("total_iops_sec")
    read_iops_sec: int | None = _limit("read_iops_sec")
    write_iops_sec: int | None = _limit("write_iops_sec")
    total_bytes_sec_max: int | None = _limit("total_bytes_sec_max")
    read_bytes_sec_max: int | None = _limit("read_bytes_sec_max")
    write_bytes_sec_max: int | None = _limit("write_bytes_sec_max")
    total_iops_sec_max: int | None = _limit("total_iops_sec_max")
    read_iops_sec_max: int | None = _limit("read_iops_sec_max")
    write_iops_sec_max: int | None = _limit("write_iops_sec_max")
    size_iops_sec: int | None = _limit("size_iops_sec")
    group_name: str | None = text("group_name")
    total_bytes_sec_max_length: int | None = _limit("total_bytes_sec_max_length")
    read_bytes_sec_max_length: int | None = _limit("read_bytes_sec_max_length")
    write_bytes_sec_max_length: int | None = _limit("write_bytes_sec_max_length")
    total_iops_sec_max_length: int | None = _limit("total_iops_sec_max_length")
    read_iops_sec_max_length: int | None = _limit("read_iops_sec_max_length")
    write_iops_sec_max_length: int | None = _limit("write_iops_sec_max_length")


@element
class Transient(Element):
    """What the guest writes is forgotten when it stops; ``share_backing`` lets several domains use the image."""

    share_backing: bool | None = attr("@shareBacking", unless(YESNO, False))


@element
class Disk(Element):
    """A disk, CD-ROM or floppy drive. ``target_dev`` names it and orders it among those of its bus.

    ``auth`` and ``encryption`` stand here in old documents; newer ones have them in the source. Block sizes are in
    bytes, ``target_rotation_rate`` is in turns a minute, 1 for what does not turn.
    """

    type: str | None = attr("@type", words(*TYPES))
    device: str | None = attr("@device", words("disk", "cdrom", "floppy", "lun"))
    model: str | None = attr("@model", words(*VIRTIO_MODELS))
    rawio: bool | None = attr("@rawio", YESNO)
    sgio: str | None = attr("@sgio", words("filtered", "unfiltered"))
    snapshot: str | None = attr("@snapshot", words(*SNAPSHOTS))
    driver: DiskDriver | None = sub("driver", DiskDriver)
    auth: StorageAuth | None = sub("auth", StorageAuth)
    source: DiskSource | None = sub("source", DiskSource)
    backing_store: BackingStore | None = sub("backingStore", BackingStore)
    backenddomain: str | None = attr("backenddomain/@name")
    geometry_cyls: int | None = attr("geometry/@cyls", UINT_OR_ZERO)
    geometry_heads: int | None = attr("geometry/@heads", UINT_OR_ZERO)
    geometry_secs: int | None = attr("geometry/@secs", UINT_OR_ZERO)
    geometry_trans: str | None = attr("geometry/@trans", words("none", "auto", "lba"))
    logical_block_size: int | None = attr("blockio/@logical_block_size", UINT_OR_ZERO)
    physical_block_size: int | None = attr("blockio/@physical_block_size", UINT_OR_ZERO)
    mirror: Mirror | None = sub("mirror", Mirror, live=True)
    target_dev: str | None = attr("target/@dev")
    target_bus: str | None = attr("target/@bus", words(*BUSES))
    target_tray: str | None = attr("target/@tray", unless(words("closed", "open"), "closed"))
    target_removable: bool | None = attr("target/@removable", ONOFF)
    target_rotation_rate: int | None = attr("target/@rotation_rate", UINT_OR_ZERO)
    iotune: Iotune | None = sub("iotune", Iotune)
    readonly: bool = flag("readonly")
    shareable: bool = flag("shareable")
    transient: Transient | None = sub("transient", Transient)
    serial: str | None = text("serial")
    wwn: str | None = text("wwn", Kind(_read_wwn),
                           error=(c.VIR_ERR_INTERNAL_ERROR, "Malformed wwn: {value}", c.VIR_FROM_NONE))
    vendor: str | None = text("vendor", _label("vendor"))
    product: str | None = text("product", _label("product"))
    encryption: Encryption | None = sub("encryption", Encryption)
    boot_order: int | None = boot_order()
    boot_loadparm: str | None = boot_loadparm()
    alias: str | None = alias()
    acpi_index: int | None = acpi_index()
    address: Element | None = address()
