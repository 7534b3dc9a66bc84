"""``virNetwork``, and what a connection can do with networks: one method per row of the network service."""

from __future__ import annotations

from virtbus.arguments import flag_bits, number, text, uuid_from_bytes, uuid_from_text
from virtbus.errors import api_call
from virtbus.handle import MAX_NAME, Caller, Handle
from virtbus.unsupported import complete
from virtbus_shared import constants as c
from virtbus_shared.api import network as rows
from virtbus_shared.api.common import ListFlags


@complete
class virNetwork(Handle):
    """A virtual network: a name and a UUID."""

    def __init__(self, parent: Caller, _obj: rows.Network) -> None:
        super().__init__(parent)
        self._name = _obj.name
        self._uuid = _obj.uuid

    def _ref(self) -> rows.NetworkRef:
        return rows.NetworkRef(uuid=self._uuid, name=self._name[:MAX_NAME])

    @api_call
    def name(self) -> str:
        """Its name; no call."""
        return self._name

    @api_call
    def UUID(self) -> bytes:
        """Its UUID as 16 bytes; no call."""
        return bytes.fromhex(self._uuid.replace("-", ""))

    @api_call
    def UUIDString(self) -> str:
        """Its UUID as text; no call."""
        return self._uuid

    @api_call
    def create(self) -> int:
        """Start it. Code 55 if it runs already."""
        self._call("virNetworkCreate", rows.CREATE, self._ref())
        return 0

    @api_call
    def destroy(self) -> int:
        """Stop it; a transient network is gone then."""
        self._call("virNetworkDestroy", rows.DESTROY, self._ref())
        return 0

    @api_call
    def undefine(self) -> int:
        """Forget its definition; a running network becomes transient."""
        self._call("virNetworkUndefine", rows.UNDEFINE, self._ref())
        return 0

    @api_call
    def XMLDesc(self, flags: int = 0) -> str:
        """Its description as XML; ``flags`` are ``VIR_NETWORK_XML_*``."""
        return self._call("virNetworkGetXMLDesc", rows.GET_XML_DESC, rows.NetworkFlags(
            uuid=self._uuid, name=self._name[:MAX_NAME], flags=flag_bits(flags))).xml

    @api_call
    def bridgeName(self) -> str:
        """Name of the bridge that carries it."""
        return self._call("virNetworkGetBridgeName", rows.GET_BRIDGE_NAME, self._ref()).value

    @api_call
    def autostart(self) -> int:
        """1 if it starts with its node, else 0."""
        return int(self._call("virNetworkGetAutostart", rows.GET_AUTOSTART, self._ref()).value)

    @api_call
    def setAutostart(self, autostart: int) -> int:
        """Say whether it starts with its node."""
        self._call("virNetworkSetAutostart", rows.SET_AUTOSTART, rows.SetAutostart(
            uuid=self._uuid, name=self._name[:MAX_NAME], autostart=bool(number(autostart))))
        return 0

    @api_call
    def isActive(self) -> int:
        """1 if it runs, else 0."""
        return int(self._call("virNetworkIsActive", rows.IS_ACTIVE, self._ref()).value)

    @api_call
    def isPersistent(self) -> int:
        """1 if it is defined, 0 if it ends with its run."""
        return int(self._call("virNetworkIsPersistent", rows.IS_PERSISTENT, self._ref()).value)


class NetworkCalls(Caller):
    """The part of ``virConnect`` that finds and makes networks."""

    @api_call
    def listAllNetworks(self, flags: int = 0) -> list[virNetwork]:
        """All networks that match ``VIR_CONNECT_LIST_NETWORKS_*`` flags; 0 for all."""
        return [virNetwork(self, found) for found in self._networks("virConnectListAllNetworks", flags)]

    @api_call
    def listNetworks(self) -> list[str]:
        """Names of the active networks."""
        return [n.name for n in self._networks("virConnectListNetworks", c.VIR_CONNECT_LIST_NETWORKS_ACTIVE)]

    @api_call
    def numOfNetworks(self) -> int:
        """How many networks are active."""
        return len(self._networks("virConnectNumOfNetworks", c.VIR_CONNECT_LIST_NETWORKS_ACTIVE))

    @api_call
    def listDefinedNetworks(self) -> list[str]:
        """Names of the inactive networks."""
        return [n.name for n in self._networks("virConnectListDefinedNetworks", c.VIR_CONNECT_LIST_NETWORKS_INACTIVE)]

    @api_call
    def numOfDefinedNetworks(self) -> int:
        """How many networks are inactive."""
        return len(self._networks("virConnectNumOfDefinedNetworks", c.VIR_CONNECT_LIST_NETWORKS_INACTIVE))

    def _networks(self, function: str, flags: int) -> list[rows.Network]:
        return self._call(function, rows.LIST_ALL, ListFlags(flags=flag_bits(flags))).networks

    @api_call
    def networkLookupByName(self, name: str) -> virNetwork:
        """The network of a name. Code 43 if there is none."""
        function = "virNetworkLookupByName"
        return virNetwork(self, self._call(function, rows.LOOKUP_BY_NAME,
                                           rows.NetworkName(name=text(name, function, "name"))))

    @api_call
    def networkLookupByUUID(self, uuid: bytes) -> virNetwork:
        """The network of a UUID in 16 bytes. Code 43 if there is none."""
        function = "virNetworkLookupByUUID"
        return self._network_by_uuid(function, uuid_from_bytes(uuid, function))

    @api_call
    def networkLookupByUUIDString(self, uuidstr: str) -> virNetwork:
        """The network of a UUID in text. Code 43 if there is none."""
        function = "virNetworkLookupByUUIDString"
        return self._network_by_uuid(function, uuid_from_text(uuidstr, function))

    def _network_by_uuid(self, function: str, uuid: str) -> virNetwork:
        return virNetwork(self, self._call(function, rows.LOOKUP_BY_UUID, rows.NetworkRef(uuid=uuid)))

    @api_call
    def networkDefineXML(self, xml: str) -> virNetwork:
        """Define a persistent network by a ``<network>`` document, or change its definition."""
        return self._define_network("virNetworkDefineXML", xml, 0)

    @api_call
    def networkDefineXMLFlags(self, xml: str, flags: int = 0) -> virNetwork:
        """As ``networkDefineXML``; ``flags`` are ``VIR_NETWORK_DEFINE_*``."""
        return self._define_network("virNetworkDefineXMLFlags", xml, flags)

    def _define_network(self, function: str, xml: str, flags: int) -> virNetwork:
        params = rows.NetworkXML(xml=text(xml, function, "xml"), flags=flag_bits(flags))
        return virNetwork(self, self._call(function, rows.DEFINE_XML, params))

    @api_call
    def networkCreateXML(self, xmlDesc: str) -> virNetwork:
        """Start a transient network from a document."""
        return self._create_network("virNetworkCreateXML", xmlDesc, 0)

    @api_call
    def networkCreateXMLFlags(self, xmlDesc: str, flags: int = 0) -> virNetwork:
        """As ``networkCreateXML``; ``flags`` are ``VIR_NETWORK_CREATE_*``."""
        return self._create_network("virNetworkCreateXMLFlags", xmlDesc, flags)

    def _create_network(self, function: str, xml: str, flags: int) -> virNetwork:
        params = rows.NetworkXML(xml=text(xml, function, "xmlDesc"), flags=flag_bits(flags))
        return virNetwork(self, self._call(function, rows.CREATE_XML, params))
