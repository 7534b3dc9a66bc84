"""Where the bytes of a layer come from, read back from the options of QEMU's protocol drivers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from virtbus_domain.drivers.qemu.native.values import Values
from virtbus_domain.xml.storage_source import DiskSource, StorageHost

Read = Callable[[Values], tuple[str, DiskSource]]

_URL = re.compile(r"([a-z]+)://(\[[^\]]*\]|[^:/?]*):([0-9]{1,5})/([^?]*)(?:\?(.*))?", re.ASCII | re.DOTALL)
_PORTAL = re.compile(r"(\[[^\]]*\]|[^:]*):([0-9]{1,5})", re.ASCII)


def _file(storage: Values) -> tuple[str, DiskSource]:
    return "file", DiskSource(file=storage.required_text("filename"))


def _block(storage: Values) -> tuple[str, DiskSource]:
    return "block", DiskSource(dev=storage.required_text("filename"))


def _directory(storage: Values) -> tuple[str, DiskSource]:
    storage.expect("floppy", False)
    storage.expect("rw", False)
    return "dir", DiskSource(dir=storage.required_text("dir"))


def _host(server: Values) -> StorageHost:
    kind = server.word("type", {"inet": "tcp", "unix": "unix"})
    if kind == "unix":
        return StorageHost(transport="unix", socket=server.required_text("path"))
    return StorageHost(name=server.required_text("host"), port=server.number("port") or None)


def _url(storage: Values) -> tuple[str, DiskSource]:
    found = _URL.fullmatch(storage.required_text("url"))
    if found is None or found[1] != storage.kind:
        raise storage.wrong("url")
    protocol, host, port, name, query = found.groups()
    return "network", DiskSource(
        protocol=protocol, name=name, query=query, hosts=[StorageHost(name=host.strip("[]"), port=int(port))],
        ssl_verify=storage.flag("sslverify"), readahead=storage.number("readahead"), timeout=storage.number("timeout"))


def _rbd(storage: Values) -> tuple[str, DiskSource]:
    parts = storage.required_text("pool"), storage.text("namespace"), storage.required_text("image")
    return "network", DiskSource(
        protocol="rbd", name="/".join(part for part in parts if part),
        hosts=[_host(server) for server in storage.parts("server")], snapshot=storage.text("snapshot"),
        config_file=storage.text("conf"))


def _iscsi(storage: Values) -> tuple[str, DiskSource]:
    storage.expect("transport", "tcp")
    found = _PORTAL.fullmatch(storage.required_text("portal"))
    if found is None:
        raise storage.wrong("portal")
    name = f"{storage.required_text('target')}/{storage.required_number('lun')}"
    return "network", DiskSource(protocol="iscsi", name=name, initiator=storage.text("initiator-name"),
                                 hosts=[StorageHost(name=found[1].strip("[]"), port=int(found[2]))])


def _server(protocol: str, name: Callable[[Values], str | None]) -> Read:
    def read(storage: Values) -> tuple[str, DiskSource]:
        return "network", DiskSource(protocol=protocol, name=name(storage),
                                     hosts=[_host(server) for server in storage.parts("server")])

    return read


def _nbd(storage: Values) -> tuple[str, DiskSource]:
    kind, source = _server("nbd", lambda values: values.text("export"))(storage)
    source.tls_hostname = storage.text("tls-hostname")
    return kind, source


def _nfs(storage: Values) -> tuple[str, DiskSource]:
    kind, source = _server("nfs", lambda values: values.required_text("path"))(storage)
    user, group = storage.number("user"), storage.number("group")
    source.identity_user, source.identity_group = (
        None if number is None else f"+{number}" for number in (user, group))
    return kind, source


def _gluster_name(storage: Values) -> str:
    storage.expect("debug", 4)
    return f"{storage.required_text('volume')}/{storage.required_text('path')}"


SOURCES: Mapping[str, Read] = {
    "file": _file, "host_device": _block, "host_cdrom": _block, "vvfat": _directory, "rbd": _rbd, "iscsi": _iscsi,
    "nbd": _nbd, "gluster": _server("gluster", _gluster_name),
    "nfs": _nfs,
    "ssh": _server("ssh", lambda storage: storage.required_text("path")),
    **dict.fromkeys(("http", "https", "ftp", "ftps", "tftp"), _url)}
