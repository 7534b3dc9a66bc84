"""Rows of the network service: virtual networks.

Sources: libvirt 9.0.0, ``libvirt-network.h`` (names, flags, events).
"""

from __future__ import annotations

from typing import TypeVar

from pydantic import Field

from virtbus_shared import constants as c
from virtbus_shared.api.common import Document, Flag, ListFlags, String
from virtbus_shared.procedure import (
    TABLE,
    Event,
    Flags,
    Nothing,
    Params,
    Priority,
    Procedure,
    Result,
    Text,
    Uuid,
)

P = TypeVar("P", bound=Params)
R = TypeVar("R", bound=Result)


class Network(Result):
    """A reference to a network."""

    name: str = Field(description="Name, unique on the connection.")
    uuid: str = Field(description="UUID in canonical text form.")


class NetworkRef(Params):
    """Which network."""

    uuid: Uuid
    name: str = Field(default="", max_length=1024, description="Its name as the caller knows it, for messages only.")


class NetworkFlags(NetworkRef):
    """Which network, and how."""

    flags: Flags = 0


class NetworkXML(Params):
    """A network described by a document."""

    xml: Text = Field(description="A <network> document.")
    flags: Flags = 0


class NetworkName(Params):
    """A network by its name."""

    name: str = Field(description="Name of the network.")


class SetAutostart(NetworkRef):
    """Whether a network starts with its node."""

    autostart: bool = Field(description="True: start it when the service starts on a booted node.")


class Networks(Result):
    """A list of networks."""

    networks: list[Network] = Field(description="The networks that match.")


class LifecycleBody(Result):
    """virConnectNetworkEventLifecycleCallback."""

    network: Network = Field(description="The network.")
    event: int = Field(description="A VIR_NETWORK_EVENT_* type.")
    detail: int = Field(description="Always 0 so far.")


def _read(name: str, serves: str, params: type[P], result: type[R], summary: str,
          acl: str = "network:read") -> Procedure[P, R]:
    """A row that is answered from memory and allowed on a read-only connection."""
    return TABLE.procedure(Procedure(
        name=f"network.{name}", summary=summary, params=params, result=result, acl=acl, read_only=True,
        priority=Priority.HIGH, serves=tuple(serves.split()), errors=(c.VIR_ERR_NO_NETWORK,), since="0.1"))


def _change(name: str, serves: str, params: type[P], result: type[R], summary: str, acl: str,
            errors: tuple[int, ...] = (c.VIR_ERR_NO_NETWORK, c.VIR_ERR_OPERATION_INVALID)) -> Procedure[P, R]:
    """A row that changes state."""
    return TABLE.procedure(Procedure(
        name=f"network.{name}", summary=summary, params=params, result=result, acl=acl, changes=True,
        serves=tuple(serves.split()), errors=errors, since="0.1"))


_XML = (c.VIR_ERR_XML_ERROR, c.VIR_ERR_XML_DETAIL, c.VIR_ERR_OPERATION_FAILED, c.VIR_ERR_CONFIG_UNSUPPORTED)

LIST_ALL = _read("list_all", "virConnectListAllNetworks virConnectListNetworks virConnectNumOfNetworks "
                 "virConnectListDefinedNetworks virConnectNumOfDefinedNetworks", ListFlags, Networks,
                 "All networks that match VIR_CONNECT_LIST_NETWORKS_* flags.", "connect:search_networks")
LOOKUP_BY_NAME = _read("lookup_by_name", "virNetworkLookupByName", NetworkName, Network, "The network of a name.")
LOOKUP_BY_UUID = _read("lookup_by_uuid", "virNetworkLookupByUUID virNetworkLookupByUUIDString", NetworkRef, Network,
                       "The network of a UUID.")
DEFINE_XML = _change("define_xml", "virNetworkDefineXML virNetworkDefineXMLFlags", NetworkXML, Network,
                     "Define a persistent network, or change its definition.", "network:write", _XML)
CREATE_XML = _change("create_xml", "virNetworkCreateXML virNetworkCreateXMLFlags", NetworkXML, Network,
                     "Start a transient network from a document.", "network:start", _XML)
UNDEFINE = _change("undefine", "virNetworkUndefine", NetworkRef, Nothing,
                   "Forget a definition; a running network becomes transient.", "network:delete")
CREATE = _change("create", "virNetworkCreate", NetworkRef, Nothing, "Start a defined network.", "network:start")
DESTROY = _change("destroy", "virNetworkDestroy", NetworkRef, Nothing, "Stop a network.", "network:stop")
GET_XML_DESC = _read("get_xml_desc", "virNetworkGetXMLDesc", NetworkFlags, Document, "The network as XML.")
GET_BRIDGE_NAME = _read("get_bridge_name", "virNetworkGetBridgeName", NetworkRef, String,
                        "Name of the bridge that carries it.")
GET_AUTOSTART = _read("get_autostart", "virNetworkGetAutostart", NetworkRef, Flag, "Whether it starts with the node.")
SET_AUTOSTART = _change("set_autostart", "virNetworkSetAutostart", SetAutostart, Nothing,
                        "Say whether it starts with the node.", "network:write")
IS_ACTIVE = _read("is_active", "virNetworkIsActive", NetworkRef, Flag, "Whether it runs.")
IS_PERSISTENT = _read("is_persistent", "virNetworkIsPersistent", NetworkRef, Flag, "Whether it is defined.")

LIFECYCLE = TABLE.event(Event(
    name="network.lifecycle", summary="A network was defined, undefined, started or stopped.", body=LifecycleBody,
    id=c.VIR_NETWORK_EVENT_ID_LIFECYCLE, since="0.1"))
