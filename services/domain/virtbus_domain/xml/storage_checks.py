"""What libvirt refuses while it reads a storage or host device although each value alone is well: what is missing.

The models refuse what one attribute may not be, and an element without an attribute that it must always have. Here is
what depends on the type of the device, or on more than one element. ``check`` is asked before what a type has no use
for is dropped and before anything is filled in. Whether a machine can have such a device is decided later.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from virtbus_domain.xml.address import CcwAddress
from virtbus_domain.xml.controller import MODELS as CONTROLLER_MODELS
from virtbus_domain.xml.controller import Controller
from virtbus_domain.xml.disk import BackingStore, Disk
from virtbus_domain.xml.filesystem import Filesystem
from virtbus_domain.xml.hostdev import CAPABILITY_TYPES, Hostdev, HostdevSource
from virtbus_domain.xml.lease import Lease
from virtbus_domain.xml.memory_device import MemoryDevice
from virtbus_domain.xml.rng import Rng
from virtbus_domain.xml.smartcard import Smartcard
from virtbus_domain.xml.storage_source import DiskSource, Encryption, StorageAuth, StorageHost
from virtbus_domain.xml.tpm import Tpm
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.xml_lines import Element

# The kind of secret that a protocol's user has; others take either.
_SECRET_TYPES = {"rbd": "ceph", "iscsi": "iscsi"}
# Characters that RFC 6265 keeps out of the names and the values of cookies.
_COOKIE_NAME = re.compile(r"""[^\x00-\x20\x7f()<>@,:;\\"/\[\]?={}]+""")
_COOKIE_VALUE = re.compile(r"""[^\x00-\x20\x7f",;\\]*|"[^\x00-\x20\x7f",;\\]*\"""")


def _error(detail: str, code: int = c.VIR_ERR_XML_ERROR, domain: int = c.VIR_FROM_DOMAIN) -> LibvirtError:
    return LibvirtError(code, detail, domain=domain)


def _unsupported(detail: str) -> LibvirtError:
    return _error(detail, c.VIR_ERR_CONFIG_UNSUPPORTED)


def _storage_error(detail: str) -> LibvirtError:
    return _error(detail, domain=c.VIR_FROM_STORAGE)


def _missing(attribute: str, element: str) -> LibvirtError:
    return _error(f"Missing required attribute '{attribute}' in element '{element}'", domain=c.VIR_FROM_XML)


def check(device: Element) -> None:
    """Refuse a device that libvirt would not take from a document. Raises ``LibvirtError``."""
    _check_address(getattr(device, "address", None))
    found = _CHECKS.get(type(device))
    if found:
        found(device)


def _check_address(address: Element | None) -> None:
    """A channel address is whole or left to the machine, and within what the machine can have."""
    if not isinstance(address, CcwAddress):
        return
    parts = (address.cssid, address.ssid, address.devno)
    if None in parts and any(part is not None for part in parts):
        raise _error("Invalid partial specification for virtio ccw address", c.VIR_ERR_INTERNAL_ERROR,
                     c.VIR_FROM_DEVICE)
    cssid, ssid, devno = (part or 0 for part in parts)
    if cssid > 254 or ssid > 3 or devno > 0xFFFF:
        raise _error(f"Invalid specification for virtio ccw address: cssid='0x{cssid:x}' ssid='0x{ssid:x}' "
                     f"devno='0x{devno:04x}'", c.VIR_ERR_INTERNAL_ERROR, c.VIR_FROM_DEVICE)


# --- sources --------------------------------------------------------------------------------------------------------


def check_source(source: DiskSource, kind: str) -> None:
    """A source names what its type needs, and what it names is whole."""
    if kind in _SOURCES:
        _SOURCES[kind](source)
    for piece in source.slices:
        if piece.type == "storage" and (piece.offset is None or piece.size is None):
            raise _error("missing offset or size attribute of slice")
    if source.reservations and not source.reservations.managed and source.reservations.source_type is None:
        raise _storage_error("missing connection type for <reservations/>")
    if source.encryption:
        _check_encryption(source.encryption)
    if source.auth and kind != "volume":
        _check_auth(source.auth, source.protocol if kind == "network" else None)
    for seclabel in source.seclabels:
        if seclabel.label is not None and seclabel.relabel is False:
            raise _error(f"Cannot specify a label if relabelling is turned off. model={seclabel.model or 'unknown'}")


def _check_network(source: DiskSource) -> None:
    if source.protocol is None:
        raise _missing("protocol", "source")
    if source.name is None and source.protocol != "nbd":
        raise _error("missing name for disk source")
    if source.protocol in ("rbd", "gluster") and not re.fullmatch("[^/]+/.+", source.name or "", re.DOTALL):
        raise _error(f"can't split path '{source.name or ''}' into pool name and image name")
    for host in source.hosts:
        _check_host(host)
    if source.protocol in ("http", "https"):
        _check_cookies(source)


def _check_host(host: StorageHost) -> None:
    if host.transport == "unix":
        if host.socket is None:
            raise _error("missing socket for unix transport")
    elif host.socket is not None:
        raise _error(f"transport '{host.transport or '(null)'}' does not support socket attribute")
    elif host.name is None:
        raise _error("missing name for host")


def _check_cookies(source: DiskSource) -> None:
    seen: set[str | None] = set()
    for cookie in source.cookies:
        if cookie.value is None:
            raise _error(f"missing value for cookie '{cookie.name}'")
        if not _COOKIE_NAME.fullmatch(cookie.name or ""):
            raise _storage_error(f"cookie name '{cookie.name}' contains invalid characters")
        if not _COOKIE_VALUE.fullmatch(cookie.value):
            raise _storage_error(f"value of cookie '{cookie.name}' contains invalid characters")
        if cookie.name in seen:
            raise _storage_error(f"duplicate cookie '{cookie.name}'")
        seen.add(cookie.name)


def _check_volume(source: DiskSource) -> None:
    if (source.pool is None) != (source.volume is None):
        raise _error("'pool' and 'volume' must be specified together for 'pool' type source")


def _check_nvme(source: DiskSource) -> None:
    if source.type is None:
        raise _error("missing 'type' attribute to disk source")
    if source.type != "pci":
        raise _error(f"unsupported source type '{source.type}'")
    if source.namespace is None:
        raise _error("missing 'namespace' attribute to disk source")
    if source.address is None:
        raise _error("NVMe disk source is missing address")
    if source.namespace == 0:
        raise _unsupported("NVMe namespace can't be zero")


def _check_vhostuser(source: DiskSource) -> None:
    if source.type is None:
        raise _error("missing 'type' attribute for vhostuser disk source")
    if source.type != "unix":
        raise _error("invalid 'type' attribute for vhostuser disk source")
    if source.socket_path is None:
        raise _error("missing 'path' attribute for vhostuser disk source")
    if source.reconnect_enabled and source.reconnect_timeout is None:
        raise _missing("timeout", "reconnect")


_SOURCES: dict[str, Callable[[DiskSource], None]] = {
    "network": _check_network, "volume": _check_volume, "nvme": _check_nvme, "vhostuser": _check_vhostuser}


def _check_secret(uuid: str | None, usage: str | None) -> None:
    if uuid is None and usage is None:
        raise _error("missing secret uuid or usage attribute", domain=c.VIR_FROM_NONE)
    if uuid is not None and usage is not None:
        raise _error("either secret uuid or usage expected", domain=c.VIR_FROM_NONE)


def _check_auth(auth: StorageAuth, protocol: str | None) -> None:
    if auth.secret_type is None and auth.secret_uuid is None and auth.secret_usage is None:
        raise _storage_error("Missing <secret> element in auth")
    _check_secret(auth.secret_uuid, auth.secret_usage)
    needed = _SECRET_TYPES.get(protocol or "")
    if needed and auth.secret_type != needed:
        raise _unsupported(f"invalid secret type '{auth.secret_type}'")


def _check_encryption(encryption: Encryption) -> None:
    for secret in encryption.secrets:
        _check_secret(secret.uuid, secret.usage)
    if encryption.cipher_name is None and encryption.ivgen_name is not None:
        raise _storage_error("ivgen element found, but cipher is missing")


# --- devices --------------------------------------------------------------------------------------------------------


def _check_disk(disk: Disk) -> None:
    kind = disk.type or "file"
    if disk.source:
        check_source(disk.source, kind)
        if disk.auth and disk.source.auth:
            raise _unsupported("an <auth> definition already found for disk source")
        if disk.encryption and disk.source.encryption:
            raise _unsupported("an <encryption> definition already found for disk source")
    if disk.auth:
        _check_auth(disk.auth, disk.source.protocol if disk.source and kind == "network" else None)
    if disk.encryption:
        _check_encryption(disk.encryption)
    for encryption in (disk.encryption, disk.source.encryption if disk.source else None):
        if encryption and encryption.cipher_name is not None:
            raise _unsupported("supplying <cipher> for domain disk definition is unnecessary")
    if disk.backing_store:
        _check_backing_store(disk.backing_store)


def _check_backing_store(layer: BackingStore) -> None:
    if layer.type is None:
        return
    if layer.format is None:
        raise _error("missing disk backing store format")
    if layer.source is None:
        raise _error("missing disk backing store source")
    check_source(layer.source, layer.type)
    if layer.backing_store:
        _check_backing_store(layer.backing_store)


def _check_controller(controller: Controller) -> None:
    if controller.model is not None and controller.model not in CONTROLLER_MODELS.get(controller.type or "", ()):
        raise _unsupported(f"Unknown model type '{controller.model}'")


def _check_filesystem(filesystem: Filesystem) -> None:
    kind = filesystem.type or "mount"
    if kind == "ram" and filesystem.source_usage is None:
        raise _error("missing 'usage' attribute for RAM filesystem")
    source = {"mount": filesystem.source_dir, "bind": filesystem.source_dir, "file": filesystem.source_file,
              "block": filesystem.source_dev, "template": filesystem.source_name}.get(kind)
    served = filesystem.source_socket is not None if kind in ("mount", "bind") else kind in ("ram", "volume")
    if source is None and not served:
        raise LibvirtError(c.VIR_ERR_NO_SOURCE, filesystem.target_dir, domain=c.VIR_FROM_DOMAIN)
    if not filesystem.target_dir:
        raise LibvirtError(c.VIR_ERR_NO_TARGET, source, domain=c.VIR_FROM_DOMAIN)


def _check_hostdev(hostdev: Hostdev) -> None:
    source = hostdev.source
    if source is None:
        raise _error("Missing <source> element in hostdev device")
    if (hostdev.mode == "capabilities") != (hostdev.type in CAPABILITY_TYPES):
        raise _unsupported(f"unknown host device source address type '{hostdev.type}'")
    if hostdev.type == "scsi" and source.protocol == "iscsi":
        _check_iscsi_hostdev(source)
    elif hostdev.type in _HOSTDEVS:
        _HOSTDEVS[hostdev.type](hostdev, source)
    if hostdev.sgio is not None and hostdev.type != "scsi":
        raise _error("sgio is only supported for scsi host device")
    if hostdev.rawio is not None and hostdev.type != "scsi":
        raise _error("rawio is only supported for scsi host device")
    if hostdev.teaming_persistent is not None and hostdev.teaming_type is None:
        raise _unsupported("unknown teaming type '(null)'")
    if hostdev.teaming_type == "transient" and not hostdev.teaming_persistent:
        raise _unsupported("missing required persistent attribute in hostdev teaming element")


def _check_usb_hostdev(hostdev: Hostdev, source: HostdevSource) -> None:
    if source.vendor_id is not None and source.product_id is None:
        raise _error("missing product", c.VIR_ERR_INTERNAL_ERROR)
    if source.product_id is not None and source.vendor_id is None:
        raise _error("missing vendor", c.VIR_ERR_INTERNAL_ERROR)


def _check_iscsi_hostdev(source: HostdevSource) -> None:
    if not source.name:
        raise _error("missing iSCSI hostdev source path name")
    for host in source.hosts:
        _check_host(host)
    if not source.hosts:
        raise _error("missing the host address for the iSCSI hostdev")
    if len(source.hosts) > 1:
        raise _error("only one source host address may be specified for the iSCSI hostdev")
    if source.auth:
        _check_auth(source.auth, None)


def _check_scsi_hostdev(hostdev: Hostdev, source: HostdevSource) -> None:
    if source.protocol not in (None, "adapter"):
        raise _unsupported(f"Unknown SCSI subsystem protocol '{source.protocol}'")
    if source.address is None:
        raise _error("'address' must be specified for scsi hostdev source")
    if source.adapter_name is None:
        raise _error("'adapter' name must be specified for scsi hostdev source")


def _check_scsi_host_hostdev(hostdev: Hostdev, source: HostdevSource) -> None:
    if source.protocol is None:
        raise _error("Missing scsi_host subsystem protocol")
    if source.protocol != "vhost":
        raise _unsupported(f"Unknown scsi_host subsystem protocol '{source.protocol}'")
    if source.wwpn is None:
        raise _error("missing vhost-scsi hostdev source wwpn")


def _check_mdev_hostdev(hostdev: Hostdev, source: HostdevSource) -> None:
    if hostdev.model is None:
        raise _missing("model", "hostdev")
    if source.address is None:
        raise _unsupported("Missing <address> element")


def _needs(name: str, what: str) -> Callable[[Hostdev, HostdevSource], None]:
    def check_container_device(hostdev: Hostdev, source: HostdevSource) -> None:
        if getattr(source, name) is None:
            raise _error(f"Missing <{name}> element in hostdev {what} device")

    return check_container_device


_HOSTDEVS: dict[str | None, Callable[[Hostdev, HostdevSource], None]] = {
    "usb": _check_usb_hostdev, "scsi": _check_scsi_hostdev, "scsi_host": _check_scsi_host_hostdev,
    "mdev": _check_mdev_hostdev, "storage": _needs("block", "storage"), "misc": _needs("char", "character"),
    "net": _needs("interface", "net")}


def _check_lease(lease: Lease) -> None:
    for name, value in (("lockspace", lease.lockspace), ("key", lease.key), ("target", lease.target_path)):
        if value is None:
            raise _error(f"Missing '{name}' element for lease")


def _check_memory(memory: MemoryDevice) -> None:
    if memory.size is None and memory.node is None:
        raise _error("missing <target> element for <memory> device")
    if memory.size is None:
        raise _error("missing element or attribute './size'", domain=c.VIR_FROM_XML)


def _check_rng(rng: Rng) -> None:
    if rng.backend is None:
        raise _error("only one RNG backend is supported")


def _check_smartcard(smartcard: Smartcard) -> None:
    if smartcard.mode == "host-certificates" and len(smartcard.certificates) != 3:
        raise _error("host-certificates mode needs exactly three certificates")
    if smartcard.mode == "passthrough" and smartcard.type is None:
        raise _error("passthrough mode requires a character device type attribute")


def _check_tpm(tpm: Tpm) -> None:
    backend = tpm.backend
    if backend is None:
        raise _error("missing TPM device backend")
    if backend.type == "external":
        if backend.source_type is None:
            raise _error("missing external TPM backend type")
        if backend.source_type != "unix":
            raise _error("only source type 'unix' is supported for external TPM device")
        if backend.source_mode == "bind":
            raise _error("only 'client' mode is supported for external TPM device")


_CHECKS: dict[type[Element], Callable[[Any], None]] = {
    Disk: _check_disk, Controller: _check_controller, Filesystem: _check_filesystem, Hostdev: _check_hostdev,
    Lease: _check_lease, MemoryDevice: _check_memory, Rng: _check_rng, Smartcard: _check_smartcard, Tpm: _check_tpm}
