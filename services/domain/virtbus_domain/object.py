"""A domain in memory, and as the store keeps it.

Reads answer from here and never ask a hypervisor. The documents are kept as text and parsed when one is asked for:
ten thousand definitions cost their text and a handful of facts, not ten thousand trees.
"""

from __future__ import annotations

import time
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


class DomainObject:
    """One domain. ``inactive`` is its definition, None for a transient one; ``live`` describes the running one."""

    __slots__ = ("autostart", "changed", "crashes", "defined", "facts", "id", "inactive", "live", "name", "reason",
                 "started", "state", "turns", "updated", "uuid")

    def __init__(self, name: str, uuid: str, facts: Facts) -> None:
        self.name = name
        self.uuid = uuid
        self.facts = facts  # of the running instance, or of the definition while there is none
        self.defined = facts  # of the definition
        self.id = -1
        self.state = c.VIR_DOMAIN_SHUTOFF
        self.reason = 0
        self.inactive: str | None = None
        self.live: str | None = None
        self.autostart = False
        self.updated = False  # the definition changed while it ran
        self.started = 0.0  # Unix seconds at which the running instance started
        self.changed = time.time()  # Unix seconds of the last change of state
        self.crashes = 0  # since this run of the service started
        self.turns = Turns()

    @property
    def active(self) -> bool:
        """Whether it has a running instance, even a paused one."""
        return self.id != -1

    @property
    def persistent(self) -> bool:
        """Whether it is defined."""
        return self.inactive is not None

    @property
    def reference(self) -> api.Domain:
        """What clients hold."""
        return api.Domain(name=self.name, uuid=self.uuid, id=self.id)

    def record(self) -> Record:
        """What the store keeps."""
        return {
            "name": self.name, "id": self.id, "state": self.state, "reason": self.reason, "inactive": self.inactive,
            "live": self.live, "autostart": self.autostart, "updated": self.updated, "started": self.started,
            "changed": self.changed,
            "facts": [getattr(self.facts, slot) for slot in Facts.__slots__],
            "defined": [getattr(self.defined, slot) for slot in Facts.__slots__],
        }

    @classmethod
    def from_record(cls, uuid: str, record: Record) -> DomainObject:
        """The domain that the store kept; whether it really runs is for its driver to find out."""
        domain = cls(record["name"], uuid, Facts(*record["facts"]))
        domain.defined = Facts(*record["defined"])
        for key in ("id", "state", "reason", "inactive", "live", "autostart", "updated", "started", "changed"):
            setattr(domain, key, record[key])
        return domain
