"""Devices as documents write them, in the few words that matter to a test of where they go."""

from __future__ import annotations


def at(bus: int, slot: int, function: int = 0, more: str = "") -> str:
    """A PCI address."""
    return f"<address type='pci' bus='{bus}' slot='{slot}' function='{function}' {more}/>"


def unit(number: int = 0, controller: int = 0, bus: int = 0, target: int = 0) -> str:
    """A drive address."""
    return f"<address type='drive' controller='{controller}' bus='{bus}' target='{target}' unit='{number}'/>"


def nic(model: str = "virtio", address: str = "") -> str:
    """An interface."""
    return f"<interface type='user'><mac address='52:54:00:00:00:01'/><model type='{model}'/>{address}</interface>"


def controller(kind: str, index: int, model: str = "", inside: str = "") -> str:
    """A controller."""
    name = f" model='{model}'" if model else ""
    return f"<controller type='{kind}' index='{index}'{name}>{inside}</controller>"


def pci_bus(index: int, model: str, inside: str = "") -> str:
    """A PCI controller."""
    return controller("pci", index, model, inside)


def usb2(index: int) -> str:
    """The four parts of a USB 2 controller."""
    return "".join(controller("usb", index, f"ich9-{part}") for part in ("ehci1", "uhci1", "uhci2", "uhci3"))


def video(model: str, address: str = "") -> str:
    """A display."""
    return f"<video><model type='{model}'/>{address}</video>"


def disk(name: str, bus: str, address: str = "", model: str = "") -> str:
    """A disk, or what is one on its bus."""
    device, named = "floppy" if bus == "fdc" else "disk", f" model='{model}'" if model else ""
    return (f"<disk type='file' device='{device}'{named}><driver name='qemu' type='raw'/><source file='/{name}'/>"
            f"<target dev='{name}' bus='{bus}'/>{address}</disk>")


def tablet(address: str = "", bus: str = "usb") -> str:
    """A pointer."""
    return f"<input type='tablet' bus='{bus}'>{address}</input>"


def usb_port(port: str, bus: int = 0) -> str:
    """A USB address."""
    return f"<address type='usb' bus='{bus}' port='{port}'/>"


def hub(port: str) -> str:
    """A hub in a port."""
    return f"<hub type='usb'>{usb_port(port)}</hub>"


def channel(address: str = "") -> str:
    """A virtio channel; ``address`` is the inside of its element."""
    inside = f"<address type='virtio-serial' {address}/>" if address else ""
    return f"<channel type='pty'><target type='virtio' name='a'/>{inside}</channel>"


def console(address: str = "") -> str:
    """A virtio console; ``address`` is the inside of its element."""
    inside = f"<address type='virtio-serial' {address}/>" if address else ""
    return f"<console type='pty'><target type='virtio'/>{inside}</console>"


def host_pci(slot: int, inside: str = "") -> str:
    """A PCI device of the host, which has none there."""
    return (f"<hostdev mode='subsystem' type='pci' managed='yes'><source><address bus='250' slot='{slot}'/></source>"
            f"{inside}</hostdev>")


def host_interface(slot: int, inside: str = "") -> str:
    """A network card of the host, which has none there."""
    return ("<interface type='hostdev' managed='yes'><mac address='52:54:00:00:00:01'/><source><address type='pci' "
            f"bus='250' slot='{slot}'/></source>{inside}</interface>")


def host_scsi(address: str = "", adapter: int = 0) -> str:
    """A SCSI device of the host."""
    return (f"<hostdev mode='subsystem' type='scsi'><source><adapter name='scsi_host{adapter}'/>"
            f"<address bus='0' target='0' unit='0'/></source>{address}</hostdev>")


def mediated(number: int = 0, inside: str = "") -> str:
    """A mediated device."""
    return ("<hostdev mode='subsystem' type='mdev' model='vfio-pci'><source>"
            f"<address uuid='c2177883-f1bb-47f0-914d-{number:012d}'/></source>{inside}</hostdev>")


def vhost_scsi(number: int = 0, inside: str = "", model: str = "") -> str:
    """A SCSI target of the host's kernel."""
    named = f" model='{model}'" if model else ""
    return (f"<hostdev mode='subsystem' type='scsi_host'{named}><source protocol='vhost' wwpn='naa.5{number:015d}'/>"
            f"{inside}</hostdev>")


def module(slot: int | None = None, base: str = "") -> str:
    """A memory module of 128 MiB."""
    address = f"<address type='dimm' slot='{slot}' {base}/>" if slot is not None else ""
    return f"<memory model='dimm'><target><size unit='MiB'>128</size><node>0</node></target>{address}</memory>"


def slots(count: int) -> str:
    """The head of a document with slots for memory modules."""
    return (f"<maxMemory slots='{count}' unit='MiB'>8192</maxMemory><memory unit='MiB'>2048</memory>"
            "<vcpu>1</vcpu><cpu><numa><cell id='0' cpus='0' memory='1024' unit='MiB'/></numa></cpu>")


XHCI = controller("usb", 0, "qemu-xhci")
PIIX3 = controller("usb", 0, "piix3-uhci")
BALLOON = "<memballoon model='virtio'/>"
SERIAL = controller("virtio-serial", 0)
