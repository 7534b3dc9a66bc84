"""What every verb of the command works with: the connection, opened when first needed, and the output.

Also how a verb finds the thing that its argument names, as virsh does: a domain by number, UUID or name, a volume by
name in a pool, key or path.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import typer

from virtbus import connect
from virtbus import constants as c
from virtbus.cli.output import Output
from virtbus.connect import virConnect
from virtbus.domain import virDomain
from virtbus.errors import libvirtError
from virtbus.network import virNetwork
from virtbus.storage import virStoragePool, virStorageVol

T = TypeVar("T")
NOT_FOUND = {c.VIR_ERR_NO_DOMAIN, c.VIR_ERR_NO_NETWORK, c.VIR_ERR_NO_STORAGE_POOL, c.VIR_ERR_NO_STORAGE_VOL}


class CommandError(Exception):
    """A verb failed: ``message`` is for people, ``cause`` the library's error behind it."""

    def __init__(self, message: str, cause: libvirtError | None = None) -> None:
        super().__init__(f"{message}: {cause}" if cause else message)
        self.cause = cause


@contextlib.contextmanager
def failing(message: str) -> Iterator[None]:
    """A step whose failure is told as ``message: why``."""
    try:
        yield
    except libvirtError as error:
        raise CommandError(message, error) from None


class Session:
    """One run of the command."""

    def __init__(self, uri: str | None, read_only: bool, output: Output) -> None:
        self.uri = uri
        self.out = output
        self._read_only = read_only
        self._conn: virConnect | None = None

    @property
    def conn(self) -> virConnect:
        """The connection."""
        if self._conn is None:
            with failing("failed to connect to the hypervisor"):
                self._conn = (connect.openReadOnly if self._read_only else connect.open)(self.uri)
        return self._conn

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._conn is not None:
            self._conn.close()
            self._conn = None

    def domain(self, key: str) -> virDomain:
        """A domain by number, UUID or name."""
        conn = self.conn
        tries: list[Callable[[], virDomain]] = [lambda: conn.lookupByName(key)]
        if _is_uuid(key):
            tries.insert(0, lambda: conn.lookupByUUIDString(key))
        if key.isascii() and key.isdigit() and int(key) < 2**31:
            tries.insert(0, lambda: conn.lookupByID(int(key)))
        return _first(tries, f"failed to get domain '{key}'")

    def network(self, key: str) -> virNetwork:
        """A network by UUID or name."""
        conn = self.conn
        tries: list[Callable[[], virNetwork]] = [lambda: conn.networkLookupByName(key)]
        if _is_uuid(key):
            tries.insert(0, lambda: conn.networkLookupByUUIDString(key))
        return _first(tries, f"failed to get network '{key}'")

    def pool(self, key: str) -> virStoragePool:
        """A storage pool by UUID or name."""
        conn = self.conn
        tries: list[Callable[[], virStoragePool]] = [lambda: conn.storagePoolLookupByName(key)]
        if _is_uuid(key):
            tries.insert(0, lambda: conn.storagePoolLookupByUUIDString(key))
        return _first(tries, f"failed to get pool '{key}'")

    def volume(self, key: str, pool: str | None) -> virStorageVol:
        """A volume by its name in a pool, by its key or by its path."""
        conn = self.conn
        tries: list[Callable[[], virStorageVol]] = []
        if pool is not None:
            inside = self.pool(pool)
            tries.append(lambda: inside.storageVolLookupByName(key))
        tries += [lambda: conn.storageVolLookupByKey(key), lambda: conn.storageVolLookupByPath(key)]
        hint = "" if pool else ", specifying --pool might help"
        return _first(tries, f"failed to get vol '{key}'{hint}")


def session(ctx: typer.Context) -> Session:
    """The session of the running verb."""
    found = ctx.obj
    assert isinstance(found, Session)
    return found


def read_document(path: Path) -> str:
    """The text of a file that a verb was given."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise CommandError(f"Failed to open file '{path}': {error.strerror}") from None
    except UnicodeDecodeError as error:
        why = f"it is not UTF-8 ({error.reason} at byte {error.start})"
        raise CommandError(f"Failed to read file '{path}': {why}") from None


def _first(tries: list[Callable[[], T]], message: str) -> T:
    """The first that is found; the error of the last otherwise. What is not about finding ends it at once."""
    for number, attempt in enumerate(tries, 1):
        try:
            return attempt()
        except libvirtError as error:
            if number == len(tries) or error.get_error_code() not in NOT_FOUND:
                raise CommandError(message, error) from None
    raise AssertionError("nothing was tried")


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True
