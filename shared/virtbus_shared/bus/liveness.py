"""Notices that a service went away while calls to it were under way.

A command that reaches the queue of a service which has just been killed is lost with that queue, and nobody says so.
A restarted service announces itself, and what waits is sent again; but one that does not come back would leave its
callers waiting for their whole deadline. So when a call has waited for a while, a ping is sent beside it: if the
broker returns it, nobody takes that service's commands, and after a grace for a restart the calls are ended.
"""

from __future__ import annotations

import secrets
import time

from virtbus_shared import constants as c
from virtbus_shared.bus.calls import Call, Calls
from virtbus_shared.envelope import Request
from virtbus_shared.errors import LibvirtError

EVERY = 1.0  # seconds between looks at what waits
PATIENCE = 2.0  # seconds that a call may wait before anybody asks whether its service is there
GRACE = 8.0  # seconds for a service to come back: a restart takes one or two
_PREFIX = "alive-"

Service = tuple[str, str]  # node, service


class Liveness:
    """The pings of one client. Used by its I/O thread only."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._ids: dict[str, Service] = {}  # of pings under way
        self._missing: dict[Service, float] = {}  # monotonic time of the first ping that came back

    def due(self) -> list[tuple[str, Request]]:
        """(node, ping) for each service that keeps somebody waiting; ends the calls that wait in vain."""
        now, late = time.monotonic(), time.monotonic() - PATIENCE
        waiting: dict[Service, list[Call]] = {}
        for call in self._calls.all():
            if call.sent and call.replies is None and call.began < late:
                waiting.setdefault((call.node, call.service), []).append(call)
        self._missing = {service: since for service, since in self._missing.items() if service in waiting}
        for service, since in self._missing.items():
            if now - since > GRACE:
                for call in waiting[service]:
                    self._calls.fail([call], _gone(call))
        self._ids = {_PREFIX + secrets.token_hex(8): service for service in waiting}
        return [(node, Request(ident, f"{service}.ping", time.time() + 10, {}))
                for ident, (node, service) in self._ids.items()]

    def answered(self, ident: str | None) -> bool:
        """Whether this reply was to a ping: then its service is there."""
        service = self._ids.pop(ident, None) if ident is not None else None
        if service is None:
            return False
        self._missing.pop(service, None)
        return True

    def returned(self, ident: str | None) -> bool:
        """Whether this message that came back was a ping: then nobody is there."""
        service = self._ids.pop(ident, None) if ident is not None else None
        if service is None:
            return False
        self._missing.setdefault(service, time.monotonic())
        return True

    def forget(self) -> None:
        """The connection was lost: nothing is known any more."""
        self._ids.clear()
        self._missing.clear()


def _gone(call: Call) -> LibvirtError:
    return LibvirtError(
        c.VIR_ERR_SYSTEM_ERROR, f"service '{call.service}' of node '{call.node}' went away while a call was under way "
        f"and is not back: its outcome is unknown (ask {call.service}.get_outcome for request {call.id} later)",
        domain=c.VIR_FROM_RPC)
