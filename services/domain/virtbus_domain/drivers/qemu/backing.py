"""The names by which images refer to the images below them, as sources: paths, URIs, and QEMU's own JSON.

These are words of QEMU's: qemu(1), "Disk Images", and ``BlockdevOptions`` of the QMP reference for what stands in JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from virtbus_domain.drivers.qemu.images import storage_error
from virtbus_domain.xml.storage_source import DiskSource, StorageHost
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

Found = tuple[str, DiskSource]  # the type of a layer, and its source

_PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(?=:)")


def source_of(name: str, folder: Path) -> Found:
    """What a name in the header of an image in ``folder`` means. Raises ``LibvirtError``."""
    prefix = _PREFIX.match(name)
    if prefix is None or "/" in name[:prefix.end()]:
        return "file", DiskSource(file=name if name.startswith("/") else f"{folder}/{name}")
    try:
        match prefix[0]:
            case "json":
                return _json(json.loads(name.removeprefix("json:")))
            case "rbd":
                return "network", _rbd(name.removeprefix("rbd:"))
            case "nbd" if not name.startswith("nbd://"):
                return "network", _old_nbd(name.removeprefix("nbd:"))
        uri = urlsplit(name)
        read = _URIS.get(uri.scheme.partition("+")[0])
        if read is not None and name.startswith(f"{prefix[0]}://"):
            return "network", read(uri)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _invalid(f"malformed name of a backing image: '{name}'") from error
    raise _invalid(f"invalid backing protocol '{prefix[0]}'")


def _invalid(detail: str) -> LibvirtError:
    return storage_error(c.VIR_ERR_INTERNAL_ERROR, detail)


def _credentials(name: str) -> LibvirtError:
    return storage_error(c.VIR_ERR_CONFIG_UNSUPPORTED, f"credentials in the name of the backing image '{name}'")


# --- URIs -----------------------------------------------------------------------------------------------------------


def _host(uri: SplitResult) -> StorageHost:
    if uri.username is not None:
        raise _credentials(uri.geturl())
    transport = uri.scheme.partition("+")[2] or None
    if transport == "unix":
        return StorageHost(transport="unix", socket=parse_qs(uri.query)["socket"][0])
    return StorageHost(name=uri.hostname, port=uri.port, transport=transport)


def _path(uri: SplitResult) -> str:
    return unquote(uri.path).removeprefix("/")


def _nbd(uri: SplitResult) -> DiskSource:
    return DiskSource(protocol="nbd", name=_path(uri) or None, hosts=[_host(uri)])


def _curl(uri: SplitResult) -> DiskSource:
    return DiskSource(protocol=uri.scheme, name=uri.path.removeprefix("/"), query=uri.query or None,
                      hosts=[_host(uri)])


def _iscsi(uri: SplitResult) -> DiskSource:
    return DiskSource(protocol="iscsi", name=_path(uri), hosts=[_host(uri)])


def _gluster(uri: SplitResult) -> DiskSource:
    return DiskSource(protocol="gluster", name=_path(uri), hosts=[_host(uri)])


def _nfs(uri: SplitResult) -> DiskSource:
    return DiskSource(protocol="nfs", name=unquote(uri.path), hosts=[_host(uri)])


_URIS: dict[str, Callable[[SplitResult], DiskSource]] = {
    "nbd": _nbd, "iscsi": _iscsi, "gluster": _gluster, "nfs": _nfs, "http": _curl, "https": _curl, "ftp": _curl,
    "ftps": _curl, "tftp": _curl}


# --- the older forms ------------------------------------------------------------------------------------------------


def _old_nbd(name: str) -> DiskSource:
    """``HOST:PORT[:exportname=NAME]`` or ``unix:PATH[:exportname=NAME]``."""
    where, _, export = name.partition(":exportname=")
    if where.startswith("unix:"):
        host = StorageHost(transport="unix", socket=where.removeprefix("unix:"))
    else:
        server, _, port = where.rpartition(":")
        host = StorageHost(name=server.strip("[]"), port=int(port))
    return DiskSource(protocol="nbd", name=export or None, hosts=[host])


def _rbd(name: str) -> DiskSource:
    """``POOL/IMAGE[@SNAPSHOT][:OPTION=VALUE...]``, where a backslash takes the meaning from the character after it."""
    image, *options = (re.sub(r"\\(.)", r"\1", part) for part in re.split(r"(?<!\\):", name))
    image, _, snapshot = image.partition("@")
    source = DiskSource(protocol="rbd", name=image, snapshot=snapshot or None)
    for key, _, value in (option.partition("=") for option in options):
        match key:
            case "conf":
                source.config_file = value
            case "mon_host":
                source.hosts = [_monitor(monitor) for monitor in value.split(";")]
            case _:
                raise _credentials(name) if key in ("id", "key") else _invalid(f"unknown option '{key}' of RBD")
    return source


def _monitor(address: str) -> StorageHost:
    found = re.fullmatch(r"\[?(?P<host>.+?)\]?(?::(?P<port>[0-9]+))?", address)
    if found is None:
        raise ValueError(address)
    return StorageHost(name=found["host"], port=int(found["port"]) if found["port"] else None)


# --- JSON -----------------------------------------------------------------------------------------------------------


def _json(given: Mapping[str, Any]) -> Found:
    options = _nested(given)
    if "driver" not in options:
        options = options["file"]
    driver = options["driver"]
    match driver:
        case "file":
            return "file", DiskSource(file=str(options["filename"]))
        case "host_device" | "host_cdrom":
            return "block", DiskSource(dev=str(options["filename"]))
        case "nbd":
            server = options.get("server") or {"type": "unix" if "path" in options else "inet", **options}
            return "network", DiskSource(protocol="nbd", name=options.get("export"), hosts=[_server(server)])
        case "iscsi":
            server, _, port = str(options["portal"]).rpartition(":")
            name = f"{options['target']}/{int(options.get('lun', 0))}"
            return "network", DiskSource(protocol="iscsi", name=name,
                                         hosts=[StorageHost(name=server.strip("[]"), port=int(port))])
        case "rbd":
            return "network", DiskSource(
                protocol="rbd", name=f"{options['pool']}/{options['image']}", snapshot=options.get("snapshot"),
                config_file=options.get("conf"), hosts=[_server(server) for server in options.get("server", [])])
        case "http" | "https" | "ftp" | "ftps" | "tftp":
            return "network", _curl(urlsplit(str(options["url"])))
    raise _invalid(f"missing parser implementation for JSON backing volume driver '{driver}'")


def _server(server: Mapping[str, Any]) -> StorageHost:
    if server.get("type") == "unix" or "path" in server:
        return StorageHost(transport="unix", socket=str(server["path"]))
    port = server.get("port")
    return StorageHost(name=str(server["host"]), port=None if port is None else int(port))


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """QEMU writes members of members as "file.driver"."""
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        *outer, last = name.split(".")
        place = nested
        for part in outer:
            place = place.setdefault(part, {})
        place[last] = _nested(value) if isinstance(value, dict) else value
    return nested
