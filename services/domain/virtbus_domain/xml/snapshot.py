"""The document of a domain's snapshot: what it keeps of memory and disks, and the domain as it was.

A client that makes a snapshot says little, and what else it writes counts for nothing: ``parse_snapshot``. One that
brings back a snapshot's metadata writes all that libvirt wrote: ``parse_redefined_snapshot``. Which disks there are
and what an unnamed image is called is found out when the snapshot meets its domain, not here.
"""

from __future__ import annotations

import copy
import re

from virtbus_domain.xml.domain import Domain
from virtbus_domain.xml.lenient import unless
from virtbus_domain.xml.storage_source import FORMATS, TYPES, DiskSource
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.xml import Document, attr, element, raw, size, sub, subs, text
from virtbus_shared.service.xml_lines import Element, Output, Raw
from virtbus_shared.service.xml_values import INT, Kind, words

STATES = ("running", "blocked", "paused", "shutdown", "shutoff", "crashed", "pmsuspended", "disk-snapshot")
OFFLINE = ("shutoff", "disk-snapshot")  # states without memory to keep
LOCATIONS = ("no", "internal", "external", "manual")


def _read_time(text: str) -> int:
    """Seconds since 1970."""
    if not re.fullmatch(r"\s*[+-]?[0-9]{1,18}", text, re.ASCII):
        raise ValueError
    return int(text)


TIME: Kind[int] = Kind(_read_time, str)


@element
class SnapshotDisk(Element):
    """What becomes of one disk, known by its target or its image; with a new image, what that is."""

    name: str | None = attr("@name", required=(c.VIR_ERR_INTERNAL_ERROR, "missing name from disk snapshot element"))
    snapshot: str | None = attr("@snapshot", words(*LOCATIONS))
    type: str | None = attr("@type", words(*TYPES))
    driver_type: str | None = attr("driver/@type", unless(words("", *FORMATS), ""),
                                   error=(c.VIR_ERR_CONFIG_UNSUPPORTED, "unknown disk snapshot driver '{value}'"))
    metadata_cache_max_size: int | None = size("driver/metadata_cache/max_size", "bytes")
    source: DiskSource | None = sub("source", DiskSource)


@element
class SnapshotRequest(Element):
    """The part of the document that a client decides on: no more is read of one that makes a snapshot."""

    name: str | None = text("name")
    description: str | None = text("description")
    memory_snapshot: str | None = attr("memory/@snapshot", words(*LOCATIONS))
    memory_file: str | None = attr("memory/@file")
    disks: list[SnapshotDisk] = subs("disks/disk", SnapshotDisk)


@element
class Snapshot(Element):
    """A snapshot. ``domain`` is as it ran, ``inactive_domain`` its definition of that time where that was another.

    ``cookie`` and ``active`` (whether it is the current one) belong to the stored form.
    """

    name: str | None = text("name")
    description: str | None = text("description")
    state: str | None = text("state", words(*STATES), error=(c.VIR_ERR_CONFIG_UNSUPPORTED,
                                                             "Invalid state '{value}' in domain snapshot XML"))
    parent: str | None = text("parent/name")
    creation_time: int | None = text("creationTime", TIME, error=(c.VIR_ERR_INTERNAL_ERROR,
                                                                  "missing creationTime from existing snapshot"))
    memory_snapshot: str | None = attr("memory/@snapshot", words(*LOCATIONS))
    memory_file: str | None = attr("memory/@file")
    disks: list[SnapshotDisk] = subs("disks/disk", SnapshotDisk)
    domain: Domain | None = sub("domain", Domain)
    inactive_domain: Domain | None = sub("inactiveDomain", Domain)
    cookie: tuple[Raw, ...] = raw("cookie")
    active: int | None = text("active", INT)


_REQUEST = Document(SnapshotRequest, "domainsnapshot", "domain_snapshot", c.VIR_FROM_DOMAIN_SNAPSHOT)
_SNAPSHOT = Document(Snapshot, "domainsnapshot", "domain_snapshot", c.VIR_FROM_DOMAIN_SNAPSHOT)


def parse_snapshot(text: str, now: int) -> Snapshot:
    """A new snapshot, as a client asks for it at a time; without a name it is called after that.

    Raises ``LibvirtError``: not well formed, another root element, a value that libvirt refuses; with its path.
    """
    wish = _REQUEST.parse(text)
    snapshot = Snapshot(name=wish.name or str(now), description=wish.description, creation_time=now,
                        memory_snapshot=wish.memory_snapshot, memory_file=wish.memory_file, disks=wish.disks)
    _check(snapshot)
    return snapshot


def parse_redefined_snapshot(text: str) -> Snapshot:
    """A snapshot whose metadata a client brings back, or that we stored: all of it as it was written.

    Raises ``LibvirtError`` as ``parse_snapshot`` does, and for what only such a document must have.
    """
    snapshot = _SNAPSHOT.parse(text)
    if snapshot.name is None:
        raise _wrong("a redefined snapshot must have a name")
    if snapshot.creation_time is None:
        raise _wrong("missing creationTime from existing snapshot", c.VIR_ERR_INTERNAL_ERROR)
    if snapshot.state is None:
        raise _wrong("missing state from existing snapshot")
    if snapshot.domain is None or snapshot.domain.type is None:
        raise _wrong("missing domain in snapshot", c.VIR_ERR_INTERNAL_ERROR)
    _check(snapshot)
    offline = snapshot.state in OFFLINE
    if snapshot.memory_snapshot is None:
        snapshot.memory_snapshot = "no" if offline else "internal"
    if offline and snapshot.memory_snapshot != "no":
        raise _wrong("memory state cannot be saved with offline or disk-only snapshot", path="/domainsnapshot/memory")
    return snapshot


def _check(snapshot: Snapshot) -> None:
    """What must fit together, and what follows from it: a file means external."""
    if snapshot.memory_snapshot == "manual":
        raise _wrong("'manual' memory snapshot mode not supported", path="/domainsnapshot/memory")
    if snapshot.memory_file is not None:
        if snapshot.memory_snapshot not in (None, "external"):
            raise _wrong(f"memory filename '{snapshot.memory_file}' requires external snapshot",
                         path="/domainsnapshot/memory")
        if not snapshot.memory_file.startswith("/"):
            raise _wrong(f"memory snapshot file path ({snapshot.memory_file}) must be absolute",
                         path="/domainsnapshot/memory")
        snapshot.memory_snapshot = "external"
    elif snapshot.memory_snapshot == "external":
        raise _wrong("external memory snapshots require a filename", path="/domainsnapshot/memory")
    for number, disk in enumerate(snapshot.disks, start=1):
        _check_disk(disk, f"/domainsnapshot/disks/disk[{number}]")


def _check_disk(disk: SnapshotDisk, path: str) -> None:
    """An image that is described is a new one; where nothing describes it, it has no type either."""
    if disk.type in ("dir", "volume"):
        raise _wrong(f"unsupported disk snapshot type '{disk.type}'", path=path)
    disk.type = disk.type or "file"
    image = _image(disk)
    if image and disk.type in ("file", "block") and not image.startswith("/"):
        raise _wrong(f"disk snapshot image path '{image}' must be absolute", path=path)
    if image or disk.driver_type:
        disk.snapshot = disk.snapshot or "external"
    else:
        disk.type = disk.source = disk.metadata_cache_max_size = None
    if disk.source:
        disk.source.startup_policy = None  # only a domain that starts has one


def _image(disk: SnapshotDisk) -> str | None:
    source = disk.source or DiskSource()
    match disk.type:
        case "file":
            return source.file
        case "block":
            return source.dev
        case "network":
            return source.name
    return None


def format_snapshot(snapshot: Snapshot, *, secure: bool = False, stored: bool = False) -> str:
    """The snapshot's document, with passwords if ``secure``; the ``stored`` one has all that we need again."""
    if not stored:
        snapshot = copy.copy(snapshot)
        snapshot.cookie, snapshot.active = (), None
    return _SNAPSHOT.format(snapshot, Output.INACTIVE | (Output.SECURE if secure or stored else 0))


def _wrong(detail: str, code: int = c.VIR_ERR_XML_ERROR, path: str = "/domainsnapshot") -> LibvirtError:
    return LibvirtError(code, f"{detail} (at {path})", domain=c.VIR_FROM_DOMAIN_SNAPSHOT)
