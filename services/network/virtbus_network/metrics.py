"""The metrics of the network service: the table, and where each value comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from virtbus_network.driver import NetworkDriver
from virtbus_network.object import NetworkObject
from virtbus_network.statistics import NetworkStatistics, Traffic
from virtbus_network.xml import parse_network
from virtbus_shared.service.collection import Collection
from virtbus_shared.service.driver import Driver
from virtbus_shared.service.snapshot import Row, one


@dataclass(frozen=True, slots=True)
class Shape:
    """What metrics need of a document."""

    bridge: str
    forward_mode: str
    dns_domain: str

    @classmethod
    def of(cls, text: str) -> Shape:
        """The shape of a stored document."""
        model = parse_network(text)
        return cls((model.bridge.name if model.bridge else None) or "",
                   (model.forward.mode or "nat") if model.forward else "none", model.domain_name or "")


@dataclass(frozen=True, slots=True)
class Subject:
    """A network with its driver and the shape of its document."""

    driver: NetworkDriver
    network: NetworkObject
    shape: Shape

    @property
    def key(self) -> str:
        """Its UUID."""
        return self.network.uuid

    @property
    def scheme(self) -> str:
        """Its driver."""
        return self.driver.host.scheme

    @property
    def identity(self) -> tuple[str, str]:
        """Name and UUID."""
        return self.network.name, self.network.uuid

    @property
    def instance(self) -> float | None:
        """When it was started."""
        return self.network.started if self.network.active else None

    def stamp(self) -> tuple[object, ...]:
        """All that the known rows are made of."""
        n = self.network
        return (n.active, n.started, n.autostart, n.persistent, self.shape)


TOTALS: tuple[Row[Sequence[Subject]], ...] = (
    Row("virtbus_networks", "gauge", ("state",), "Networks of this node, by state, as the service knows them.",
        lambda all_: [((word,), sum(s.network.active == active for s in all_))
                      for word, active in (("active", True), ("inactive", False))]),
)

KNOWN: tuple[Row[Subject], ...] = (
    Row("virtbus_network_info", "info", ("bridge", "forward_mode", "dns_domain"), "What the network is, from its "
        "definition; always 1.", lambda s: [((s.shape.bridge, s.shape.forward_mode, s.shape.dns_domain), 1)]),
    one("virtbus_network_active", "gauge", "1 when the network runs, as the service knows it.",
        lambda s: int(s.network.active)),
    one("virtbus_network_autostart", "gauge", "1 when the network starts with the node, from its mark.",
        lambda s: int(s.network.autostart)),
    one("virtbus_network_persistent", "gauge", "1 when the network is defined, 0 when it will be gone with its end.",
        lambda s: int(s.network.persistent)),
    one("virtbus_network_start_time_seconds", "gauge", "Unix time at which the network was started by the service; "
        "absent when inactive.", lambda s: (s.network.started or None) if s.network.active else None),
)

_TRAFFIC: tuple[tuple[str, str, Callable[[Traffic], int]], ...] = (
    ("bytes", "Bytes", lambda t: t.bytes), ("packets", "Packets", lambda t: t.packets),
    ("errors", "Packets with errors", lambda t: t.errors),
    ("drops", "Packets dropped instead of being", lambda t: t.drops))


def _traffic(direction: str, what: str, text: str, get: Callable[[Traffic], int]) -> Row[NetworkStatistics]:
    text = f"{text} by the network's bridge since it was made, in the host's view (from its device's statistics)."
    return one(f"virtbus_network_{direction}_{what}_total", "counter", text,
               lambda s: get(s.receive if direction == "receive" else s.transmit), "traffic")


MEASURED: tuple[Row[NetworkStatistics], ...] = tuple(
    _traffic(direction, what, f"{noun} {verb}", get)
    for direction, verb in (("receive", "received"), ("transmit", "transmitted")) for what, noun, get in _TRAFFIC)


class Networks(Collection[Subject, NetworkStatistics, Sequence[Subject]]):
    """The networks of all connections."""

    name = "networks"
    interval = 10.0
    labels = ("network", "uuid")
    freshness = "virtbus_network"
    known = KNOWN
    measured = MEASURED
    totals = TOTALS

    def __init__(self, connections: Mapping[tuple[str, str], Driver]) -> None:
        super().__init__(connections)
        self._shapes: dict[str, tuple[str, Shape]] = {}  # by UUID, with the document that it was read from

    def subjects(self) -> Iterator[Subject]:
        """All networks."""
        for driver in [d for d in self.connections.values() if isinstance(d, NetworkDriver)]:
            for network in tuple(driver.networks):
                yield Subject(driver, network, self._shape(network))

    def _shape(self, network: NetworkObject) -> Shape:
        text = network.live or network.inactive or ""
        kept = self._shapes.get(network.uuid)
        if kept is None or kept[0] is not text:
            kept = self._shapes[network.uuid] = (text, Shape.of(text))
        return kept[1]

    def whole(self, subjects: Sequence[Subject]) -> Sequence[Subject]:
        """All networks."""
        self._shapes = {s.key: self._shapes[s.key] for s in subjects}
        return subjects

    async def measure(self, subject: Subject) -> NetworkStatistics | None:
        """Ask its driver."""
        return await subject.driver.statistics(subject.network, subject.shape.bridge)
