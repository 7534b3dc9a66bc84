"""Secrets of a guest, put where QEMU reads them: files in the run directory, never arguments that others can see."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from virtbus_domain.drivers.qemu.command.secret_names import auth_secret, cookie_secret, key_secret
from virtbus_domain.drivers.qemu.layers import Layer, Volumes, format_node, layers, resolved, storage_node
from virtbus_domain.drivers.qemu.lookups import Lookups, SecretName
from virtbus_domain.xml.disk import Disk
from virtbus_domain.xml.domain import Devices
from virtbus_domain.xml.storage_source import Cookie, DiskSource

# The name of QEMU's object, and the secret, or its value where the document has that itself.
Wanted = tuple[str, SecretName | bytes]


async def write_secrets(devices: Devices, volumes: Volumes, lookups: Lookups, directory: Path) -> dict[str, Path]:
    """Write what the disks need to open their images; where each is, by the name of its object.

    The layers are numbered by then. Raises ``LibvirtError``.
    """
    files: dict[str, Path] = {}
    for name, secret in _wanted(devices, volumes):
        value = secret if isinstance(secret, bytes) else await lookups.secret(secret)
        files[name] = write_secret(directory, name, value)
    return files


def write_secret(directory: Path, name: str, value: bytes) -> Path:
    """A file with a secret that nobody else may read."""
    directory.mkdir(mode=0o700, exist_ok=True)
    path = directory / name
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(value)
    return path


def _wanted(devices: Devices, volumes: Volumes) -> Iterator[Wanted]:
    for disk in devices.disks:
        for layer in layers(disk):
            yield from _of_layer(layer, resolved(layer, volumes).source)


def _of_layer(layer: Layer, source: DiskSource) -> Iterator[Wanted]:
    auth, encryption = source.auth, source.encryption
    if isinstance(layer, Disk):  # where old documents have them
        auth, encryption = layer.auth or auth, layer.encryption or encryption
    if auth is not None:
        yield auth_secret(storage_node(layer)), SecretName(auth.secret_uuid, auth.secret_usage, auth.secret_type)
    if source.cookies:
        yield cookie_secret(storage_node(layer)), _cookies(source.cookies)
    for secret in encryption.secrets[:1] if encryption else []:
        yield key_secret(format_node(layer)), SecretName(secret.uuid, secret.usage, "volume")


def _cookies(cookies: Iterable[Cookie]) -> bytes:
    """As an HTTP request has them."""
    return "; ".join(f"{cookie.name}={cookie.value or ''}" for cookie in cookies).encode()
