"""Rows of the node device service: devices of the host, and facts about the host itself.

Sources: libvirt 9.0.0, ``libvirt-nodedev.h`` and ``libvirt-host.h`` (names, flags, events).
"""

from __future__ import annotations

from typing import TypeVar

from pydantic import Field

from virtbus_shared import constants as c
from virtbus_shared.api.common import Document, ListFlags, Number, String
from virtbus_shared.procedure import TABLE, Event, Flags, NoParams, Params, Priority, Procedure, Result

P = TypeVar("P", bound=Params)
R = TypeVar("R", bound=Result)


class NodeDevice(Result):
    """A reference to a node device."""

    name: str = Field(description="Name, such as pci_0000_00_1f_2.")
    parent: str | None = Field(default=None, description="Name of the device that it hangs on; absent for the root.")


class DeviceName(Params):
    """Which node device."""

    name: str = Field(description="Name of the device.")


class DeviceFlags(DeviceName):
    """Which node device, and how."""

    flags: Flags = 0


class NodeDevices(Result):
    """A list of node devices."""

    devices: list[NodeDevice] = Field(description="The devices that match.")


class Capabilities(Result):
    """Names of capabilities."""

    capabilities: list[str] = Field(description="Such as pci, net, storage.")


class NodeInfo(Result):
    """virNodeInfo."""

    model: str = Field(description="CPU model, such as x86_64.")
    memory: int = Field(description="Memory, KiB.")
    cpus: int = Field(description="Active CPUs.")
    mhz: int = Field(description="CPU frequency, MHz; 0 when unknown.")
    nodes: int = Field(description="NUMA cells; 1 for uniform memory.")
    sockets: int = Field(description="Sockets per cell.")
    cores: int = Field(description="Cores per socket.")
    threads: int = Field(description="Threads per core.")


class LifecycleBody(Result):
    """virConnectNodeDeviceEventLifecycleCallback."""

    device: NodeDevice = Field(description="The device.")
    event: int = Field(description="A VIR_NODE_DEVICE_EVENT_* type.")
    detail: int = Field(description="Always 0 so far.")


def _read(name: str, serves: str, params: type[P], result: type[R], summary: str, acl: str = "node_device:read",
          errors: tuple[int, ...] = (c.VIR_ERR_NO_NODE_DEVICE,)) -> Procedure[P, R]:
    """A row that is answered from memory and allowed on a read-only connection."""
    return TABLE.procedure(Procedure(
        name=f"nodedev.{name}", summary=summary, params=params, result=result, acl=acl, read_only=True,
        priority=Priority.HIGH, serves=tuple(serves.split()), errors=errors, since="0.1"))


LIST_ALL = _read("list_all", "virConnectListAllNodeDevices virNodeListDevices virNodeNumOfDevices", ListFlags,
                 NodeDevices, "All devices that match VIR_CONNECT_LIST_NODE_DEVICES_CAP_* flags.",
                 "connect:search_node_devices", ())
LOOKUP_BY_NAME = _read("lookup_by_name", "virNodeDeviceLookupByName", DeviceName, NodeDevice, "The device of a name.")
GET_XML_DESC = _read("get_xml_desc", "virNodeDeviceGetXMLDesc", DeviceFlags, Document, "The device as XML.")
LIST_CAPS = _read("list_caps", "virNodeDeviceListCaps virNodeDeviceNumOfCaps", DeviceName, Capabilities,
                  "What a device is capable of.")
GET_NODE_INFO = _read("get_node_info", "virNodeGetInfo", NoParams, NodeInfo, "Model, memory and topology of the host.",
                      "connect:read", ())
GET_HOSTNAME = _read("get_hostname", "virConnectGetHostname", NoParams, String, "Name of the host.", "connect:read", ())
GET_CAPABILITIES = _read("get_capabilities", "virConnectGetCapabilities", NoParams, Document,
                         "The <host> element of the capabilities; the <guest>s are domain.get_capabilities.",
                         "connect:read", ())
GET_FREE_MEMORY = _read("get_free_memory", "virNodeGetFreeMemory", NoParams, Number, "Free memory of the host, bytes.",
                        "connect:read", ())

LIFECYCLE = TABLE.event(Event(
    name="nodedev.lifecycle", summary="A device came or went.", body=LifecycleBody,
    id=c.VIR_NODE_DEVICE_EVENT_ID_LIFECYCLE, since="0.1"))
