"""What a driver is to the network service. Its methods carry the names of the rows they serve."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import ClassVar

from virtbus_network.object import KIND, NetworkObject
from virtbus_network.statistics import NetworkStatistics
from virtbus_network.xml import Network, complete_network, parse_network
from virtbus_shared import constants as c
from virtbus_shared.api import network as api
from virtbus_shared.errors import LibvirtError
from virtbus_shared.procedure import AnyProcedure
from virtbus_shared.service.change import Change
from virtbus_shared.service.driver import Driver, DriverHost
from virtbus_shared.service.objects import Registry


def emit(change: Change, network: NetworkObject, event: int) -> None:
    """Record a lifecycle event."""
    change.event(api.LIFECYCLE, api.LifecycleBody(network=network.reference, event=event, detail=0))


class NetworkDriver(Driver):
    """One connection. ``networks`` are the networks on it."""

    xml_flags: ClassVar[int] = c.VIR_NETWORK_XML_INACTIVE  # what virNetworkGetXMLDesc takes

    def __init__(self, host: DriverHost) -> None:
        super().__init__(host)
        self.networks: Registry[NetworkObject] = Registry()

    def load(self) -> None:
        """Take in what the store kept."""
        for uuid, record in self.host.load(KIND):
            self.networks.add(NetworkObject.from_record(uuid, record))

    def autostarting(self) -> Iterable[tuple[AnyProcedure, dict[str, str]]]:
        """Marked networks that do not run."""
        return [(api.CREATE, {"uuid": n.uuid, "name": n.name}) for n in self.networks if n.autostart and not n.active]

    async def statistics(self, network: NetworkObject, bridge: str) -> NetworkStatistics | None:
        """What is measured of a running network; None when nothing can be. ``bridge`` is empty where it has none.

        Called without the network's turn, and not again before it has returned.
        """
        del network, bridge
        return None

    def parse(self, xml: str) -> Network:
        """A document, checked and with libvirt's defaults."""
        model = parse_network(xml)
        complete_network(model)
        return model

    def complete(self, model: Network) -> None:
        """Fill in what a definition needs of this host, such as a free bridge name."""

    def missing(self, procedure: str, ref: api.NetworkRef) -> str:
        """What a call on a network that is gone says it looked for."""
        del procedure
        return f"uuid '{ref.uuid}'" + (f" ({ref.name})" if ref.name else "")

    def invalid(self, detail: str) -> LibvirtError:
        """``VIR_ERR_OPERATION_INVALID``."""
        return LibvirtError(c.VIR_ERR_OPERATION_INVALID, detail, domain=self.error_domain)

    def check_create(self, network: NetworkObject) -> None:
        """Refuse to start a network that runs."""
        if network.active:
            raise self.invalid("network is already active")

    def check_destroy(self, network: NetworkObject) -> None:
        """Refuse to stop a network that does not run."""
        if not network.active:
            raise self.invalid("network is not active")

    def check_undefine(self, network: NetworkObject) -> None:
        """Refuse to forget a network that is not defined."""
        if not network.persistent:
            raise self.invalid("can't undefine transient network")

    def check_autostart(self, network: NetworkObject) -> None:
        """Refuse to start a network that is not defined with the node."""
        if not network.persistent:
            raise self.invalid("cannot set autostart for transient network")

    @abstractmethod
    async def network_create(self, network: NetworkObject, model: Network) -> None:
        """Make the network run as ``model`` says; completes ``model`` with what really runs."""

    @abstractmethod
    async def network_destroy(self, network: NetworkObject) -> None:
        """Take down what ``network_create`` made."""
