"""Devices on the command line, family by family: each part with all of its properties, and where devices sit."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import pytest

from tests.support.command_line import command, domain_xml, objects, options, parts, written
from virtbus_domain.drivers.qemu.command.parts import plug, unplug
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

MAC = "<mac address='52:54:00:00:00:01'/>"
SHARED = "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>"
VIRTIO = "<driver iommu='on' ats='on' packed='off' page_per_vq='on'/>"
TRANSPORT = {"iommu_platform": True, "ats": True, "packed": False, "page-per-vq": True}

# Family, document, parts: without names, and without the places, which TestPlaces is about.
DEVICES: list[tuple[str, str, list[Any]]] = [
    # people's devices
    ("inputs", "<input type='tablet' bus='usb'/>", [{"driver": "usb-tablet"}]),
    ("inputs", "<input type='keyboard' bus='usb'/>", [{"driver": "usb-kbd"}]),
    ("inputs", "<input type='mouse' bus='ps2'/>", []),
    ("inputs", f"<input type='mouse' bus='virtio'>{VIRTIO}</input>", [{"driver": "virtio-mouse-pci", **TRANSPORT}]),
    ("inputs", "<input type='passthrough' bus='virtio'><source evdev='/dev/input/event1'/></input>",
     [{"driver": "virtio-input-host-pci", "evdev": "/dev/input/event1"}]),
    ("inputs", "<input type='evdev'><source dev='/dev/input/event2' grab='all' grabToggle='ctrl-ctrl' repeat='on'/>"
     "</input>", [{"qom-type": "input-linux", "evdev": "/dev/input/event2", "repeat": True, "grab_all": True,
                   "grab-toggle": "ctrl-ctrl"}]),
    ("videos", f"<video><model type='virtio' heads='2' blob='on'><resolution x='800' y='600'/></model>{VIRTIO}</video>",
     [{"driver": "virtio-vga", "max_outputs": 2, "blob": True, "xres": 800, "yres": 600, **TRANSPORT}]),
    ("videos", "<video><model type='virtio'><acceleration accel3d='yes'/></model></video>",
     [{"driver": "virtio-vga-gl", "max_outputs": 1}]),
    ("videos", "<video><model type='qxl' ram='65536' vram='32768' vram64='8192' vgamem='16384' heads='1'/></video>",
     [{"driver": "qxl-vga", "max_outputs": 1, "ram_size": 65536 * 1024, "vram_size": 32768 * 1024,
       "vram64_size_mb": 8, "vgamem_mb": 16}]),
    ("videos", "<video><model type='vga' vram='16384'/></video>", [{"driver": "VGA", "vgamem_mb": 16}]),
    ("videos", "<video><model type='bochs' vram='16384'/></video>",
     [{"driver": "bochs-display", "vgamem": 16384 * 1024}]),
    ("videos", "<video><model type='cirrus'/></video>", [{"driver": "cirrus-vga"}]),
    ("videos", "<video><model type='ramfb'/></video>", [{"driver": "ramfb"}]),
    ("videos", "<video><model type='none'/></video>", []),
    # sound: the cards with codecs, those that are cards themselves, and the one that is part of every PC
    ("sounds", "<sound model='ich9'><codec type='micro'/><codec type='output'/></sound><audio id='3' type='none'/>",
     [{"driver": "ich9-intel-hda"}, {"driver": "hda-micro", "bus": "sound0.0", "cad": 0, "audiodev": "audio3"},
      {"driver": "hda-output", "bus": "sound0.0", "cad": 1, "audiodev": "audio3"}]),
    ("sounds", "<sound model='ich6'/>", [{"driver": "intel-hda"},
                                        {"driver": "hda-duplex", "bus": "sound0.0", "cad": 0, "audiodev": "audio1"}]),
    ("sounds", "<sound model='ac97'><audio id='2'/></sound><audio id='1' type='none'/><audio id='2' type='none'/>",
     [{"driver": "AC97", "audiodev": "audio2"}]),
    ("sounds", "<sound model='es1370'/>", [{"driver": "ES1370", "audiodev": "audio1"}]),
    ("sounds", "<sound model='sb16'/>", [{"driver": "sb16", "audiodev": "audio1"}]),
    ("sounds", "<sound model='usb'/>", [{"driver": "usb-audio", "audiodev": "audio1"}]),
    ("sounds", "<sound model='pcspk'/>", []),
    # small ones
    ("hubs", "<hub type='usb'/>", [{"driver": "usb-hub"}]),
    ("watchdogs", "<watchdog model='i6300esb' action='pause'/>", [{"driver": "i6300esb"}]),
    ("watchdogs", "<watchdog model='ib700'/>", [{"driver": "ib700"}]),
    ("panics", "<panic model='isa'/>", [{"driver": "pvpanic"}]),
    ("panics", "<panic model='isa'><address type='isa' iobase='0x505'/></panic>",
     [{"driver": "pvpanic", "ioport": 0x505}]),
    ("panics", "<panic model='hyperv'/>", []),
    ("memballoon", f"<memballoon model='virtio' autodeflate='on' freePageReporting='off'>{VIRTIO}</memballoon>",
     [{"driver": "virtio-balloon-pci", "deflate-on-oom": True, "free-page-reporting": False, **TRANSPORT}]),
    ("memballoon", "<memballoon model='none'/>", []),
    ("rngs", "<rng model='virtio'><backend model='random'>/dev/a,b</backend><rate bytes='1024' period='500'/></rng>",
     [{"qom-type": "rng-random", "filename": "/dev/a,b"},
      {"driver": "virtio-rng-pci", "rng": "objrng0", "max-bytes": 1024, "period": 500}]),
    ("rngs", "<rng model='virtio-transitional'><backend model='builtin'/><rate bytes='9'/></rng>",
     [{"qom-type": "rng-builtin"},
      {"driver": "virtio-rng-pci-transitional", "rng": "objrng0", "max-bytes": 9, "period": 1000}]),
    ("tpms", "<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>",
     ["socket,id=chrtpm-tpm0,path=/run/x/tpm0.sock", "emulator,id=tpm-tpm0,chardev=chrtpm-tpm0",
      {"driver": "tpm-crb", "tpmdev": "tpm-tpm0"}]),
    ("vsock", f"<vsock model='virtio'><cid auto='no' address='7'/>{VIRTIO}</vsock>",
     [{"driver": "vhost-vsock-pci", "guest-cid": 7, "vhostfd": "9", **TRANSPORT}]),
    ("shmems", "<shmem name='a,b'><model type='ivshmem-plain'/><size unit='M'>8</size></shmem>",
     [{"qom-type": "memory-backend-file", "mem-path": "/dev/shm/a,b", "size": 8 << 20, "share": True},
      {"driver": "ivshmem-plain", "memdev": "shmmem-shmem0"}]),
    ("shmems", "<shmem name='s'><model type='ivshmem-doorbell'/><server path='/s,1'/><msi vectors='4' ioeventfd='on'/>"
     "</shmem>", ["socket,id=charshmem0,path=/s,,1", {"driver": "ivshmem-doorbell", "chardev": "charshmem0",
                                                      "vectors": 4, "ioeventfd": True}]),
    ("cryptos", "<crypto model='virtio' type='qemu'><backend model='builtin' queues='2'/></crypto>",
     [{"qom-type": "cryptodev-backend-builtin", "queues": 2}, {"driver": "virtio-crypto-pci",
                                                               "cryptodev": "objcrypto0"}]),
    # directories
    ("filesystems", "<filesystem type='mount' accessmode='mapped' fmode='0640' dmode='0750' multidevs='remap'>"
     "<driver type='path' wrpolicy='immediate'/><source dir='/a,b'/><target dir='t'/><readonly/></filesystem>",
     ["local,security_model=mapped,multidevs=remap,fmode=0640,dmode=0750,writeout=immediate,id=fsdev-fs0,path=/a,,b,"
      "readonly=on", {"driver": "virtio-9p-pci", "fsdev": "fsdev-fs0", "mount_tag": "t"}]),
    ("filesystems", "<filesystem accessmode='squash' model='virtio-non-transitional'><source dir='/a'/>"
     "<target dir='t,u'/></filesystem>",
     ["local,security_model=none,id=fsdev-fs0,path=/a",
      {"driver": "virtio-9p-pci-non-transitional", "fsdev": "fsdev-fs0", "mount_tag": "t,u"}]),
    # devices of the host
    ("hostdevs", "<hostdev mode='subsystem' type='pci'><driver name='vfio'/><source><address domain='1' bus='6' "
     "slot='2' function='1'/></source><boot order='4'/><rom bar='on' file='/r'/></hostdev>",
     [{"driver": "vfio-pci", "host": "0001:06:02.1", "rombar": 1, "romfile": "/r", "bootindex": 4}]),
    ("hostdevs", "<hostdev mode='subsystem' type='pci'><source><address bus='6' slot='2' function='0'/></source>"
     "<rom enabled='no'/></hostdev>", [{"driver": "vfio-pci", "host": "0000:06:02.0", "romfile": ""}]),
    ("hostdevs", "<hostdev mode='subsystem' type='usb'><source guestReset='off'><address bus='1' device='3'/></source>"
     "</hostdev>", [{"driver": "usb-host", "hostdevice": "/dev/bus/usb/001/003", "guest-reset": False}]),
    ("hostdevs", "<hostdev mode='subsystem' type='mdev' model='vfio-pci' display='off'><source>"
     "<address uuid='c2177883-f1bb-47f0-914d-32a22e3a8804'/></source></hostdev>",
     [{"driver": "vfio-pci", "sysfsdev": "/sys/bus/mdev/devices/c2177883-f1bb-47f0-914d-32a22e3a8804",
       "display": "off"}]),
    # network cards
    ("interfaces", f"<interface type='user'>{MAC}<model type='e1000e'/><rom bar='off'/>"
     "<ip family='ipv4' address='172.17.2.0' prefix='24'/><ip family='ipv6' address='2001:db8::1' prefix='64'/>"
     "<boot order='5'/></interface>",
     [{"type": "user", "net": "172.17.2.0/24", "ipv6-prefix": "2001:db8::1", "ipv6-prefixlen": 64},
      {"driver": "e1000e", "netdev": "hostnet0", "mac": "52:54:00:00:00:01", "rombar": 0, "bootindex": 5}]),
    ("interfaces", f"<interface type='ethernet'>{MAC}<model type='virtio'/><driver name='qemu' txmode='iothread' "
     "ioeventfd='on' event_idx='off' rx_queue_size='256' tx_queue_size='512' rss='on' rss_hash_report='on' iommu='on' "
     "ats='on' packed='off' page_per_vq='on'><host csum='off' gso='off' tso4='on' tso6='off' ecn='off' ufo='off' "
     "mrg_rxbuf='off'/><guest csum='off' tso4='off' tso6='off' ecn='off' ufo='off'/></driver>"
     "<tune><sndbuf>1600</sndbuf></tune><mtu size='1400'/></interface>",
     [{"type": "tap", "fd": "20", "sndbuf": 1600},
      {"driver": "virtio-net-pci", "netdev": "hostnet0", "mac": "52:54:00:00:00:01", "host_mtu": 1400, "tx": "bh",
       "ioeventfd": True, "event_idx": False, "csum": False, "gso": False, "host_tso4": True, "host_tso6": False,
       "host_ecn": False, "host_ufo": False, "mrg_rxbuf": False, "guest_csum": False, "guest_tso4": False,
       "guest_tso6": False, "guest_ecn": False, "guest_ufo": False, "rx_queue_size": 256, "tx_queue_size": 512,
       "rss": True, "hash": True, **TRANSPORT}]),
    ("interfaces", f"<interface type='vhostuser'>{MAC}<source type='unix' path='/v,1' mode='server'/>"
     "<model type='virtio'/><driver queues='2'/></interface>",
     ["socket,id=charnet0,path=/v,,1,server=on,wait=off",
      {"type": "vhost-user", "chardev": "charnet0", "queues": 2},
      {"driver": "virtio-net-pci", "netdev": "hostnet0", "mac": "52:54:00:00:00:01", "mq": True, "vectors": 6}]),
    ("interfaces", f"<interface type='vhostuser'>{MAC}<source type='unix' path='/v' mode='client'>"
     "<reconnect enabled='yes' timeout='7'/></source><model type='virtio'/></interface>",
     ["socket,id=charnet0,path=/v,reconnect=7", {"type": "vhost-user", "chardev": "charnet0"},
      {"driver": "virtio-net-pci", "netdev": "hostnet0", "mac": "52:54:00:00:00:01"}]),
    *(("interfaces", f"<interface type='{kind}'>{MAC}{source}</interface>",
       [{"type": "socket", **netdev}, {"driver": "rtl8139", "netdev": "hostnet0", "mac": "52:54:00:00:00:01"}])
      for kind, source, netdev in (
        ("mcast", "<source address='230.0.0.1' port='5558'/>", {"mcast": "230.0.0.1:5558"}),
        ("server", "<source port='5'/>", {"listen": ":5"}),
        ("client", "<source address='h' port='5'/>", {"connect": "h:5"}),
        ("udp", "<source address='1.2.3.4' port='5'><local address='5.6.7.8' port='6'/></source>",
         {"udp": "1.2.3.4:5", "localaddr": "5.6.7.8:6"}))),
    ("interfaces", f"<interface type='vdpa'>{MAC}<source dev='/dev/vhost-vdpa-0'/></interface>",
     [{"type": "vhost-vdpa", "vhostdev": "/dev/vhost-vdpa-0"},
      {"driver": "virtio-net-pci", "netdev": "hostnet0", "mac": "52:54:00:00:00:01"}]),
]


@pytest.mark.parametrize(("family", "document", "expected"), DEVICES,
                         ids=[f"{family}-{number}" for number, (family, *_) in enumerate(DEVICES)])
def test_parts(family: str, document: str, expected: list[Any]) -> None:
    """All parts of a device, with all that its document says and nothing else."""
    found = written(domain_xml(document, top=SHARED if "vhostuser" in document else ""), family,
                    **({"descriptors": {"vsock0": ["9"]}} if family == "vsock" else {}))
    for part in found:
        if isinstance(part, dict):
            assert part.pop("id")
            for place in ("bus", "addr", "port"):
                if part.get(place) != "sound0.0":
                    part.pop(place, None)
    assert found == expected


class TestPlaces:
    """Where a device sits, by each kind of address."""

    def device(self, document: str, name: str, machine: str = "q35", top: str = "") -> dict[str, Any]:
        """The properties of a device."""
        return objects(command(domain_xml(document, machine=machine, top=top)), "-device")[name]

    def test_pci(self) -> None:
        """Bus by the controller's name, slot, and function where it is not the first."""
        balloon = "<memballoon model='virtio'><address type='pci' bus='{}' slot='{}' function='{}'/></memballoon>"
        first = self.device(balloon.format("0", "0x1a", "0"), "balloon0")
        assert (first["bus"], first["addr"]) == ("pcie.0", "0x1a")
        first = self.device(balloon.format("0", "0x1a", "3"), "balloon0")
        assert (first["bus"], first["addr"]) == ("pcie.0", "0x1a.0x3")
        assert self.device(balloon.format("1", "0", "0"), "balloon0")["bus"] == "pci.1"
        assert self.device(balloon.format("0", "7", "0"), "balloon0", "pc")["bus"] == "pci.0"

    def test_several_functions(self) -> None:
        """The switch for more functions in one slot, and the index by which Linux names a card."""
        device = self.device(
            f"<interface type='user'>{MAC}<model type='virtio'/><acpi index='12'/>"
            "<address type='pci' bus='0' slot='9' function='0' multifunction='on'/></interface>", "net0",
            top="<features><acpi/></features>")
        assert (device["addr"], device["multifunction"], device["acpi-index"]) == ("0x9", True, 12)

    def test_usb(self) -> None:
        """Bus by the controller, port as hubs count it."""
        device = self.device("<hub type='usb'><address type='usb' bus='0' port='2'/></hub><input type='tablet' "
                             "bus='usb'><address type='usb' bus='0' port='2.1'/></input>", "input0")
        assert (device["bus"], device["port"]) == ("usb.0", "2.1")

    def test_virtio_serial(self) -> None:
        """Bus by the controller, and the number of the port."""
        device = self.device("<controller type='virtio-serial' index='3'/><channel type='null'>"
                             "<target type='virtio' name='a'/><address type='virtio-serial' controller='3' bus='0' "
                             "port='5'/></channel>", "channel0")
        assert (device["bus"], device["nr"]) == ("virtio-serial3.0", 5)

    def test_user_names(self) -> None:
        """A controller with a name of the user's choice is meant by that name."""
        device = self.device("<controller type='virtio-serial' index='0'><alias name='ua-ports'/></controller>"
                             "<channel type='null'><target type='virtio' name='a'/></channel>", "channel0")
        assert device["bus"] == "ua-ports.0"

    def test_other_domain(self) -> None:
        """Another PCI domain than the first does not exist on PCs."""
        with pytest.raises(LibvirtError) as error:
            command(domain_xml("<memballoon model='virtio'><address type='pci' domain='1' bus='0' slot='9'/>"
                               "</memballoon>"))
        assert error.value.code in (c.VIR_ERR_CONFIG_UNSUPPORTED, c.VIR_ERR_XML_ERROR)


class TestControllers:
    """Buses that others sit on."""

    CONTROLLERS: ClassVar[dict[str, tuple[str, str, dict[str, Any]]]] = {
        "scsi": ("q35", "<controller type='scsi' model='virtio-scsi'><driver queues='2' cmd_per_lun='8' "
                 "max_sectors='512' ioeventfd='on' iommu='on' ats='on' packed='off' page_per_vq='on'/></controller>",
                 {"driver": "virtio-scsi-pci", "id": "scsi0", "num_queues": 2, "cmd_per_lun": 8, "max_sectors": 512,
                  "ioeventfd": True, **TRANSPORT}),
        **{model: ("pc", f"<controller type='scsi' model='{model}'/>", {"driver": driver, "id": "scsi0"})
           for model, driver in (("lsilogic", "lsi"), ("lsisas1068", "mptsas1068"), ("lsisas1078", "megasas"),
                                 ("vmpvscsi", "pvscsi"), ("am53c974", "am53c974"), ("dc390", "dc-390"))},
        **{model: ("pc", f"<controller type='usb' model='{model}'/>", {"driver": driver, "id": "usb"})
           for model, driver in (("piix3-uhci", "piix3-usb-uhci"), ("ehci", "usb-ehci"), ("pci-ohci", "pci-ohci"),
                                 ("vt82c686b-uhci", "vt82c686b-usb-uhci"), ("qemu-xhci", "qemu-xhci"))},
        "usb ports": ("q35", "<controller type='usb' model='nec-xhci' ports='8'/>",
                      {"driver": "nec-usb-xhci", "id": "usb", "p2": 8, "p3": 8}),
        "ports": ("q35", "<controller type='virtio-serial' ports='4' vectors='2'/>",
                  {"driver": "virtio-serial-pci", "id": "virtio-serial0", "max_ports": 4, "vectors": 2}),
        "sata": ("pc", "<controller type='sata'/>", {"driver": "ahci", "id": "sata0"}),
        "smart cards": ("q35", "<controller type='ccid'/>", {"driver": "usb-ccid", "id": "ccid0"}),
        "root port": ("q35", "<controller type='pci' index='1' model='pcie-root-port'><model name='ioh3420'/>"
                      "<target chassis='3' port='0x12' hotplug='off'/></controller>",
                      {"driver": "ioh3420", "id": "pci.1", "port": 0x12, "chassis": 3, "hotplug": False}),
        "bridge": ("pc", "<controller type='pci' index='1' model='pci-bridge'><target chassisNr='7'/></controller>",
                   {"driver": "pci-bridge", "id": "pci.1", "chassis_nr": 7}),
        "expander": ("pc", "<controller type='pci' index='1' model='pci-expander-bus'><target busNr='200'/>"
                     "</controller>", {"driver": "pxb", "id": "pci.1", "bus_nr": 200}),
    }

    @pytest.mark.parametrize("name", CONTROLLERS)
    def test_controller(self, name: str) -> None:
        """One of each model, with its options."""
        machine, document, expected = self.CONTROLLERS[name]
        device = objects(command(domain_xml(document, machine=machine)), "-device")[expected["id"]]
        for key in ("bus", "addr", "port" if name == "smart cards" else "", "multifunction"):
            device.pop(key, None)
        assert device == {key: value for key, value in expected.items() if key != "id"}

    @pytest.mark.parametrize(("machine", "built_in"), [
        ("q35", ("pcie.0", "ide", "sata0")), ("pc", ("pci.0", "ide", "fdc0", "isa0"))])
    def test_part_of_the_machine(self, machine: str, built_in: tuple[str, ...]) -> None:
        """What every such machine has needs no option."""
        disks = "<disk type='file'><source file='/a'/><target dev='{}' bus='{}'/></disk>"
        argv = command(domain_xml(disks.format("sda", "sata") if machine == "q35" else
                                  disks.format("hda", "ide"), machine=machine))
        assert objects(argv, "-device").keys().isdisjoint(built_in)

    def test_companions(self) -> None:
        """The companions of a USB 2 controller have no name, since theirs is its."""
        inside = "<address type='pci' slot='{}' function='{}'/></controller>"
        argv = command(domain_xml(
            "<controller type='usb' index='0' model='ich9-ehci1'>" + inside.format(7, 7)
            + "".join(f"<controller type='usb' index='0' model='ich9-uhci{number + 1}'>"
                      f"<master startport='{2 * number}'/>" + inside.format(7, number) for number in range(3)),
            machine="pc"))
        devices = [part for value in options(argv, "-device") if "usb" in (part := json.loads(value))["driver"]]
        assert [(device.get("id"), device.get("masterbus"), device.get("firstport")) for device in devices] == [
            ("usb", None, None), (None, "usb.0", 0), (None, "usb.0", 2), (None, "usb.0", 4)]

    def test_bridges_in_their_order(self) -> None:
        """A bridge is behind the one it sits on, wherever it stands in the document."""
        argv = command(domain_xml(
            "<controller type='pci' index='3' model='pci-bridge'><address type='pci' bus='2' slot='1'/></controller>"
            "<controller type='pci' index='2' model='pci-bridge'><address type='pci' bus='1' slot='1'/></controller>"
            "<controller type='pci' index='1' model='pci-bridge'/>", machine="pc"))
        bridges = [name for name in objects(argv, "-device") if name.startswith("pci.")]
        assert bridges == ["pci.1", "pci.2", "pci.3"]


class TestLive:
    """The same parts, added to a guest that runs."""

    def test_plugged_as_started(self) -> None:
        """Each part of the command line is a QMP command with the same content; unplugging is the way back."""
        document = domain_xml(f"<interface type='ethernet'>{MAC}<model type='virtio'/></interface>"
                              "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>")
        for family, adding, removing in (("interfaces", "netdev_add", "netdev_del"),
                                         ("rngs", "object-add", "object-del")):
            made = parts(document, family)
            commands = plug(made)
            assert [command.name for command in commands] == [adding, "device_add"]
            assert [command.arguments for command in commands] == written(document, family)
            assert [command.name for command in unplug(made)] == ["device_del", removing]


@pytest.mark.parametrize(("document", "words"), [
    ("<tpm model='tpm-tis'><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>",
     "TPM back end 'passthrough'"),
    (f"<interface type='internal'>{MAC}<source name='x'/></interface>", "'net0' of type internal"),
    (f"<interface type='null'>{MAC}</interface>", "'net0' of type null"),
    ("<controller type='xenbus'/>", ""),
])
def test_refused(document: str, words: str) -> None:
    """What we cannot do is named, and nothing is left out without a word."""
    with pytest.raises(LibvirtError) as error:
        command(domain_xml(document))
    assert words in error.value.message
