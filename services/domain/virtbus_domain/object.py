"""A domain in memory, and as the store keeps it.

Reads answer from here and never ask a hypervisor. The documents are kept as compressed text and parsed when one is
asked for: ten thousand definitions cost a kilobyte and a handful of facts each, not ten thousand trees.
"""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass

from virtbus_domain.xml.domain import Domain
from virtbus_shared import constants as c
from virtbus_shared.api import domain as api
from virtbus_shared.service.objects import Record, Turns

KIND = "domain"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the calls without XML say of a definition. Memory in KiB."""

    os_type: str
    max_memory: int
    memory: int
    vcpus: int
    max_vcpus: int


def identity(model: Domain) -> tuple[str, str]:
    """Name and UUID of a complete document."""
    return str(model.name), str(model.uuid)


def pack(document: str) -> bytes:
    """A document as it is kept: a tenth of its size, for as much time as a call through the broker takes."""
    return zlib.compress(document.encode("utf-8", "surrogatepass"), 1)


def unpack(kept: bytes) -> str:
    """The document of ``pack``."""
    return zlib.decompress(kept).decode("utf-8", "surrogatepass")


class DomainObject:
    """One domain. ``inactive`` is its definition, None for a transient one; ``live`` describes the running one."""

    __slots__ = ("_inactive", "_live", "autostart", "changed", "crashes", "defined", "facts", "id", "name", "reason",
                 "started", "state", "turns", "updated", "uuid")

    def __init__(self, name: str, uuid: str, facts: Facts) -> None:
        self.name = name
        self.uuid = uuid
        self.facts = facts  # of the running instance, or of the definition while there is none
        self.defined = facts  # of the definition
        self.id = -1
        self.state = c.VIR_DOMAIN_SHUTOFF
        self.reason = 0
        self._inactive: bytes | None = None
        self._live: bytes | None = None
        self.autostart = False
        self.updated = False  # the definition changed while it ran
        self.started = 0.0  # Unix seconds at which the running instance started
        self.changed = time.time()  # Unix seconds of the last change of state
        self.crashes = 0  # since this run of the service started
        self.turns = Turns()

    @property
    def inactive(self) -> str | None:
        """The definition's document."""
        return None if self._inactive is None else unpack(self._inactive)

    @inactive.setter
    def inactive(self, document: str | None) -> None:
        self._inactive = None if document is None else pack(document)

    @property
    def live(self) -> str | None:
        """The running instance's document."""
        return None if self._live is None else unpack(self._live)

    @live.setter
    def live(self, document: str | None) -> None:
        self._live = None if document is None else pack(document)

    @property
    def packed(self) -> bytes:
        """The document that holds now, as it is kept: the same object as long as nothing has changed."""
        return self._live or self._inactive or b""

    @property
    def active(self) -> bool:
        """Whether it has a running instance, even a paused one."""
        return self.id != -1

    @property
    def persistent(self) -> bool:
        """Whether it is defined."""
        return self._inactive is not None

    @property
    def reference(self) -> api.Domain:
        """What clients hold."""
        return api.Domain(name=self.name, uuid=self.uuid, id=self.id)

    def record(self) -> Record:
        """What the store keeps."""
        return {
            "name": self.name, "id": self.id, "state": self.state, "reason": self.reason,
            "inactive": self._inactive, "live": self._live, "autostart": self.autostart, "updated": self.updated,
            "started": self.started, "changed": self.changed,
            "facts": [getattr(self.facts, slot) for slot in Facts.__slots__],
            "defined": [getattr(self.defined, slot) for slot in Facts.__slots__],
        }

    @classmethod
    def from_record(cls, uuid: str, record: Record) -> DomainObject:
        """The domain that the store kept; whether it really runs is for its driver to find out."""
        domain = cls(record["name"], uuid, Facts(*record["facts"]))
        domain.defined = Facts(*record["defined"])
        for key in ("id", "state", "reason", "autostart", "updated", "started", "changed"):
            setattr(domain, key, record[key])
        for key in ("inactive", "live"):
            kept = record[key]
            setattr(domain, f"_{key}", pack(kept) if isinstance(kept, str) else kept)
        return domain
