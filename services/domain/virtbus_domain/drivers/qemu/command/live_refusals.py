"""What cannot be changed while a guest runs, refused in libvirt's words before anything is sent to QEMU.

Much of it QEMU itself would refuse, some of it would leave a guest that is not what its document says. The texts and
codes are libvirt 9.0.0's, which has other ones for each family and each way; where libvirt passes over a difference
in silence, it is named here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from virtbus_domain.drivers.qemu.command.live_fields import Difference
from virtbus_domain.drivers.qemu.command.setup import Setup
from virtbus_domain.xml.address import DriveAddress, PciAddress
from virtbus_domain.xml.chardev import Chardev
from virtbus_domain.xml.controller import Controller
from virtbus_domain.xml.disk import Disk
from virtbus_domain.xml.domain import Devices
from virtbus_domain.xml.filesystem import Filesystem
from virtbus_domain.xml.input import Input
from virtbus_domain.xml.watchdog import Watchdog
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.xml_lines import lines_of

REMOVABLE = ("cdrom", "floppy")
_PLUGGED_BUSES = ("virtio", "scsi", "usb")  # of disks
_FIXED_BUSES = ("pcie-root", "dmi-to-pci-bridge", "pcie-switch-upstream-port", "pcie-expander-bus")
_CHARACTER_DEVICES = ("serials", "parallels", "consoles", "channels")


def unsupported(detail: str) -> LibvirtError:
    """The refusal of an operation that there is none of."""
    return LibvirtError(c.VIR_ERR_OPERATION_UNSUPPORTED, detail, domain=c.VIR_FROM_QEMU)


def _config(detail: str) -> LibvirtError:
    return LibvirtError(c.VIR_ERR_CONFIG_UNSUPPORTED, detail, domain=c.VIR_FROM_QEMU)


def _failed(detail: str) -> LibvirtError:
    return LibvirtError(c.VIR_ERR_OPERATION_FAILED, detail, domain=c.VIR_FROM_QEMU)


def called(family: str) -> str:
    """What a refusal calls a device of a family: the name of its element."""
    return lines_of(Devices)[family].path


# --- plugging in and out --------------------------------------------------------------------------------------------

# What libvirt has against a device; an empty text is no more than that there is no such operation for it.
Objection = Callable[[Any], str | None]


def _none(device: Any) -> str | None:
    del device
    return None


def _plug_disk(disk: Disk) -> str | None:
    if disk.device == "floppy":
        return "floppy device hotplug isn't supported"
    if disk.transient is not None:  # an overlay is made by a start only
        return "transient disk hotplug isn't supported"
    return None if disk.target_bus in _PLUGGED_BUSES else f"disk bus '{disk.target_bus}' cannot be hotplugged."


def _unplug_disk(disk: Disk) -> str | None:
    if disk.device == "floppy" or (disk.device == "cdrom" and disk.target_bus not in _PLUGGED_BUSES):
        return f"disk device type '{disk.device}' cannot be detached"
    return None if disk.target_bus in _PLUGGED_BUSES else "This type of disk cannot be hot unplugged"


def _controller(way: str) -> Objection:
    def object_to(controller: Controller) -> str | None:
        return None if controller.type == "scsi" else f"'{controller.type}' controller cannot be hot {way}."

    return object_to


def _filesystem(filesystem: Filesystem) -> str | None:
    return None if filesystem.driver_type == "virtiofs" else "only virtiofs filesystems can be hotplugged"


def _input(way: str) -> Objection:
    def object_to(device: Input) -> str | None:
        bus = device.bus or "none"
        return None if bus in ("usb", "virtio") else f"input device on bus '{bus}' cannot be {way}"

    return object_to


def _watchdog(way: str) -> Objection:
    def object_to(watchdog: Watchdog) -> str | None:
        model = watchdog.model or "i6300esb"
        return None if model == "i6300esb" else f"{way} of watchdog of model {model} is not supported"

    return object_to


def _target(*types: str) -> Objection:
    def object_to(chardev: Chardev) -> str | None:
        return None if chardev.target is not None and chardev.target.type in types else ""

    return object_to


# By family: what there is against plugging one in, and against taking it out. For a family that is not here there is
# neither.
PLUGGABLE: Mapping[str, tuple[Objection, Objection]] = {
    "controllers": (_controller("plugged"), _controller("unplugged")),
    "memories": (_none, _none),
    "disks": (_plug_disk, _unplug_disk),
    "filesystems": (_filesystem, _filesystem),
    "interfaces": (_none, _none),
    "serials": (_target("usb-serial", "pci-serial"),) * 2,
    "channels": (_target("virtio", "guestfwd"),) * 2,
    "consoles": (_target("virtio"),) * 2,
    "inputs": (_input("hot plugged."), _input("detached")),
    "watchdogs": (_watchdog("hotplug"), _watchdog("hot unplug")),
    "redirdevs": (_none, _none),
    "hostdevs": (_none, _none),
    "rngs": (_none, _none),
    "shmems": (_none, _none),
    "vsock": (_none, _none),
}


def check_attach(family: str, device: Any, setup: Setup) -> None:
    """Refuse what cannot be plugged into this guest while it runs."""
    _object("attach", 0, family, device)
    bus = _fixed_bus(device, setup)
    if bus is not None:
        raise LibvirtError(
            c.VIR_ERR_XML_ERROR, f"The device at PCI address {_shown(device.address)} requires hotplug capability, "
            f"but the PCI controller with index='{bus}' doesn't support hotplug", domain=c.VIR_FROM_DOMAIN)


def check_detach(family: str, device: Any, setup: Setup) -> None:
    """Refuse what cannot be taken out of this guest while it runs."""
    _object("detach", 1, family, device)
    if isinstance(device, Controller) and _is_in_use(device, setup):
        raise _failed("device cannot be detached: device is busy")
    address = device.address
    if isinstance(address, PciAddress):
        what = f"cannot hot unplug {called(family)} device with"
        if _shares_slot(address, device, setup):
            raise _failed(f"{what} multifunction PCI guest address: {_shown(address)}")
        if _fixed_bus(device, setup) is not None:
            raise _failed(f"{what} PCI guest address: {_shown(address)} - not allowed by controller")


def _object(operation: str, way: int, family: str, device: Any) -> None:
    objections = PLUGGABLE.get(family)
    objection = objections[way](device) if objections else ""
    if objection is not None:
        raise unsupported(objection or f"live {operation} of device '{called(family)}' is not supported")


def _fixed_bus(device: Any, setup: Setup) -> int | None:
    """The number of the PCI bus that a device sits on, if devices do not come and go there."""
    address = device.address
    if not isinstance(address, PciAddress):
        return None
    index = address.bus or 0
    controller = next((controller for controller in setup.devices.controllers
                       if controller.type == "pci" and (controller.index or 0) == index), None)
    is_fixed = controller is not None and (controller.model in _FIXED_BUSES or controller.target_hotplug is False)
    return index if is_fixed else None


def _shown(address: PciAddress) -> str:
    return (f"{address.domain or 0:04x}:{address.bus or 0:02x}:{address.slot or 0:02x}.{address.function or 0:x}")


def _shares_slot(address: PciAddress, device: Any, setup: Setup) -> bool:
    """Whether other devices are functions of the same slot, which can only be taken out as a whole."""
    others = (getattr(other, "address", None) for other in setup.devices.all() if other is not device)
    return any(isinstance(other, PciAddress) and other.function != address.function
               and (other.domain, other.bus, other.slot) == (address.domain, address.bus, address.slot)
               for other in others)


def _is_in_use(controller: Controller, setup: Setup) -> bool:
    """Whether something sits on a SCSI controller."""
    on_drives = [disk for disk in setup.devices.disks if disk.target_bus == "scsi"] + [
        hostdev for hostdev in setup.devices.hostdevs if hostdev.type == "scsi"]
    return any(isinstance(device.address, DriveAddress) and (device.address.controller or 0) == (controller.index or 0)
               for device in on_drives)


# --- updates --------------------------------------------------------------------------------------------------------

_SOURCE = ("type", "source", "backing_store", "auth", "encryption")
MEDIUM = (*_SOURCE, "driver.type")  # what of a removable drive is its medium's
# What can be changed, by family; what needs no command stands here as well.
_CHANGEABLE: Mapping[str, tuple[str, ...]] = {
    "disks": ("iotune", "snapshot", "source.startup_policy"),
    "interfaces": ("link_state",),
    "graphics": ("passwd", "passwd_valid_to", "connected"),
    "memballoon": ("stats_period",),
    "memories": ("requested", "current"),
}
# The refusal of a field by family, where it has one of its own; "" stands for all others. Placeholders are the values
# of the field (old, new), its name in the document (word), and the type of the device.
_TEXTS: Mapping[str, Mapping[str, str]] = {
    "disks": {
        "": "cannot modify field '{word}' of the disk",
        "target_dev": "cannot modify field 'target' of the disk",
        "geometry_cyls": "cannot modify field 'geometry cylinders' of the disk",
        "geometry_heads": "cannot modify field 'geometry heads' of the disk",
        "geometry_secs": "cannot modify field 'geometry sectors' of the disk",
        "logical_block_size": "cannot modify field 'blockio logical_block_size' of the disk",
        "physical_block_size": "cannot modify field 'blockio physical_block_size' of the disk",
        "backenddomain": "cannot modify field 'backenddomain' of the disk",
        "address": "cannot modify field 'address' of the disk",
        "boot_order": "cannot modify field 'boot order' of the disk",
    },
    "interfaces": {
        "": "cannot modify field '{word}' of the interface",
        "type": "unable to change config on '{new}' network type",
        "mac": "cannot change network interface mac address from {old} to {new}",
        "model": "cannot modify network device model from {old} to {new}",
        "driver": "cannot modify virtio network device driver attributes",
        "driver.iommu": "cannot modify virtio network device driver options",
        "driver.ats": "cannot modify virtio network device driver options",
        "driver.packed": "cannot modify virtio network device driver options",
        "driver.page_per_vq": "cannot modify virtio network device driver options",
        "script": "cannot modify network device script attribute",
        "target_dev": "cannot modify network device tap name",
        "rom_bar": "cannot modify network device rom bar setting",
        "rom_file": "cannot modify network rom file",
        "rom_enabled": "cannot modify network device rom enabled setting",
        "sndbuf": "unable to change config on '{type}' network type",
        "address": "cannot modify network device guest PCI address",
        "boot_order": "cannot modify network device boot index setting",
    },
    "graphics": {
        "": "cannot change {word} setting on '{type}' graphics",
        "port": "cannot change port settings on {type} graphics",
        "tls_port": "cannot change port settings on {type} graphics",
        "autoport": "cannot change port settings on {type} graphics",
        "keymap": "cannot change keymap setting on {type} graphics",
        "listens": "cannot change listen address setting on '{type}' graphics",
        "listen": "cannot change listen address setting on '{type}' graphics",
    },
    "memballoon": {"": "cannot modify field '{word}' of the memballoon"},
    "memories": {
        "": "cannot modify memory {word} from '{old}' to '{new}'",
        "block": "cannot modify memory block size from '{old}' to '{new}'",
        "node": "cannot modify memory targetNode from '{old}' to '{new}'",
    },
}


def check_update(family: str, old: Any, new: Any, found: Iterable[Difference]) -> None:
    """Refuse the first difference that a running guest cannot be given."""
    changeable = _CHANGEABLE.get(family, ())
    if isinstance(new, Disk):
        if old.device in REMOVABLE:
            changeable += MEDIUM
        if new.device in REMOVABLE and new.driver is not None and new.driver.copy_on_read:
            raise _config(f"copy_on_read is not supported with removable disk '{new.target_dev}'")
    for difference in found:
        if not difference.is_below(changeable):
            raise _refusal(family, old, difference)


def _refusal(family: str, old: Any, field: Difference) -> LibvirtError:
    if field.is_below(("alias", "acpi_index")):
        what = "alias" if field.name == "alias" else "'acpi index'"
        return LibvirtError(c.VIR_ERR_OPERATION_DENIED, f"changing device {what} is not allowed",
                            domain=c.VIR_FROM_DOMAIN)
    if family not in _TEXTS:
        name = "chr" if family in _CHARACTER_DEVICES else called(family)
        return _config(f"live update of device '{name}' is not supported (at {called(family)}/{field.path})")
    if family == "disks" and field.is_below(_SOURCE):
        return _config("disk source can be changed only in removable drives")
    texts = _TEXTS[family]
    text = next((texts[name] for name in texts if name == field.name), None) or next(
        (texts[name] for name in texts if field.is_below((name,))), texts[""])
    detail = text.format(word=field.word, old=field.old, new=field.new, type=getattr(old, "type", None))
    return _config(detail) if family == "memories" else unsupported(detail)
