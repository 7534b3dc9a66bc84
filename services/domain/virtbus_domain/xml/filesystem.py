"""Shared folders: a directory of the host, or for containers another source, that the guest mounts."""

from __future__ import annotations

from virtbus_domain.xml.address import acpi_index, address, alias, boot_loadparm, boot_order
from virtbus_domain.xml.lenient import TEXT, unless
from virtbus_domain.xml.storage_source import FORMATS
from virtbus_domain.xml.values import ULONG_OR_ZERO, VIRTIO_MODELS
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.xml import attr, element, flag, size
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import INT, ONOFF, ULONG, Kind, words

TYPES = ("mount", "block", "file", "template", "ram", "bind", "volume")
DRIVERS = ("path", "handle", "loop", "nbd", "ploop", "virtiofs")
# What of the source counts, by type.
SOURCE_FIELDS: dict[str, tuple[str, ...]] = {
    "mount": ("source_dir",), "bind": ("source_dir",), "file": ("source_file",), "block": ("source_dev",),
    "template": ("source_name",), "ram": ("source_usage", "source_units"), "volume": ("source_pool", "source_volume"),
}
VIRTIOFS_FIELDS = ("driver_queue", "binary_path", "binary_xattr", "binary_cache", "binary_sandbox",
                   "binary_lock_posix", "binary_lock_flock", "binary_thread_pool")


def _file_mode(name: str) -> Kind[int | None]:
    """Permissions in octal, of which 0 leaves the choice to the driver; ``name`` is what the refusal calls them."""
    def read(text: str) -> int | None:
        if len(text) > 40 or not text.isascii() or not text.isdigit() or not set(text) <= set("01234567"):
            raise ValueError("Expected non-negative integer value")
        mode = int(text, 8)
        if mode > 0o777:
            raise LibvirtError(c.VIR_ERR_XML_ERROR, f"invalid {name}: '0{mode:o}'", domain=c.VIR_FROM_DOMAIN)
        return mode or None

    return Kind(read, "{:04o}".format)


def _read_threads(text: str) -> int | None:
    assert INT.read
    number = INT.read(text)
    return None if number < 0 else number


@element
class Filesystem(Element):
    """One share. ``source_usage`` is the size of a RAM disk in ``source_units``, the limits of space are in bytes.

    The fields that begin with ``binary`` are for virtiofs: the daemon, and how it runs.
    """

    type: str | None = attr("@type", words(*TYPES))
    accessmode: str | None = attr("@accessmode", unless(words("", "passthrough", "mapped", "squash"), ""))
    model: str | None = attr("@model", words(*VIRTIO_MODELS))
    multidevs: str | None = attr("@multidevs", unless(words("default", "remap", "forbid", "warn"), "default"))
    fmode: int | None = attr("@fmode", _file_mode("fmode"))
    dmode: int | None = attr("@dmode", _file_mode("dmode"))
    driver_type: str | None = attr("driver/@type", unless(words("default", *DRIVERS), "default"))
    driver_format: str | None = attr("driver/@format", words(*FORMATS), error=(
        c.VIR_ERR_CONFIG_UNSUPPORTED, "unknown driver format value '{value}'"))
    driver_wrpolicy: str | None = attr("driver/@wrpolicy", unless(words("default", "immediate"), "default"))
    driver_queue: int | None = attr("driver/@queue", ULONG_OR_ZERO, error=(
        c.VIR_ERR_XML_ERROR, "cannot parse queue size '{value}' for virtiofs"))
    driver_iommu: bool | None = attr("driver/@iommu", ONOFF)
    driver_ats: bool | None = attr("driver/@ats", ONOFF)
    driver_packed: bool | None = attr("driver/@packed", ONOFF)
    driver_page_per_vq: bool | None = attr("driver/@page_per_vq", ONOFF)
    binary_path: str | None = attr("binary/@path", TEXT)
    binary_xattr: bool | None = attr("binary/@xattr", ONOFF)
    binary_cache: str | None = attr("binary/cache/@mode", words("none", "always"))
    binary_sandbox: str | None = attr("binary/sandbox/@mode", words("namespace", "chroot"))
    binary_lock_posix: bool | None = attr("binary/lock/@posix", ONOFF)
    binary_lock_flock: bool | None = attr("binary/lock/@flock", ONOFF)
    binary_thread_pool: int | None = attr("binary/thread_pool/@size", Kind(_read_threads, str), error=(
        c.VIR_ERR_XML_ERROR, "cannot parse thread pool size '{value}' for virtiofs"))
    source_dir: str | None = attr("source/@dir")
    source_file: str | None = attr("source/@file")
    source_dev: str | None = attr("source/@dev")
    source_name: str | None = attr("source/@name")
    source_socket: str | None = attr("source/@socket")
    source_usage: int | None = attr("source/@usage", ULONG, error=(
        c.VIR_ERR_XML_ERROR, "cannot parse usage '{value}' for RAM filesystem"))
    source_units: str | None = attr("source/@units")
    source_pool: str | None = attr("source/@pool")
    source_volume: str | None = attr("source/@volume")
    target_dir: str | None = attr("target/@dir")
    readonly: bool = flag("readonly")
    boot_order: int | None = boot_order()
    boot_loadparm: str | None = boot_loadparm()
    alias: str | None = alias()
    acpi_index: int | None = acpi_index()
    address: Element | None = address()
    space_hard_limit: int | None = size("space_hard_limit", "bytes")
    space_soft_limit: int | None = size("space_soft_limit", "bytes")
