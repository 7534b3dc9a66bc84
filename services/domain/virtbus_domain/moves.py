"""How a domain changes state: one place that sets it, stores it and says so in events.

A driver describes what happened as a ``Move``; a handler applies it as part of its request, and a driver that sees
something happen by itself (a guest that powers off) applies it as a change of its own.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from virtbus_domain.object import KIND, DomainObject
from virtbus_shared import constants as c
from virtbus_shared.api import domain as api
from virtbus_shared.service.change import Change
from virtbus_shared.service.objects import Registry

INACTIVE = (c.VIR_DOMAIN_SHUTOFF, c.VIR_DOMAIN_CRASHED)
CRASHES = ((c.VIR_DOMAIN_CRASHED, c.VIR_DOMAIN_CRASHED_UNKNOWN), (c.VIR_DOMAIN_CRASHED, c.VIR_DOMAIN_CRASHED_PANICKED),
           (c.VIR_DOMAIN_SHUTOFF, c.VIR_DOMAIN_SHUTOFF_CRASHED))


@dataclass(frozen=True, slots=True)
class Move:
    """A new state with its reason, and the lifecycle events (event, detail) that announce it."""

    state: int
    reason: int
    events: tuple[tuple[int, int], ...] = ()


def emit(change: Change, domain: DomainObject, event: int, detail: int) -> None:
    """Record a lifecycle event."""
    change.event(api.LIFECYCLE, api.LifecycleBody(domain=domain.reference, event=event, detail=detail))


def apply(change: Change, domains: Registry[DomainObject], domain: DomainObject, move: Move) -> None:
    """Let a domain be in its new state. A transient one that has ended is gone."""
    if domain.state != c.VIR_DOMAIN_CRASHED and (move.state, move.reason) in CRASHES:
        domain.crashes += 1
    domain.state, domain.reason, domain.changed = move.state, move.reason, time.time()
    if move.state in INACTIVE and domain.active:
        domain.id, domain.live, domain.started, domain.updated = -1, None, 0.0, False
        domain.facts = domain.defined
    for event, detail in move.events:
        emit(change, domain, event, detail)
    if domain.active or domain.persistent:
        change.put(KIND, domain.uuid, domain.record())
    else:
        change.delete(KIND, domain.uuid)
        domains.remove(domain)
    change.settle()
