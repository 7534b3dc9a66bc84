"""Which nodes there are: one question to everybody on a broker, and who answered.

Services that run answer a ping that is addressed to all nodes. Nobody keeps a list that could be out of date: what is
not there does not answer.
"""

from __future__ import annotations

import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from pydantic import ValidationError

from virtbus.channel import shared_client
from virtbus.errors import api_call
from virtbus.uri import broker_address, parse
from virtbus_shared.api import SERVICES, common
from virtbus_shared.envelope import Request, decode_reply

WAIT = 1.0  # seconds in which answers count


@dataclass(frozen=True)
class NodePresence:
    """A node and its services that answered."""

    name: str
    services: dict[str, common.ServiceInfo] = field(default_factory=dict)


@api_call
def nodes(broker: str | None = None, wait: float = WAIT) -> list[NodePresence]:
    """The nodes on a broker, by name. ``broker`` is its address, by default the one that connections use; ``wait`` is
    how long answers are awaited, in seconds: nobody knows how many will come.
    """
    address = broker_address(parse("virtbus+amqp://any" + (f"/?broker={broker}" if broker else "")))
    found: dict[str, NodePresence] = {}
    with ThreadPoolExecutor(len(SERVICES)) as threads:
        for infos in threads.map(lambda service: _ping(address, service, wait), SERVICES):
            for info in infos:
                found.setdefault(info.node, NodePresence(info.node)).services[info.service] = info
    return [found[name] for name in sorted(found)]


def _ping(address: str, service: str, wait: float) -> list[common.ServiceInfo]:
    row = common.PING[service]
    now = time.time()
    request = Request(uuid.uuid4().hex, row.name, now + wait, {}, read_only=True, sent=now)
    bodies: list[bytes] = []
    with shared_client(address) as client:
        client.gather(service, row.name, request.id, request.encode(), request.deadline, bodies.append)
    infos = []
    for body in bodies:
        try:
            infos.append(row.result.model_validate(decode_reply(body)))
        except ValidationError:
            continue  # somebody else's idea of a service
    return infos
