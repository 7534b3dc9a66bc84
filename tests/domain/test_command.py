"""What joins a document to QEMU: names, the boot order, screens, what is refused, and what follows the command line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.command_line import command, domain_xml, keyed, objects, only, options, setup_of
from tests.support.real_qemu import isolated, read, started
from virtbus_domain.drivers.qemu.names import fill_ptys
from virtbus_domain.drivers.qemu.start import before_run
from virtbus_domain.drivers.qemu.supported import REFUSED, check_supported
from virtbus_domain.xml import format_domain
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.xml_lines import lines_of

DISK = "<disk type='file'><source file='/{0}'/><target dev='{0}'/>{1}</disk>"
CDROM = "<disk type='file' device='cdrom'><target dev='sda' bus='sata'/></disk>"
CARD = "<interface type='user'><model type='virtio'/>{}</interface>"


class TestNames:
    """Aliases, which are QEMU's names."""

    def test_generated(self) -> None:
        """libvirt's own where nobody chose any; they are part of the live document only."""
        document = domain_xml(DISK.format("vdb", "<alias name='ua-system'/>") + CDROM + CARD.format("")
                              + "<serial type='pty'/><channel type='null'><target type='virtio' name='a'/></channel>"
                              "<rng model='virtio'><backend model='builtin'/></rng><video><model type='vga'/></video>")
        setup = setup_of(document)
        live, stored = (format_domain(setup.domain, live=is_live) for is_live in (True, False))
        names = ("ua-system", "sata0-0-0", "net0", "serial0", "channel0", "rng0", "video0", "virtio-serial0", "pci.1")
        for name in names:
            assert f"<alias name='{name}'/>" in live
            assert (f"<alias name='{name}'/>" in stored) == name.startswith("ua-")
        assert set(names) <= set(objects(command(document), "-device"))

    def test_chosen_name_uses_no_number_up(self) -> None:
        """The card after one with a name of its own is the first without."""
        cards = objects(command(domain_xml(CARD.format("<alias name='ua-x'/>") + CARD.format(""))), "-netdev")
        assert list(cards) == ["hostua-x", "hostnet0"]


class TestBootOrder:
    """Who is asked first."""

    def order(self, document: str) -> dict[str, int]:
        """Places by name."""
        return {name: device["bootindex"] for name, device in objects(command(document), "-device").items()
                if "bootindex" in device}

    def test_kinds(self) -> None:
        """The list of kinds means the first device of each kind."""
        boot = "<boot dev='cdrom'/><boot dev='network'/><boot dev='hd'/>"
        document = domain_xml(DISK.format("vda", "") + DISK.format("vdb", "") + CDROM + CARD.format(""), os=boot)
        assert self.order(document) == {"sata0-0-0": 1, "net0": 2, "virtio-disk0": 3}

    def test_own(self) -> None:
        """A device's own place means that device, and then no other has one; each kind of device can have one."""
        shared = "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>"
        document = domain_xml(
            DISK.format("vda", "") + DISK.format("vdb", "<boot order='2'/>") + CARD.format("<boot order='1'/>")
            + "<hostdev mode='subsystem' type='usb'><source><address bus='1' device='2'/></source><boot order='3'/>"
            "</hostdev><redirdev bus='usb' type='tcp'><source mode='connect' host='h' service='4'/><boot order='4'/>"
            "</redirdev><filesystem><driver type='virtiofs'/><source dir='/x'/><target dir='t'/><boot order='5'/>"
            "</filesystem>", top=shared)
        assert self.order(document) == {"virtio-disk1": 2, "net0": 1, "hostdev0": 3, "redir0": 4, "fs0": 5}

    @pytest.mark.parametrize(("machine", "option"), [("pc", "isa-fdc.bootindexA=1"), ("q35", None)])
    def test_floppy(self, machine: str, option: str | None) -> None:
        """A floppy drive's place is its controller's, which on an old PC is part of the machine."""
        floppy = "<disk type='file' device='floppy'><source file='/f'/><target dev='fda' bus='fdc'/></disk>"
        argv = command(domain_xml(floppy, machine=machine, os="<boot dev='fd'/>"))
        if option is None:
            assert objects(argv, "-device")["fdc0"]["bootindexA"] == 1
        else:
            assert option in options(argv, "-global")


class TestScreens:
    """Servers for people who look at the guest."""

    VNC = "<graphics type='vnc' port='5907' {}>{}</graphics>"

    @pytest.mark.parametrize(("attributes", "inside", "expected"), [
        ("", "", "vnc=127.0.0.1:7,audiodev=audio1"),
        ("", "<listen type='address' address='::1'/>", "vnc=[::1]:7,audiodev=audio1"),
        ("", "<listen type='socket' socket='/s,1'/>", "vnc=unix:/s,,1,audiodev=audio1"),
        ("", "<listen type='none'/>", "vnc=none,audiodev=audio1"),
        ("websocket='5700' sharePolicy='ignore' powerControl='yes' passwd='x'", "",
         "vnc=127.0.0.1:7,websocket=5700,share=ignore,password=on,power-control=on,audiodev=audio1"),
    ])
    def test_vnc(self, attributes: str, inside: str, expected: str) -> None:
        """Where it listens, and what it lets people do. The password is told later, not here."""
        assert only(command(domain_xml(self.VNC.format(attributes, inside))), "-vnc") == expected

    def test_keymap(self) -> None:
        """The layout of a keyboard is an option of its own."""
        assert only(command(domain_xml(self.VNC.format("keymap='de'", ""))), "-k") == "de"

    def test_spice(self) -> None:
        """The same for SPICE, with what it alone has."""
        inside = ("<listen type='address' address='1.2.3.4'/><image compression='off'/><jpeg compression='never'/>"
                  "<zlib compression='always'/><playback compression='off'/><streaming mode='filter'/>"
                  "<mouse mode='server'/><clipboard copypaste='no'/><filetransfer enable='no'/>"
                  "<channel name='main' mode='insecure'/>")
        value = only(command(domain_xml(f"<graphics type='spice' port='5930'>{inside}</graphics>")), "-spice")
        assert dict(keyed(value)) == {
            "port": "5930", "addr": "1.2.3.4", "agent-mouse": "off", "disable-ticketing": "on",
            "plaintext-channel": "main", "image-compression": "off", "jpeg-wan-compression": "never",
            "zlib-glz-wan-compression": "always", "playback-compression": "off", "streaming-video": "filter",
            "disable-copy-paste": "on", "disable-agent-file-xfer": "on", "seamless-migration": "on"}

    def test_spice_socket(self) -> None:
        """On a socket, and with a password."""
        value = only(command(domain_xml("<graphics type='spice' passwd='x'><listen type='socket' socket='/s,1'/>"
                                        "</graphics>")), "-spice")
        assert keyed(value)[:2] == [("unix", "on"), ("addr", "/s,1")]
        assert "disable-ticketing" not in dict(keyed(value))

    def test_no_window(self) -> None:
        """QEMU opens none, but for drawing without a screen."""
        assert only(command(domain_xml()), "-display") == "none"
        headless = "<graphics type='egl-headless'><gl rendernode='/dev/dri/a,b'/></graphics>"
        assert only(command(domain_xml(headless)), "-display") == "egl-headless,rendernode=/dev/dri/a,,b"

    def test_sound(self) -> None:
        """A back end of each kind of direction, and the speaker that is part of the machine."""
        argv = command(domain_xml(
            "<sound model='pcspk'/><audio id='1' type='file' path='/a,b' timerPeriod='9'><input mixingEngine='no' "
            "voices='2'/><output mixingEngine='yes' fixedSettings='yes'><settings frequency='44100' channels='2' "
            "format='s16'/></output></audio>"))
        assert objects(argv, "-audiodev")["audio1"] == {
            "driver": "wav", "path": "/a,b", "timer-period": 9, "in": {"mixing-engine": False, "voices": 2},
            "out": {"mixing-engine": True, "fixed-settings": True, "frequency": 44100, "channels": 2, "format": "s16"}}
        assert "pcspk-audiodev=audio1" in options(argv, "-machine")

    @pytest.mark.parametrize("kind", ["sdl", "rdp", "desktop", "dbus"])
    def test_refused(self, kind: str) -> None:
        """Windows on the host's own screen are not a server's."""
        with pytest.raises(LibvirtError) as error:
            command(domain_xml(f"<graphics type='{kind}'/>"))
        assert error.value.code == c.VIR_ERR_CONFIG_UNSUPPORTED


class TestSupported:
    """What a start refuses although it is no option of QEMU's: no limit and no filter is passed over in silence."""

    @pytest.mark.parametrize(("path", "top", "devices"), [
        ("/domain/cputune", "<cputune><shares>100</shares></cputune>", ""),
        ("/domain/memtune", "<memtune><hard_limit>100000</hard_limit></memtune>", ""),
        ("/domain/launchSecurity", "<launchSecurity type='sev'><cbitpos>47</cbitpos><reducedPhysBits>1"
         "</reducedPhysBits><policy>3</policy></launchSecurity>", ""),
        ("/domain/seclabel[1]", "<seclabel type='dynamic' model='dac'/>", ""),
        ("/domain/devices/interface[1]/bandwidth", "", "<interface type='user'><bandwidth><inbound average='1'/>"
         "</bandwidth></interface>"),
        ("/domain/devices/interface[2]/vlan", "", "<interface type='user'/><interface type='bridge'><source "
         "bridge='b'/><vlan><tag id='4'/></vlan></interface>"),
        ("/domain/devices/interface[1]/filterref", "", "<interface type='bridge'><source bridge='b'/>"
         "<filterref filter='clean-traffic'/></interface>"),
        ("/domain/devices/lease", "", "<lease><lockspace>a</lockspace><key>b</key><target path='/c'/></lease>"),
    ])
    def test_by_path(self, path: str, top: str, devices: str) -> None:
        """The error is libvirt's "unsupported configuration" with the path of the element."""
        model = read(domain_xml(devices, top=top), Path("/srv"))
        with pytest.raises(LibvirtError) as error:
            check_supported(model)
        assert (error.value.code, error.value.domain) == (c.VIR_ERR_CONFIG_UNSUPPORTED, c.VIR_FROM_QEMU)
        assert path in error.value.message

    def test_plain_document_passes(self) -> None:
        """What is carried out is not refused."""
        check_supported(setup_of(domain_xml(DISK.format("vda", "") + CDROM + CARD.format(""))).domain)

    def test_names_of_lines(self) -> None:
        """Every line that is refused exists."""
        for model, names in REFUSED.items():
            assert names <= lines_of(model).keys(), model


class TestBeforeRun:
    """What no option says, and QEMU is told before the guest runs."""

    def told(self, devices: str = "", top: str = "") -> list[tuple[str, dict[str, object]]]:
        """The QMP commands."""
        return [(command.name, dict(command.arguments)) for command in before_run(
            setup_of(domain_xml(devices, top=top)).domain)]

    def test_balloon(self) -> None:
        """Less current memory than there is at most, if there is a balloon to take it."""
        top, balloon = "<currentMemory unit='MiB'>16</currentMemory>", "<memballoon model='virtio'/>"
        assert self.told(balloon, top) == [("balloon", {"value": 16 * 1024 * 1024})]
        assert self.told(balloon) == []
        assert self.told("<memballoon model='none'/>", top) == []

    def test_statistics(self) -> None:
        """How often the guest is to tell of its memory."""
        assert self.told("<memballoon model='virtio'><stats period='5'/></memballoon>") == [
            ("qom-set", {"path": "/machine/peripheral/balloon0", "property": "guest-stats-polling-interval",
                         "value": 5})]

    def test_password(self) -> None:
        """A password is never an argument."""
        screen = "<graphics type='vnc' port='5907' passwd='secret,x'/>"
        assert ("set_password", {"protocol": "vnc", "password": "secret,x", "connected": "keep"}) in self.told(screen)
        assert not any("secret" in word for word in command(domain_xml(screen)))

    def test_link(self) -> None:
        """A cable that is not plugged in."""
        assert self.told(CARD.format("<link state='down'/>")) == [("set_link", {"name": "net0", "up": False})]


class TestTerminals:
    """What only QEMU knows: the terminals that it opens."""

    def filled(self, devices: str) -> str:
        """The live document of a guest that runs."""
        async def ask() -> str:
            async with started(domain_xml(devices)) as guest:
                fill_ptys(guest.setup.devices, await guest.ask("query-chardev"))
                live = format_domain(guest.model, live=True)
                assert "/dev/pts" not in format_domain(guest.model, live=False)
                return live
        return isolated(ask)

    def test_console_is_the_serial_port(self) -> None:
        """A terminal's path stands at the port and, for old clients, twice at the console that mirrors it."""
        live = self.filled("<console type='pty'/>")
        [path] = set(re.findall("/dev/pts/[0-9]+", live))
        assert f"<console type='pty' tty='{path}'>" in live
        assert live.count(f"<source path='{path}'/>") == 2
        assert live.count("<alias name='serial0'/>") == 2

    def test_several(self) -> None:
        """Each device has its own."""
        live = self.filled("<serial type='pty'/><parallel type='pty'/><channel type='pty'><target type='virtio' "
                           "name='a'/></channel><console type='pty'><target type='virtio'/></console>")
        assert len(set(re.findall("<source path='(/dev/pts/[0-9]+)'/>", live))) == 4

    def test_file(self, tmp_path: Path) -> None:
        """A serial port's file is opened by its name, commas and all."""
        path = tmp_path / "a,path=b.log"

        async def run() -> None:
            document = domain_xml(f"<serial type='file'><source path='{path}'/></serial>")
            async with started(document, as_it_is=True):
                assert path.exists()
        isolated(run)
