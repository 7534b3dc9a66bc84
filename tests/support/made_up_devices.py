"""Documents with devices and addresses at random, the same in each run: for comparing where libvirt and we put them.

They name every controller, model and end that libvirt would add of itself, so that only places are left to choose; the
addresses in them are often wrong.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.support import device_xml as xml
from tests.support.placing import I440FX, Q35, document

_VIRTIO = ("virtio", "virtio-transitional", "virtio-non-transitional")
_CARDS = ("virtio", "virtio", "e1000", "e1000e", "rtl8139", "ne2k_pci", "virtio-transitional", "vmxnet3")
_Q35_BUSES = (*["pcie-root-port"] * 4, "pcie-to-pci-bridge", "dmi-to-pci-bridge", "pci-bridge", "pcie-expander-bus",
              "pcie-switch-upstream-port", "pcie-switch-downstream-port")
_I440FX_BUSES = (*["pci-bridge"] * 4, "pci-expander-bus")


class MadeUp:
    """One document; ``given`` is how often a device has an address of its own."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._choice = self._random.choice
        self._given = self._choice((0, 0, 0.05, 0.2, 0.5))
        self._number = 0

    def pci(self) -> str:
        """A document about PCI and USB devices."""
        machine = self._choice((Q35, I440FX))
        devices = [*self._usual(machine), *self._buses(machine)]
        for _ in range(self._choice((1, 2, 3, 6, 14, 30))):
            self._number += 1
            devices.append(self._choice(list(self._devices())))
        if self._often(0.6):
            devices.append(xml.video(self._choice(("cirrus", "virtio", "qxl", "bochs")), self._pci()))
            devices += [xml.video(self._choice(("virtio", "qxl")), self._pci())] * self._often(0.2)
            devices.append("<graphics type='vnc'/>")
        for device in ("<watchdog model='i6300esb' action='reset'>{0}</watchdog>",
                       "<vsock model='virtio'><cid auto='yes'/>{0}</vsock>"):
            devices += [device.format(self._pci())] * self._often(0.2)
        if machine is Q35:
            devices += [f"<iommu model='virtio'>{self._pci()}</iommu>"] * self._often(0.1)
        devices.append(f"<memballoon model='{self._choice(('virtio', 'virtio', 'none', 'virtio-transitional'))}'/>")
        return document(machine, "".join(devices))

    def drives(self) -> str:
        """A document about disks, SCSI devices, channels, consoles and memory modules."""
        machine = self._choice((Q35, I440FX))
        devices = ["<controller type='usb' index='0' model='qemu-xhci' ports='15'/>", xml.BALLOON, xml.SERIAL,
                   "<controller type='virtio-serial' index='1' ports='3'/>", xml.controller("fdc", 0)]
        devices += [xml.controller("scsi", index, self._choice(("virtio-scsi", "lsilogic"))) for index in range(7)]
        devices += [xml.controller("sata", index) for index in range(4)]
        buses = ["scsi", "scsi", "scsi", "sata", "sata", "usb", "virtio", "fdc"]
        if machine is I440FX:
            devices.append(xml.controller("ide", 0))
            buses += ["ide", "ide"]
        names: set[str] = set()
        for _ in range(self._choice((1, 2, 4, 8))):
            bus = self._choice(buses)
            if (name := self._disk_name(bus)) not in names:
                names.add(name)
                devices.append(xml.disk(name, bus, self._disk_address(bus)))
        devices += [xml.host_scsi(self._unit(), adapter) for adapter in range(self._choice((0, 0, 1, 3, 10)))]
        devices += [xml.console(self._port()) for _ in range(self._choice((0, 0, 1, 2)))]
        devices += [xml.channel(self._port()).replace("'a'", f"'c{number}'")
                    for number in range(self._choice((0, 1, 4, 34)))]
        if self._often(0.7):
            return document(machine, "".join(devices))
        devices += [xml.module(self._choice((None, None, *range(5))), self._choice(("", "", "base='0x100000000'")))
                    for _ in range(self._choice((1, 2, 4)))]
        return document(machine, "".join(devices), xml.slots(self._choice((2, 4, 16))))

    def _often(self, share: float) -> bool:
        return self._random.random() < share

    def _pci(self) -> str:
        if not self._often(self._given):
            return ""
        bus = self._choice((0, 0, 0, 1, 1, 2, 3, 4, 5, 7))
        slot = self._choice((0, 1, 2, 3, 5, 8, 0x1A, 0x1B, 0x1D, 0x1E, 0x1F)) if not bus or self._often(0.5) else \
            self._choice((0, 1, 2))
        return xml.at(bus, slot, self._choice((*[0] * 8, 1, 2, 3, 7)),
                      self._choice((*[""] * 8, "multifunction='on'", "multifunction='off'")))

    def _usb(self) -> str:
        if not self._often(self._given):
            return ""
        ports = ("1", "2", "3", "1.1", "1.2", "1.1.3", "9")
        return self._choice(("<address type='usb' bus='0'/>",
                             *(xml.usb_port(port, self._choice((0, 0, 0, 1))) for port in ports)))

    def _usual(self, machine: tuple[str, str]) -> Iterator[str]:
        yield from (xml.SERIAL, "<input type='mouse' bus='ps2'/><input type='keyboard' bus='ps2'/>")
        if machine is Q35:
            yield xml.controller("sata", 0)
        model = self._choice(("piix3-uhci", "qemu-xhci", "nec-xhci", "ehci", "pci-ohci", "ich9", "ich9"))
        if model == "ich9":
            yield from (xml.usb2(index) for index in range(self._choice((1, 3))))
        else:
            yield xml.controller("usb", 0, model, self._pci())

    def _buses(self, machine: tuple[str, str]) -> Iterator[str]:
        index = 0
        for _ in range(self._choice((0, 0, 0, 1, 2, 4, 6))):
            index += self._choice((1, 1, 1, 1, 2))
            model = self._choice(_Q35_BUSES if machine is Q35 else _I440FX_BUSES)
            off = "<target hotplug='off'/>" if model == "pcie-root-port" and self._often(0.2) else ""
            yield xml.pci_bus(index, model, off + self._pci())

    def _devices(self) -> Iterator[str]:
        """One of each kind, of which one is taken."""
        number, virtio = self._number, self._choice(_VIRTIO)
        yield from (xml.nic(self._choice(_CARDS), self._pci()) for _ in range(4))
        yield from (xml.disk(f"vd{chr(97 + number // 26)}{chr(97 + number % 26)}", "virtio", self._pci(), virtio)
                    for _ in range(3))
        scsi = self._choice(("virtio-scsi", "lsilogic", "virtio-transitional"))
        yield xml.controller("scsi", number, scsi, self._pci())
        yield xml.controller("virtio-serial", number, virtio, self._pci())
        yield xml.controller("sata", number, inside=self._pci())
        yield f"<sound model='{self._choice(('ich6', 'ich9', 'ac97', 'sb16'))}'>{self._pci()}</sound>"
        yield f"<rng model='{virtio}'><backend model='random'>/dev/urandom</backend>{self._pci()}</rng>"
        yield f"<shmem name='s{number}'><model type='ivshmem-plain'/><size unit='M'>4</size>{self._pci()}</shmem>"
        yield xml.tablet(self._pci(), "virtio")
        yield xml.tablet(self._usb())
        yield f"<redirdev bus='usb' type='tcp'><source mode='connect' host='h' service='1'/>{self._usb()}</redirdev>"
        yield f"<hub type='usb'>{self._usb()}</hub>"
        yield xml.mediated(number, self._pci())
        yield xml.host_pci(number, self._pci())
        yield xml.host_interface(number, self._pci())
        yield xml.vhost_scsi(number, self._pci(), virtio)
        yield (f"<filesystem type='mount' model='{virtio}'><source dir='/x'/><target dir='t{number}'/>{self._pci()}"
               "</filesystem>")
        yield f"<serial type='pty'><target type='pci-serial' port='{number}'/>{self._pci()}</serial>"

    def _disk_name(self, bus: str) -> str:
        prefix, count = {"scsi": ("sd", 34), "sata": ("sd", 12), "usb": ("sd", 12), "ide": ("hd", 5), "fdc": ("fd", 2),
                         "virtio": ("vd", 9)}[bus]
        index = self._random.randrange(count)
        return prefix + (chr(96 + index // 26) if index >= 26 else "") + chr(97 + index % 26)

    def _disk_address(self, bus: str) -> str:
        if bus not in ("usb", "virtio"):
            return self._unit()
        if not self._often(self._given):
            return ""
        return self._choice((xml.usb_port("2"), xml.at(0, 9), xml.unit(), "<address type='virtio-mmio'/>"))

    def _unit(self) -> str:
        if not self._often(self._given):
            return ""
        return xml.unit(self._choice((0, 1, 1, 2, 3, 4, 5, 7, 8)), self._choice((0, 0, 0, 0, 1, 2)),
                        self._choice((*[0] * 12, 1, 2)), self._choice((*[0] * 14, 1)))

    def _port(self) -> str:
        if not self._often(self._given):
            return ""
        return self._choice(("controller='0'", *(f"controller='{self._choice((0, 0, 1))}' bus='0' port='{port}'"
                                                 for port in range(4))))
