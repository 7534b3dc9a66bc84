"""The handlers of the node device service. All of them answer from memory, or from a file of the kernel's."""

from __future__ import annotations

from virtbus_nodedev.driver import NodedevDriver
from virtbus_nodedev.xml import NetCapability, NodeDevice, PciCapability, format_device
from virtbus_shared import constants as c
from virtbus_shared.api import nodedev as api
from virtbus_shared.api.common import Document, ListFlags, Number, String
from virtbus_shared.errors import LibvirtError
from virtbus_shared.procedure import NoParams
from virtbus_shared.service.handlers import Context, Handlers

handlers: Handlers[NodedevDriver] = Handlers("nodedev")

Ctx = Context[NodedevDriver]

# Which bit of VIR_CONNECT_LIST_NODE_DEVICES_* a capability's type answers to.
_CAPABILITY_BITS = {
    "system": c.VIR_CONNECT_LIST_NODE_DEVICES_CAP_SYSTEM,
    "pci": c.VIR_CONNECT_LIST_NODE_DEVICES_CAP_PCI_DEV,
    "usb_device": c.VIR_CONNECT_LIST_NODE_DEVICES_CAP_USB_DEV,
    "usb": c.VIR_CONNECT_LIST_NODE_DEVICES_CAP_USB_INTERFACE,
    "net": c.VIR_CONNECT_LIST_NODE_DEVICES_CAP_NET,
    "scsi_host": c.VIR_CONNECT_LIST_NODE_DEVICES_CAP_SCSI_HOST,
    "scsi_target": c.VIR_CONNECT_LIST_NODE_DEVICES_CAP_SCSI_TARGET,
    "scsi": c.VIR_CONNECT_LIST_NODE_DEVICES_CAP_SCSI,
    "storage": c.VIR_CONNECT_LIST_NODE_DEVICES_CAP_STORAGE,
    "fc_host": c.VIR_CONNECT_LIST_NODE_DEVICES_CAP_FC_HOST,
    "vports": c.VIR_CONNECT_LIST_NODE_DEVICES_CAP_VPORTS,
    "scsi_generic": c.VIR_CONNECT_LIST_NODE_DEVICES_CAP_SCSI_GENERIC,
    "drm": c.VIR_CONNECT_LIST_NODE_DEVICES_CAP_DRM,
    "mdev_types": c.VIR_CONNECT_LIST_NODE_DEVICES_CAP_MDEV_TYPES,
    "mdev": c.VIR_CONNECT_LIST_NODE_DEVICES_CAP_MDEV,
    "ccw": c.VIR_CONNECT_LIST_NODE_DEVICES_CAP_CCW_DEV,
    "css": c.VIR_CONNECT_LIST_NODE_DEVICES_CAP_CSS_DEV,
    "vdpa": c.VIR_CONNECT_LIST_NODE_DEVICES_CAP_VDPA,
    "ap_card": c.VIR_CONNECT_LIST_NODE_DEVICES_CAP_AP_CARD,
    "ap_queue": c.VIR_CONNECT_LIST_NODE_DEVICES_CAP_AP_QUEUE,
    "ap_matrix": c.VIR_CONNECT_LIST_NODE_DEVICES_CAP_AP_MATRIX,
    "vpd": c.VIR_CONNECT_LIST_NODE_DEVICES_CAP_VPD,
}
_ACTIVE, _INACTIVE = c.VIR_CONNECT_LIST_NODE_DEVICES_ACTIVE, c.VIR_CONNECT_LIST_NODE_DEVICES_INACTIVE
LIST_FLAGS = sum(_CAPABILITY_BITS.values()) | _ACTIVE | _INACTIVE


def capability_types(device: NodeDevice) -> list[str]:
    """The capabilities of a device by libvirt's names; a PCI or network device may have more than its main one."""
    main = getattr(device.capability, "type", None)
    types = [main] if isinstance(main, str) else []
    if isinstance(device.capability, PciCapability):
        types += [sub.type for sub in device.capability.capabilities if sub.type in _CAPABILITY_BITS]
    if isinstance(device.capability, NetCapability) and device.capability.subtype:
        types.append(device.capability.subtype)
    return types


def _matches(device: NodeDevice, wanted: int) -> bool:
    """Whether a device has a capability of these bits, be it one below its main one, which ``listCaps`` leaves out."""
    rest = getattr(device.capability, "rest", None) or {}
    below = [value for kept in rest.values() for found in kept.elements if found.tag == "capability"
             for key, value in found.attrs if key == "type"]
    types = capability_types(device) + ["vports" if name == "vport_ops" else name for name in below]
    return any(wanted & _CAPABILITY_BITS.get(name, 0) for name in types)


def reference(device: NodeDevice) -> api.NodeDevice:
    """What clients hold."""
    return api.NodeDevice(name=device.name or "", parent=device.parent)


def _find(ctx: Ctx, name: str) -> NodeDevice:
    device = ctx.driver.find(name)
    if device is None:
        raise LibvirtError(c.VIR_ERR_NO_NODE_DEVICE, f"no node device with matching name '{name}'",
                           domain=ctx.driver.error_domain)
    return device


@handlers.answers(api.LIST_ALL)
def list_all(ctx: Ctx, params: ListFlags) -> api.NodeDevices:
    """virConnectListAllNodeDevices; every device listed here is active."""
    ctx.driver.check_flags(params.flags, LIST_FLAGS, "ConnectListAllNodeDevices")
    if params.flags & _INACTIVE and not params.flags & _ACTIVE:
        return api.NodeDevices(devices=[])
    wanted = params.flags & ~(_ACTIVE | _INACTIVE)
    return api.NodeDevices(devices=[
        reference(device) for device in ctx.driver.devices()
        if not wanted or _matches(device, wanted)])


@handlers.answers(api.LOOKUP_BY_NAME)
def lookup_by_name(ctx: Ctx, params: api.DeviceName) -> api.NodeDevice:
    """virNodeDeviceLookupByName."""
    return reference(_find(ctx, params.name))


@handlers.answers(api.GET_XML_DESC)
def get_xml_desc(ctx: Ctx, params: api.DeviceFlags) -> Document:
    """virNodeDeviceGetXMLDesc."""
    ctx.driver.check_flags(params.flags, 0, "NodeDeviceGetXMLDesc")
    return Document(xml=format_device(_find(ctx, params.name)))


@handlers.answers(api.LIST_CAPS)
def list_caps(ctx: Ctx, params: api.DeviceName) -> api.Capabilities:
    """virNodeDeviceListCaps."""
    return api.Capabilities(capabilities=capability_types(_find(ctx, params.name)))


@handlers.answers(api.GET_NODE_INFO)
def get_node_info(ctx: Ctx, params: NoParams) -> api.NodeInfo:
    """virNodeGetInfo."""
    del params
    info = ctx.driver.node_info()
    return api.NodeInfo(model=info.model, memory=info.memory, cpus=info.cpus, mhz=info.mhz, nodes=info.nodes,
                        sockets=info.sockets, cores=info.cores, threads=info.threads)


@handlers.answers(api.GET_HOSTNAME)
def get_hostname(ctx: Ctx, params: NoParams) -> String:
    """virConnectGetHostname."""
    del params
    return String(value=ctx.driver.hostname())


@handlers.answers(api.GET_CAPABILITIES)
def get_capabilities(ctx: Ctx, params: NoParams) -> Document:
    """The host's part of virConnectGetCapabilities."""
    del params
    return Document(xml=ctx.driver.capabilities())


@handlers.answers(api.GET_FREE_MEMORY)
def get_free_memory(ctx: Ctx, params: NoParams) -> Number:
    """virNodeGetFreeMemory."""
    del params
    return Number(value=ctx.driver.free_memory())
