"""``virNodeDevice``, and what a connection can say of its host: one method per row of the node device service."""

from __future__ import annotations

from virtbus.arguments import flag_bits, optional_text, text
from virtbus.errors import api_call
from virtbus.handle import Caller, Handle
from virtbus.unsupported import complete
from virtbus_shared import constants as c
from virtbus_shared.api import nodedev as rows
from virtbus_shared.api.common import ListFlags
from virtbus_shared.errors import check_flags
from virtbus_shared.procedure import NoParams

_PREFIX = "VIR_CONNECT_LIST_NODE_DEVICES_CAP_"
_IN_XML = {"PCI_DEV": "pci", "USB_DEV": "usb_device", "USB_INTERFACE": "usb", "CCW_DEV": "ccw", "CSS_DEV": "css"}
# Name of a capability, as in the XML -> the flag that lists its devices.
CAPABILITIES = {
    _IN_XML.get(name.removeprefix(_PREFIX), name.removeprefix(_PREFIX).lower()): value
    for name, value in vars(c).items() if name.startswith(_PREFIX)
}


@complete
class virNodeDevice(Handle):
    """A device of the host: a name."""

    def __init__(self, parent: Caller, _obj: rows.NodeDevice) -> None:
        super().__init__(parent)
        self._name = _obj.name
        self._parent = _obj.parent

    @api_call
    def name(self) -> str:
        """Its name, such as ``pci_0000_00_1f_2``; no call."""
        return self._name

    @api_call
    def parent(self) -> str | None:
        """Name of the device that it hangs on, None for the root; no call."""
        return self._parent

    @api_call
    def XMLDesc(self, flags: int = 0) -> str:
        """Its description as XML; ``flags`` must be 0."""
        return self._call("virNodeDeviceGetXMLDesc", rows.GET_XML_DESC,
                          rows.DeviceFlags(name=self._name, flags=flag_bits(flags))).xml

    @api_call
    def listCaps(self) -> list[str]:
        """Names of its capabilities."""
        return self._caps("virNodeDeviceListCaps")

    @api_call
    def numOfCaps(self) -> int:
        """How many capabilities it has."""
        return len(self._caps("virNodeDeviceNumOfCaps"))

    def _caps(self, function: str) -> list[str]:
        return self._call(function, rows.LIST_CAPS, rows.DeviceName(name=self._name)).capabilities


class NodeDeviceCalls(Caller):
    """The part of ``virConnect`` that knows the host and its devices."""

    @api_call
    def listAllDevices(self, flags: int = 0) -> list[virNodeDevice]:
        """All devices that match ``VIR_CONNECT_LIST_NODE_DEVICES_CAP_*`` flags; 0 for all."""
        return [virNodeDevice(self, found) for found in self._devices("virConnectListAllNodeDevices", flags)]

    @api_call
    def listDevices(self, cap: str | None, flags: int = 0) -> list[str]:
        """Names of the devices with a capability, of all for None; ``flags`` must be 0."""
        return self._device_names("virNodeListDevices", cap, flags)

    @api_call
    def numOfDevices(self, cap: str | None, flags: int = 0) -> int:
        """How many devices have a capability; all for None; ``flags`` must be 0."""
        return len(self._device_names("virNodeNumOfDevices", cap, flags))

    def _device_names(self, function: str, cap: str | None, flags: int) -> list[str]:
        check_flags(flag_bits(flags), 0, function, c.VIR_FROM_NODEDEV)
        name = optional_text(cap, function)
        if name is not None and name not in CAPABILITIES:
            self._open_channel(function)
            return []  # no device has it
        return [device.name for device in self._devices(function, 0 if name is None else CAPABILITIES[name])]

    def _devices(self, function: str, flags: int) -> list[rows.NodeDevice]:
        return self._call(function, rows.LIST_ALL, ListFlags(flags=flag_bits(flags))).devices

    @api_call
    def nodeDeviceLookupByName(self, name: str) -> virNodeDevice:
        """The device of a name. Code 53 if there is none."""
        function = "virNodeDeviceLookupByName"
        return virNodeDevice(self, self._call(function, rows.LOOKUP_BY_NAME,
                                              rows.DeviceName(name=text(name, function, "name"))))

    @api_call
    def getInfo(self) -> list[str | int]:
        """[CPU model, memory MiB, CPUs, MHz, NUMA nodes, sockets per node, cores per socket, threads per core]."""
        info = self._call("virNodeGetInfo", rows.GET_NODE_INFO, NoParams())
        return [info.model, info.memory // 1024, info.cpus, info.mhz, info.nodes, info.sockets, info.cores,
                info.threads]

    @api_call
    def getHostname(self) -> str:
        """Name of the host."""
        return self._call("virConnectGetHostname", rows.GET_HOSTNAME, NoParams()).value

    @api_call
    def getFreeMemory(self) -> int:
        """Free memory of the host, bytes."""
        return self._call("virNodeGetFreeMemory", rows.GET_FREE_MEMORY, NoParams()).value
