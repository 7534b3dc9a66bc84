"""A network in memory, and as the store keeps it. Reads answer from here."""

from __future__ import annotations

from virtbus_network.xml import Network
from virtbus_shared.api import network as api
from virtbus_shared.service.objects import Record, Turns

KIND = "network"


def bridge_name(model: Network) -> str:
    """The bridge that a document names, empty when it names none."""
    return (model.bridge.name if model.bridge else None) or ""


class NetworkObject:
    """One network. ``inactive`` is its definition, None for a transient one; ``live`` describes the running one."""

    __slots__ = ("autostart", "bridge", "inactive", "live", "name", "started", "turns", "uuid")

    def __init__(self, name: str, uuid: str) -> None:
        self.name = name
        self.uuid = uuid
        self.bridge = ""  # name of the bridge that carries it, empty when it has none
        self.inactive: str | None = None
        self.live: str | None = None
        self.autostart = False
        self.started = 0.0  # Unix seconds
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
    def reference(self) -> api.Network:
        """What clients hold."""
        return api.Network(name=self.name, uuid=self.uuid)

    def record(self) -> Record:
        """What the store keeps."""
        return {"name": self.name, "bridge": self.bridge, "inactive": self.inactive, "live": self.live,
                "autostart": self.autostart, "started": self.started}

    @classmethod
    def from_record(cls, uuid: str, record: Record) -> NetworkObject:
        """The network that the store kept; whether it really runs is for its driver to find out."""
        network = cls(record["name"], uuid)
        for key in ("bridge", "inactive", "live", "autostart", "started"):
            setattr(network, key, record[key])
        return network
