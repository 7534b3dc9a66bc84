"""Where the bytes of a layer come from: a file, a block device, or a server, as options of QEMU's protocol drivers."""

from __future__ import annotations

import grp
import pwd
from collections.abc import Callable

from virtbus_domain.drivers.qemu.command.arguments import Json, unsupported
from virtbus_domain.drivers.qemu.command.parts import Part
from virtbus_domain.drivers.qemu.command.secret_names import auth_secret, cookie_secret, key_secret
from virtbus_domain.drivers.qemu.command.setup import Setup
from virtbus_domain.xml.storage_source import DiskSource, StorageHost
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

Options = dict[str, Json]
Built = tuple[Options, list[Part]]


def protocol_options(source: DiskSource, kind: str, node: str, setup: Setup, *, cdrom: bool,
                     aio: str | None) -> Built:
    """The options of the protocol node ``node``, with the objects it needs. ``kind`` is the type of the disk."""
    match kind:
        case "file":
            return {"driver": "file", "filename": source.file, "aio": aio}, []
        case "block":
            driver = "host_cdrom" if cdrom and source.dev in setup.optical_drives else "host_device"
            return {"driver": driver, "filename": source.dev, "aio": aio}, []
        case "dir":
            return {"driver": "vvfat", "dir": source.dir, "floppy": False, "rw": False}, []
        case "network" if source.protocol in _PROTOCOLS:
            return _PROTOCOLS[source.protocol](source, node, setup)
        case "network":
            raise unsupported(f"storage protocol '{source.protocol}'")
    raise unsupported(f"storage of type '{kind}'")


def _host(source: DiskSource, what: str) -> StorageHost:
    if len(source.hosts) != 1:
        raise unsupported(f"{what} with {len(source.hosts)} hosts")
    return source.hosts[0]


def _bracketed(host: str | None) -> str:
    """A host in front of a port: an IPv6 address in brackets (RFC 3986)."""
    return f"[{host}]" if host and ":" in host else host or ""


def _auth(source: DiskSource, node: str, setup: Setup) -> tuple[str | None, str | None, list[Part]]:
    """User, name of the secret object, and the object."""
    if source.auth is None:
        return None, None, []
    secret = auth_secret(node)
    return source.auth.username, secret, [setup.secret(secret)]


def _rbd(source: DiskSource, node: str, setup: Setup) -> Built:
    pool, _, image = (source.name or "").partition("/")
    namespace: str | None = None
    if "/" in image:
        namespace, _, image = image.partition("/")
    user, secret, parts = _auth(source, node, setup)
    servers: list[Json] = [{"host": host.name, "port": str(host.port or 0)} for host in source.hosts]
    modes: list[Json] | None = ["cephx", "none"] if secret else None
    encrypted: Json = None
    if source.encryption is not None and source.encryption.engine == "librbd":
        key = key_secret(node.replace("-storage", "-format"))
        encrypted = {"format": source.encryption.format, "key_secret": key}
        parts = [*parts, setup.secret(key)]
    return {"driver": "rbd", "pool": pool, "namespace": namespace, "image": image, "snapshot": source.snapshot,
            "conf": source.config_file, "server": servers or None, "user": user, "key_secret": secret,
            "auth_client_required": modes, "encrypt": encrypted}, parts


def _iscsi(source: DiskSource, node: str, setup: Setup) -> Built:
    host = _host(source, "iSCSI")
    target, _, lun = (source.name or "").partition("/")
    if lun and not lun.isdecimal():
        raise unsupported(f"iSCSI unit '{lun}'")
    user, secret, parts = _auth(source, node, setup)
    return {"driver": "iscsi", "portal": f"{_bracketed(host.name)}:{host.port or 3260}", "target": target,
            "lun": int(lun or 0), "transport": "tcp", "user": user, "password_secret": secret,
            "initiator_name": source.initiator}, parts


def _nbd(source: DiskSource, node: str, setup: Setup) -> Built:
    host = _host(source, "NBD")
    parts = [setup.credentials(node, server=False)] if source.tls else []
    return {"driver": "nbd", "server": _server(host, 10809), "export": source.name or None,
            "tls_creds": parts[0].name if parts else None,
            "tls_hostname": source.tls_hostname if parts else None}, parts


def _server(host: StorageHost, port: int) -> Json:
    if host.transport == "unix":
        return {"type": "unix", "path": host.socket}
    return {"type": "inet", "host": host.name, "port": str(host.port or port)}


def _curl(source: DiskSource, node: str, setup: Setup) -> Built:
    host = _host(source, str(source.protocol))
    port = host.port or {"http": 80, "https": 443, "ftp": 21, "ftps": 990, "tftp": 69}[str(source.protocol)]
    url = f"{source.protocol}://{_bracketed(host.name)}:{port}/{(source.name or '').lstrip('/')}"
    if source.query:
        url += f"?{source.query}"
    user, secret, parts = _auth(source, node, setup)
    cookie: str | None = None
    if source.cookies:
        cookie = cookie_secret(node)
        parts = [*parts, setup.secret(cookie)]
    return {"driver": source.protocol, "url": url, "username": user, "password_secret": secret,
            "sslverify": source.ssl_verify, "cookie_secret": cookie, "timeout": source.timeout,
            "readahead": source.readahead}, parts


def _ssh(source: DiskSource, node: str, setup: Setup) -> Built:
    host = _host(source, "SSH")
    return {"driver": "ssh", "path": source.name, "server": {"host": host.name, "port": str(host.port or 22)},
            "user": source.auth.username if source.auth else None}, []


def _gluster(source: DiskSource, node: str, setup: Setup) -> Built:
    volume, _, path = (source.name or "").partition("/")
    servers: list[Json] = [_server(host, 24007) for host in source.hosts]
    return {"driver": "gluster", "volume": volume, "path": path, "server": servers, "debug": 4}, []


def _nfs(source: DiskSource, node: str, setup: Setup) -> Built:
    host = _host(source, "NFS")
    return {"driver": "nfs", "server": {"type": "inet", "host": host.name}, "path": source.name,
            "user": _number_of("user", source.identity_user, lambda name: pwd.getpwnam(name).pw_uid),
            "group": _number_of("group", source.identity_group, lambda name: grp.getgrnam(name).gr_gid)}, []


def _number_of(kind: str, name: str | None, look_up: Callable[[str], int]) -> int | None:
    """The number of a user or group of this node, which may be given as such, after a "+" if it must be one."""
    if name is None:
        return None
    try:
        return int(name[1:]) if name.startswith("+") else look_up(name)
    except (KeyError, ValueError):
        if name.isascii() and name.isdecimal():
            return int(name)
    raise LibvirtError(c.VIR_ERR_INVALID_ARG, f"Failed to parse {kind} '{name}'", domain=c.VIR_FROM_NONE)


_PROTOCOLS: dict[str, Callable[[DiskSource, str, Setup], Built]] = {
    "rbd": _rbd, "iscsi": _iscsi, "nbd": _nbd, "http": _curl, "https": _curl, "ftp": _curl, "ftps": _curl,
    "tftp": _curl, "ssh": _ssh, "gluster": _gluster, "nfs": _nfs}
