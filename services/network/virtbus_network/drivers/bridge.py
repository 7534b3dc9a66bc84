"""The ``bridge`` driver: isolated networks, each on a Linux bridge of its own on this node."""

from __future__ import annotations

from virtbus_network.bridge import check_supported, complete_bridge, create_bridge, destroy_bridge, find_bridge
from virtbus_network.driver import NetworkDriver, emit
from virtbus_network.object import KIND, NetworkObject
from virtbus_network.statistics import NetworkStatistics, bridge_statistics
from virtbus_network.xml import Network, parse_network
from virtbus_shared import constants as c


class BridgeDriver(NetworkDriver):
    """``qemu:///system``."""

    paths = ("/system",)
    prefix = "network"
    error_domain = c.VIR_FROM_NETWORK

    async def start(self) -> None:
        """Load definitions, and look which networks' bridges are there: the answer is the truth (law 4)."""
        self.load()
        for network in list(self.networks):
            text = network.live or network.inactive
            there = text is not None and await find_bridge(parse_network(text))
            if there == network.active:
                continue
            change = self.host.change()
            if there:
                # It was made, and the service ended before that was stored.
                network.live = network.inactive
                emit(change, network, c.VIR_NETWORK_EVENT_STARTED)
                change.put(KIND, network.uuid, network.record())
            else:
                network.live = None
                emit(change, network, c.VIR_NETWORK_EVENT_STOPPED)
                if network.persistent:
                    change.put(KIND, network.uuid, network.record())
                else:
                    self.networks.remove(network)
                    change.delete(KIND, network.uuid)
            await self.host.commit(change)

    async def stop(self) -> None:
        """Networks stay as they are."""

    def complete(self, model: Network) -> None:
        """A free bridge name and a MAC address, where the document gives none."""
        complete_bridge(model, {n.bridge for n in self.networks if n.bridge and n.uuid != model.uuid})

    async def statistics(self, network: NetworkObject, bridge: str) -> NetworkStatistics | None:
        """The kernel's counters."""
        del network
        return bridge_statistics(bridge) if bridge else None

    async def network_create(self, network: NetworkObject, model: Network) -> None:
        """Make the bridge."""
        check_supported(model)
        await create_bridge(model)

    async def network_destroy(self, network: NetworkObject) -> None:
        """Remove the bridge."""
        assert network.live is not None
        await destroy_bridge(parse_network(network.live))
