"""A storage pool with its volumes in memory, and as the store keeps it. Reads answer from here.

Volumes are what was found at the last refresh; the store keeps those only of drivers that have no other place for
them (``test``).
"""

from __future__ import annotations

from virtbus_shared import constants as c
from virtbus_shared.api import storage as api
from virtbus_shared.service.objects import Record, Turns
from virtbus_storage.xml import Volume, VolumeTarget, format_volume, parse_volume

KIND = "pool"
REFRESH_OUTCOMES = ("ok", "failed", "timeout")

VOLUME_TYPES = {"file": c.VIR_STORAGE_VOL_FILE, "block": c.VIR_STORAGE_VOL_BLOCK, "dir": c.VIR_STORAGE_VOL_DIR,
                "network": c.VIR_STORAGE_VOL_NETWORK, "netdir": c.VIR_STORAGE_VOL_NETDIR,
                "ploop": c.VIR_STORAGE_VOL_PLOOP}


def volume_path(model: Volume) -> str:
    """The path of a volume on the node, empty where it has none."""
    return (model.target or VolumeTarget()).path or ""


class PoolObject:
    """One pool. ``inactive`` is its definition, None for a transient one. Sizes in bytes."""

    __slots__ = ("allocation", "autostart", "available", "capacity", "inactive", "live", "name", "path", "refreshed",
                 "refreshes", "state", "turns", "type", "uuid", "volumes")

    def __init__(self, name: str, uuid: str, kind: str) -> None:
        self.name = name
        self.uuid = uuid
        self.type = kind
        self.path = ""  # where its volumes appear
        self.inactive: str | None = None
        self.live: str | None = None
        self.state = c.VIR_STORAGE_POOL_INACTIVE
        self.capacity = self.allocation = self.available = 0
        self.autostart = False
        self.refreshed = 0.0  # Unix seconds of the last successful refresh
        self.refreshes = dict.fromkeys(REFRESH_OUTCOMES, 0)  # since this run of the service started
        self.volumes: dict[str, Volume] = {}
        self.turns = Turns()

    @property
    def active(self) -> bool:
        """Whether it runs."""
        return self.live is not None

    @property
    def persistent(self) -> bool:
        """Whether it is defined."""
        return self.inactive is not None

    @property
    def reference(self) -> api.Pool:
        """What clients hold."""
        return api.Pool(name=self.name, uuid=self.uuid)

    def volume_reference(self, volume: Volume) -> api.Volume:
        """What clients hold of a volume."""
        return api.Volume(pool=self.name, name=volume.name or "", key=volume.key or "")

    def record(self, *, with_volumes: bool) -> Record:
        """What the store keeps."""
        return {
            "name": self.name, "type": self.type, "path": self.path, "inactive": self.inactive, "live": self.live,
            "state": self.state, "autostart": self.autostart,
            "sizes": [self.capacity, self.allocation, self.available],
            "volumes": [[v.key, format_volume(v)] for v in self.volumes.values()] if with_volumes else [],
        }

    @classmethod
    def from_record(cls, uuid: str, record: Record) -> PoolObject:
        """The pool that the store kept; what it really holds is for its driver to find out."""
        pool = cls(record["name"], uuid, record["type"])
        for slot in ("path", "inactive", "live", "state", "autostart"):
            setattr(pool, slot, record[slot])
        pool.capacity, pool.allocation, pool.available = record["sizes"]
        for key, text in record["volumes"]:
            volume = parse_volume(text)
            volume.key = key
            pool.volumes[volume.name or ""] = volume
        return pool
