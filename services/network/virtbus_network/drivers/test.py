"""The ``test`` driver: networks that exist in memory, with the contents and words of libvirt's ``test:///default``."""

from __future__ import annotations

import time

from virtbus_network.driver import NetworkDriver
from virtbus_network.object import KIND, NetworkObject, bridge_name
from virtbus_network.statistics import NetworkStatistics, Traffic
from virtbus_network.xml import Network, format_network
from virtbus_shared import constants as c
from virtbus_shared.api import network as api
from virtbus_shared.service import node_file

DEFAULT = """
<node>
  <network>
    <name>default</name>
    <uuid>dd8fe884-6c02-601e-7551-cca97df1c5df</uuid>
    <forward mode='nat'/>
    <bridge name='virbr0'/>
    <ip address='192.168.122.1' netmask='255.255.255.0'>
      <dhcp><range start='192.168.122.2' end='192.168.122.254'/></dhcp>
    </ip>
  </network>
</node>
"""


class TestDriver(NetworkDriver):
    """``test:///default``, and in-process ``test:///a/file.xml``."""

    __test__ = False  # its name makes pytest curious

    paths = ("/default",)
    prefix = "test"
    error_domain = c.VIR_FROM_TEST
    xml_flags = 0

    @classmethod
    def accepts(cls, path: str, *, inprocess: bool) -> bool:
        """In-process, also a file that describes a node."""
        return node_file.accepts(path, inprocess=inprocess)

    async def start(self) -> None:
        """Continue with what the store kept, or begin with the default content."""
        self.load()
        if len(self.networks):
            return
        change = self.host.change()
        for text in node_file.documents(self.host.path, DEFAULT, "network"):
            model = self.parse(text)
            network = NetworkObject(str(model.name), str(model.uuid))
            network.bridge = bridge_name(model)
            network.inactive = network.live = format_network(model)
            network.started = time.time()
            self.networks.add(network)
            change.put(KIND, network.uuid, network.record())
        await self.host.commit(change)

    async def stop(self) -> None:
        """Nothing is held."""

    def missing(self, procedure: str, ref: api.NetworkRef) -> str:
        """The test driver looks most networks up by their name."""
        by_uuid = procedure in (api.LOOKUP_BY_UUID.name, api.IS_ACTIVE.name, api.IS_PERSISTENT.name)
        return f"uuid '{ref.uuid}'" if by_uuid or not ref.name else f"name '{ref.name}'"

    def check_create(self, network: NetworkObject) -> None:
        """In the test driver's words."""
        if network.active:
            raise self.invalid(f"Network '{network.name}' is already running")

    def check_destroy(self, network: NetworkObject) -> None:
        """The test driver lets a network that does not run be stopped."""

    def check_undefine(self, network: NetworkObject) -> None:
        """The test driver lets no running network be forgotten."""
        if network.active:
            raise self.invalid(f"Network '{network.name}' is still running")

    def check_autostart(self, network: NetworkObject) -> None:
        """The test driver lets a transient network have the mark."""

    async def statistics(self, network: NetworkObject, bridge: str) -> NetworkStatistics:
        """Two packets of a thousand bytes come in a second, and one goes out."""
        del bridge
        seconds = max(0, int(time.time() - network.started))
        return NetworkStatistics(Traffic(2000 * seconds, 2 * seconds, 0, 0), Traffic(1000 * seconds, seconds, 0, 0))

    async def network_create(self, network: NetworkObject, model: Network) -> None:
        """Runs at once."""

    async def network_destroy(self, network: NetworkObject) -> None:
        """Gone at once."""
