"""The command line: accepted by real QEMU, shows what the document says, and cannot be injected into.

Every document of the table is started (paused, emulated) and QEMU is asked what it has.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.components import require_program
from virtbus_domain.drivers.qemu.arguments import Arguments
from virtbus_domain.drivers.qemu.capabilities import QemuCapabilities, probe
from virtbus_domain.drivers.qemu.command import before_run, build, taps_needed
from virtbus_domain.drivers.qemu.discovery import GuestPaths
from virtbus_domain.drivers.qemu.monitor import listen
from virtbus_domain.drivers.qemu.names import assign_names, fill_ptys
from virtbus_domain.drivers.qemu.process import launch
from virtbus_domain.drivers.qemu.supported import check_supported
from virtbus_domain.xml import Domain, format_domain, normalise, parse_domain
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

UUID = "6f1b3a52-9f0e-4a55-8f2c-0d3f5e4a7b10"


@pytest.fixture(scope="module")
def capabilities() -> QemuCapabilities:
    """What the x86 emulator of this machine can do."""
    return asyncio.run(probe(require_program("qemu-system-x86_64")))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A directory with a raw and a qcow2 image, a kernel that is none, and a block device's stand-in."""
    with (tmp_path / "disk.img").open("wb") as image:
        image.truncate(1024 * 1024)
    subprocess.run([require_program("qemu-img"), "create", "-q", "-f", "qcow2", tmp_path / "disk.qcow2", "1M"],
                   check=True)
    (tmp_path / "odd,name=x,,y's \"disk\".img").write_bytes(bytes(1024 * 1024))
    return tmp_path


def model(capabilities: QemuCapabilities, devices: str = "", *, machine: str = "q35", top: str = "", os_extra: str = "",
          name: str = "guest", domain_type: str = "qemu", memory: str = "32") -> Domain:
    """A normalised domain with these parts."""
    domain = parse_domain(
        f"<domain type='{domain_type}'><name>{escape(name)}</name><uuid>{UUID}</uuid>"
        f"<memory unit='MiB'>{memory}</memory>"
        f"<os><type arch='x86_64' machine='{machine}'>hvm</type>{os_extra}</os>{top}"
        f"<devices>{devices}</devices></domain>")
    normalise(domain, "qemu", machine=lambda arch, name: capabilities.canonical_machine(name).name)
    return domain


def arguments(domain: Domain, capabilities: QemuCapabilities, taps: Mapping[int, int] | None = None) -> list[str]:
    """The argument list of a domain, for a run directory that is never used."""
    return build(domain, capabilities, GuestPaths(Path("/run/x"), 1, UUID), monitor_fd=3, taps=taps or {})


def values(argv: list[str], option: str) -> list[str]:
    """What follows each occurrence of an option."""
    return [value for name, value in pairwise(argv) if name == option]


def started(domain: Domain, capabilities: QemuCapabilities, run_dir: Path, *queries: tuple[str, Mapping[str, object]],
            taps: Mapping[int, int] | None = None) -> list[Any]:
    """Start the domain paused in real QEMU, ask it, end it."""
    async def scenario() -> list[Any]:
        paths = GuestPaths(run_dir, 1, UUID)
        paths.create()
        listener = listen(paths.monitor)
        taken = taps or {}
        argv = build(domain, capabilities, paths, monitor_fd=listener.fileno(), taps=taken)
        process, monitor = await launch(argv, paths, listener, list(taken.values()))
        try:
            for command, given_arguments in before_run(domain):
                await monitor.execute(command, given_arguments)
            return [await monitor.execute(command, given_arguments) for command, given_arguments in queries]
        finally:
            await process.kill()
            await monitor.closed.wait()
            assert "warning" not in paths.log.read_text()
            paths.remove()
    return asyncio.run(scenario())


DISK = "<disk type='file' device='disk'><driver name='qemu' type='{format}'/><source file='{file}'/>" \
       "<target dev='{dev}' bus='{bus}'/>{extra}</disk>"
CDROM = "<disk type='file' device='cdrom'><target dev='{dev}' bus='{bus}'/></disk>"

DOCUMENTS: dict[str, tuple[str, str, str]] = {  # name: machine, elements beside devices, devices
    "bare": ("q35", "", ""),
    "bare pc": ("pc", "", ""),
    "platform": ("q35", "<vcpu>4</vcpu><features><acpi/><apic/><pae/><vmport state='off'/></features>"
                 "<cpu mode='custom' match='exact'><model fallback='allow'>Nehalem</model><topology sockets='1'"
                 " dies='1' cores='2' threads='2'/><feature policy='disable' name='vme'/></cpu>"
                 "<clock offset='localtime'><timer name='rtc' tickpolicy='catchup'/>"
                 "<timer name='pit' tickpolicy='delay'/><timer name='hpet' present='no'/></clock>"
                 "<on_reboot>destroy</on_reboot>"
                 "<pm><suspend-to-mem enabled='no'/><suspend-to-disk enabled='no'/></pm>"
                 "<seclabel type='none'/>", ""),
    "platform pc": ("pc", "<vcpu current='1'>2</vcpu><features><acpi/></features><cpu mode='maximum'/>"
                    "<pm><suspend-to-mem enabled='yes'/></pm>", ""),
    "virtio disks": ("q35", "", DISK.format(format="raw", file="disk.img", dev="vda", bus="virtio", extra="")
                     + DISK.format(format="qcow2", file="disk.qcow2", dev="vdb", bus="virtio",
                                   extra="<serial>A,B</serial><backingStore/>")),
    "sata": ("q35", "", DISK.format(format="raw", file="disk.img", dev="sda", bus="sata", extra="<wwn>5000c50015ea71ad"
             "</wwn>") + CDROM.format(dev="sdb", bus="sata")),
    "sata on pc": ("pc", "", DISK.format(format="raw", file="disk.img", dev="sda", bus="sata", extra="")),
    "ide": ("pc", "", DISK.format(format="raw", file="disk.img", dev="hda", bus="ide", extra="")
            + CDROM.format(dev="hdc", bus="ide")),
    "scsi": ("q35", "", "<controller type='scsi' index='0' model='virtio-scsi'/>"
             + DISK.format(format="raw", file="disk.img", dev="sda", bus="scsi", extra="<vendor>ACME</vendor>"
                           "<product>DISK</product>") + CDROM.format(dev="sdb", bus="scsi")),
    "scsi lsi": ("pc", "", DISK.format(format="raw", file="disk.img", dev="sda", bus="scsi", extra="<shareable/>")),
    "disk options": ("q35", "", "<disk type='file' device='disk'><driver name='qemu' type='raw' cache='none'"
                     " io='threads' discard='unmap' detect_zeroes='unmap' error_policy='enospace'/>"
                     "<source file='disk.img'/><target dev='vda' bus='virtio'/><readonly/></disk>"),
    "odd file name": ("q35", "", DISK.format(format="raw", file="odd,name=x,,y&apos;s &quot;disk&quot;.img", dev="vda",
                                             bus="virtio", extra="")),
    "controllers": ("q35", "", "<controller type='usb' model='qemu-xhci'/><controller type='virtio-serial'/>"
                    "<controller type='pci' model='pcie-root'/><controller type='pci' index='1' model='pcie-root-port'>"
                    "<model name='pcie-root-port'/><target chassis='1' port='0x10'/><address type='pci' domain='0x0000'"
                    " bus='0x00' slot='0x02' function='0x0' multifunction='on'/></controller>"
                    "<controller type='sata' index='0'><address type='pci' slot='0x1f' function='0x2'/></controller>"
                    "<memballoon model='virtio'><address type='pci' bus='0x01' slot='0x00'/></memballoon>"),
    "no usb": ("pc", "", "<controller type='usb' model='none'/><memballoon model='none'/>"),
    "user network": ("q35", "", "<interface type='user'><mac address='52:54:00:aa:bb:cc'/><model type='virtio'/>"
                     "</interface><interface type='user'/>"),
    "rng and input": ("q35", "", "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>"
                      "<rng model='virtio'><backend model='builtin'/></rng><input type='mouse' bus='ps2'/>"
                      "<input type='keyboard' bus='ps2'/><audio id='1' type='none'/>"),
    "serial ports": ("q35", "", "<serial type='pty'/><serial type='file'><source path='a,b.log' append='on'/></serial>"
                     "<serial type='unix'><source mode='bind' path='s,1'/></serial><serial type='null'/>"),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_accepted_by_qemu(name: str, capabilities: QemuCapabilities, files: Path,
                          monkeypatch: pytest.MonkeyPatch) -> None:
    """QEMU starts with the argument list of each document and names the guest as the document does."""
    machine, top, devices = DOCUMENTS[name]
    devices = re.sub(r"(file|path)='", lambda found: f"{found[0]}{files}/", devices)
    domain = model(capabilities, devices, machine=machine, top=top, name="a guest, with=commas")
    answers = started(domain, capabilities, files / "run", ("query-name", {}), ("query-uuid", {}),
                      ("query-memory-size-summary", {}), ("query-cpus-fast", {}), ("query-status", {}))
    assert answers[0] == {"name": "a guest, with=commas"}
    assert answers[1] == {"UUID": UUID}
    assert answers[2]["base-memory"] == 32 * 1024 * 1024
    assert len(answers[3]) == (domain.vcpu_current or domain.vcpu)
    assert answers[4]["status"] == "prelaunch"


class TestDevices:
    """QEMU has what the document says."""

    def test_disk(self, capabilities: QemuCapabilities, files: Path) -> None:
        """The disk's file, format and serial number, whatever characters they hold, are what QEMU has open."""
        odd = str(files / "odd,name=x,,y's \"disk\".img")
        domain = model(capabilities, "<disk type='file'><driver name='qemu' type='raw' cache='none'/>"
                       f"<source file={quoteattr(odd)}/><target dev='vda'/><serial>A,id=B</serial></disk>")
        nodes, serial = started(
            domain, capabilities, files / "run", ("query-named-block-nodes", {"flat": True}),
            ("qom-get", {"path": "/machine/peripheral/virtio-disk0", "property": "serial"}))
        [storage] = [node for node in nodes if node["node-name"] == "libvirt-1-storage"]
        assert (storage["file"], storage["cache"]["direct"]) == (odd, True)
        assert serial == "A,id=B"

    def test_cards(self, capabilities: QemuCapabilities, files: Path) -> None:
        """MAC address and model of a network card."""
        domain = model(capabilities, "<interface type='user'><mac address='52:54:00:aa:bb:cc'/><model type='e1000e'/>"
                       "</interface>")
        kind, mac = started(domain, capabilities, files / "run", *(
            ("qom-get", {"path": "/machine/peripheral/net0", "property": name}) for name in ("type", "mac")))
        assert (kind, mac) == ("e1000e", "52:54:00:aa:bb:cc")

    def test_tap(self, capabilities: QemuCapabilities, files: Path) -> None:
        """An interface on a bridge gets the descriptor that was made for it."""
        domain = model(capabilities, "<interface type='user'/><interface type='bridge'><mac address='52:54:00:1:2:3'/>"
                       "<source bridge='br0'/><target dev='mine'/><model type='virtio'/></interface>"
                       "<interface type='ethernet'/>")
        first, second = taps_needed(domain)
        assert (first.position, first.mac, first.bridge, first.name) == (1, "52:54:00:01:02:03", "br0", "mine")
        assert (second.position, second.bridge, second.name) == (2, None, None)
        netdevs = [json.loads(value) for value in values(arguments(domain, capabilities, {1: 20, 2: 21}), "-netdev")]
        assert netdevs == [{"type": "user", "id": "hostnet0"}, {"type": "tap", "fd": "20", "id": "hostnet1"},
                           {"type": "tap", "fd": "21", "id": "hostnet2"}]

    def test_boot_order(self, capabilities: QemuCapabilities, files: Path) -> None:
        """The list of kinds means the first device of each kind; a device's own order means that device."""
        disks = "".join(f"<disk type='file'><source file='{files}/disk.img'/><target dev='vd{letter}'/></disk>"
                        for letter in "ab") + CDROM.format(dev="sda", bus="sata")
        card = "<interface type='user'><model type='virtio'/>{}</interface>"
        listed = model(capabilities, disks + card.format(""),
                       os_extra="<boot dev='cdrom'/><boot dev='network'/><boot dev='hd'/>")
        own = model(capabilities, disks + card.format("<boot order='3'/>"))

        def order(domain: Domain) -> dict[str, int | None]:
            devices = [json.loads(value) for value in values(arguments(domain, capabilities), "-device")]
            return {device["id"]: device.get("bootindex") for device in devices}

        assert order(listed) == {"sata0-0-0": 1, "net0": 2, "virtio-disk0": 3, "virtio-disk1": None}
        assert order(own) == {"sata0-0-0": None, "net0": 3, "virtio-disk0": None, "virtio-disk1": None}

    def test_kernel(self, capabilities: QemuCapabilities) -> None:
        """Kernel, initial disk and arguments go to QEMU as they are."""
        domain = model(capabilities, os_extra="<kernel>/k,1</kernel><initrd>/i</initrd>"
                       "<cmdline>console=ttyS0,115200 -device x</cmdline>")
        argv = arguments(domain, capabilities)
        assert values(argv, "-kernel") == ["/k,1"]
        assert values(argv, "-initrd") == ["/i"]
        assert values(argv, "-append") == ["console=ttyS0,115200 -device x"]

    def test_serial_to_a_file(self, capabilities: QemuCapabilities, files: Path) -> None:
        """A serial port's file is opened by its name, commas and all; a pty's path can be asked for."""
        path = files / "a,path=b.log"
        domain = model(capabilities, f"<serial type='file'><source path='{path}'/></serial><serial type='pty'/>")
        [chardevs] = started(domain, capabilities, files / "run", ("query-chardev", {}))
        assert path.exists()
        assert domain.devices is not None
        assign_names(domain.devices)
        fill_ptys(domain.devices, chardevs)
        [terminal] = domain.devices.serials[1].source
        assert (terminal.path or "").startswith("/dev/pts/")

    def test_console_is_the_serial_port(self, capabilities: QemuCapabilities, files: Path) -> None:
        """A terminal's path stands at the port and, for old clients, twice at the console that mirrors it."""
        domain = model(capabilities, "<console type='pty'/>")
        [chardevs] = started(domain, capabilities, files / "run", ("query-chardev", {}))
        assert domain.devices is not None
        assign_names(domain.devices)
        fill_ptys(domain.devices, chardevs)
        live = format_domain(domain, live=True)
        [path] = set(re.findall("/dev/pts/[0-9]+", live))
        assert f"<console type='pty' tty='{path}'>" in live
        assert live.count(f"<source path='{path}'/>") == 2
        assert live.count("<alias name='serial0'/>") == 2
        assert "/dev/pts" not in format_domain(domain, live=False)

    def test_serial_to_a_socket(self, capabilities: QemuCapabilities, files: Path) -> None:
        """A unix serial port in bind mode listens, and in connect mode dials."""
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(files / "dialled"))
            listener.listen()
            domain = model(capabilities, f"<serial type='unix'><source mode='bind' path='{files}/ours'/></serial>"
                           f"<serial type='unix'><source mode='connect' path='{files}/dialled'/></serial>")
            [chardevs] = started(domain, capabilities, files / "run", ("query-chardev", {}))
            listener.accept()[0].close()
        assert any(f"{files}/ours,server=on" in chardev["filename"] for chardev in chardevs)

    def test_balloon(self, capabilities: QemuCapabilities) -> None:
        """Less current memory than the maximum is a balloon command before the guest runs."""
        top, balloon = "<currentMemory unit='MiB'>16</currentMemory>", "<memballoon model='virtio'/>"
        assert before_run(model(capabilities, balloon, top=top)) == [("balloon", {"value": 16 * 1024 * 1024})]
        assert before_run(model(capabilities, balloon)) == []
        assert before_run(model(capabilities, "<memballoon model='none'/>", top=top)) == []

    def test_names(self, capabilities: QemuCapabilities, files: Path) -> None:
        """Generated names are libvirt's, appear in the live document only, and are QEMU's own."""
        domain = model(capabilities, DISK.format(format="raw", file=files / "disk.img", dev="vdb", bus="virtio",
                                                 extra="<alias name='ua-system'/>")
                       + CDROM.format(dev="sda", bus="sata") + "<interface type='user'/><serial type='pty'/>")
        assert domain.devices is not None
        assign_names(domain.devices)
        live, stored = format_domain(domain, live=True), format_domain(domain, live=False)
        for name in ("ua-system", "sata0-0-0", "net0", "serial0"):
            assert f"<alias name='{name}'/>" in live
            assert (f"<alias name='{name}'/>" in stored) == name.startswith("ua-")
        ids = {json.loads(value)["id"] for value in values(arguments(domain, capabilities), "-device")}
        assert ids == {"ua-system", "sata0-0-0", "net0", "serial0"}


class TestFixedPart:
    """What is the same for every guest."""

    def test_found_again(self, capabilities: QemuCapabilities) -> None:
        """The first option tells which guest it is."""
        argv = arguments(model(capabilities), capabilities)
        assert argv[1:3] == ["-pidfile", f"/run/x/qemu/1-{UUID}/qemu.pid"]

    def test_ends_with_the_guest(self, capabilities: QemuCapabilities) -> None:
        """A guest that powers off ends even while nobody watches; no files, programs or rights beyond its own."""
        argv = arguments(model(capabilities), capabilities)
        assert "-no-shutdown" not in argv
        assert {"-S", "-nodefaults", "-no-user-config"} < set(argv)
        assert values(argv, "-sandbox") == [
            "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"]
        assert values(argv, "-accel") == ["tcg,tb-size=32"]

    def test_kvm_refused(self, capabilities: QemuCapabilities) -> None:
        """Type kvm is KVM where it works, and an error with the reason where it does not."""
        domain = model(capabilities, domain_type="kvm", top="<cpu mode='host-passthrough' migratable='off'/>")
        paths = GuestPaths(Path("/run/x"), 1, UUID)
        argv = build(domain, capabilities, paths, monitor_fd=3, taps={})
        assert values(argv, "-accel") == ["kvm"]
        assert values(argv, "-cpu") == ["host,migratable=off"]
        with pytest.raises(LibvirtError) as error:
            build(domain, capabilities, paths, monitor_fd=3, taps={}, kvm_problem="it hangs")
        assert error.value.code == c.VIR_ERR_CONFIG_UNSUPPORTED
        assert error.value.message.endswith("does not support virt type 'kvm': it hangs")


class TestRefused:
    """What we cannot do is named before anything starts."""

    @pytest.mark.parametrize(("path", "top", "devices"), [
        ("/domain/cputune", "<cputune><shares>100</shares></cputune>", ""),
        ("/domain/memoryBacking", "<memoryBacking><hugepages/></memoryBacking>", ""),
        ("/domain/features/hyperv", "<features><hyperv><relaxed state='on'/></hyperv></features>", ""),
        ("/domain/cpu/numa", "<cpu><numa/></cpu>", ""),
        ("/domain/clock/timer[2]", "<clock offset='utc'><timer name='hpet' present='no'/><timer name='tsc'/></clock>",
         ""),
        ("/domain/seclabel[1]", "<seclabel type='dynamic' model='dac'/>", ""),
        ("/domain/on_poweroff", "<on_poweroff>preserve</on_poweroff>", ""),
        ("/domain/devices/tpm", "", "<tpm model='tpm-tis'><backend type='emulator'/></tpm>"),
        ("/domain/devices/graphics", "", "<graphics type='vnc'/>"),
        ("/domain/devices/watchdog", "", "<watchdog model='i6300esb'/>"),
        ("/domain/devices/disk[1]/iotune", "", "<disk type='file'><source file='/x'/><target dev='vda'/><iotune>"
         "<total_bytes_sec>1</total_bytes_sec></iotune></disk>"),
        ("/domain/devices/disk[1]/driver/@iothread", "", "<disk type='file'><driver iothread='1'/><source file='/x'/>"
         "<target dev='vda'/></disk>"),
        ("/domain/devices/disk[1]/source/@protocol", "", "<disk type='network'><source protocol='nbd' name='x'/>"
         "<target dev='vda'/></disk>"),
        ("/domain/devices/disk[1]/driver/@type", "", "<disk type='file'><driver name='qemu' type='vmdk'/>"
         "<source file='/x'/><target dev='vda'/></disk>"),
        ("/domain/devices/interface[1]/bandwidth", "", "<interface type='user'><bandwidth><inbound average='1'/>"
         "</bandwidth></interface>"),
        ("/domain/devices/interface[1]/@type", "", "<interface type='network'><source network='default'/></interface>"),
        ("/domain/devices/interface[1]/model/@type", "",
         "<interface type='user'><model type='vfio-pci'/></interface>"),
        ("/domain/devices/serial[1]/@type", "", "<serial type='stdio'/>"),
        ("/domain/devices/serial[1]/source[1]/@host", "",
         "<serial type='tcp'><source mode='bind' host='a' service='1'/></serial>"),
        ("/domain/devices/rng[1]/backend/@model", "", "<rng model='virtio'><backend model='egd'/></rng>"),
        ("/domain/devices/rng[1]/rate", "", "<rng model='virtio'><rate bytes='1'/><backend model='random'/></rng>"),
        ("/domain/devices/input[1]", "", "<input type='tablet' bus='usb'/>"),
        ("/domain/devices/controller[1]", "", "<controller type='usb' model='ich9-ehci1'/>"),
    ])
    def test_by_path(self, path: str, top: str, devices: str, capabilities: QemuCapabilities) -> None:
        """The error is libvirt's "unsupported configuration" with the path of the element."""
        domain = model(capabilities, devices, top=top)
        with pytest.raises(LibvirtError) as error:
            arguments(domain, capabilities)
        assert (error.value.code, error.value.domain) == (c.VIR_ERR_CONFIG_UNSUPPORTED, c.VIR_FROM_QEMU)
        assert (error.value.str2 or "").startswith(path)

    @pytest.mark.parametrize("cpu", [
        "<cpu><model>qemu64,+vme</model></cpu>", "<cpu><model>x</model><feature name='a=b,c'/></cpu>"])
    def test_cpu_words(self, cpu: str, capabilities: QemuCapabilities) -> None:
        """The CPU option has no escape, so a name that would split it is refused."""
        with pytest.raises(LibvirtError, match="invalid CPU name"):
            arguments(model(capabilities, top=cpu), capabilities)

    @pytest.mark.parametrize(("path", "devices"), [
        ("/domain/devices/disk[1]/wwn", "<disk type='file'><source file='/x'/><target dev='sda' bus='sata'/>"
         "<wwn>no number</wwn></disk>"),
        ("/domain/devices/controller[1]/target/@port", "<controller type='pci' index='1' model='pcie-root-port'>"
         "<target chassis='1' port='x'/></controller>"),
    ])
    def test_numbers(self, path: str, devices: str, capabilities: QemuCapabilities) -> None:
        """A number that is none is an XML error with its path."""
        with pytest.raises(LibvirtError) as error:
            arguments(model(capabilities, devices), capabilities)
        assert error.value.code == c.VIR_ERR_XML_ERROR
        assert f"(at {path})" in error.value.message

    def test_topology(self, capabilities: QemuCapabilities) -> None:
        """A topology must make the number of virtual CPUs, and the machine must take them."""
        topology = "<vcpu>3</vcpu><cpu><topology sockets='1' cores='2' threads='1'/></cpu>"
        with pytest.raises(LibvirtError, match="CPU topology doesn't match maximum vcpu count"):
            arguments(model(capabilities, top=topology), capabilities)
        with pytest.raises(LibvirtError, match="greater than specified machine type limit"):
            arguments(model(capabilities, top="<vcpu>100000</vcpu>"), capabilities)

    def test_other_machines(self, capabilities: QemuCapabilities) -> None:
        """A machine whose buses we do not know is refused, and one that does not exist."""
        with pytest.raises(LibvirtError, match="machine type 'microvm'"):
            arguments(model(capabilities, machine="microvm"), capabilities)
        with pytest.raises(LibvirtError, match="does not support machine type 'nonsense'"):
            model(capabilities, machine="nonsense")

    def test_plain_document_passes(self, capabilities: QemuCapabilities) -> None:
        """What the table of documents holds is not refused."""
        for machine, top, devices in DOCUMENTS.values():
            check_supported(model(capabilities, devices, machine=machine, top=top))


# Any text that XML can carry, with what QEMU and shells treat specially made likely.
NASTY = st.text(
    st.one_of(st.sampled_from(list(",=\"'\\{}[]:;-$`\n\t %&<>#")), st.characters(
        codec="utf-8", exclude_categories=("Cs", "Cc", "Cn"))), min_size=1, max_size=40)


class TestInjection:
    """No string of a document can become an option or another value."""

    @given(path=NASTY, serial=NASTY, log=NASTY, cmdline=NASTY, name=NASTY)
    @settings(max_examples=150, deadline=None)
    def test_strings_stay_values(self, capabilities: QemuCapabilities, path: str, serial: str, log: str, cmdline: str,
                                 name: str) -> None:
        """Read back from the arguments, each string is itself, and there are as many arguments as for plain ones."""
        def argv(path: str, serial: str, log: str, cmdline: str, name: str) -> list[str]:
            domain = model(capabilities, "<disk type='file'><source file='x'/><target dev='vda'/><serial>x</serial>"
                           "</disk><serial type='file'><source path='x'/></serial>",
                           os_extra="<kernel>k</kernel><cmdline>x</cmdline>")
            assert domain.devices is not None
            assert domain.os is not None
            [disk], [port] = domain.devices.disks, domain.devices.serials
            assert disk.source is not None
            disk.source.file, disk.serial, port.source[0].path = path, serial, log
            domain.os.cmdline, domain.name = cmdline, name
            return arguments(domain, capabilities)

        plain, nasty = argv("a", "b", "c", "d", "e"), argv(path, serial, log, cmdline, name)
        assert len(plain) == len(nasty)
        assert [value for value in plain if value.startswith("-")] == [
            option for value, option in zip(plain, nasty, strict=True) if value.startswith("-")]
        assert json.loads(values(nasty, "-blockdev")[0])["filename"] == path
        assert json.loads(values(nasty, "-device")[0])["serial"] == serial
        assert read_keyed(values(nasty, "-chardev")[1]) == [("file", ""), ("id", "charserial0"), ("path", log)]
        assert read_keyed(values(nasty, "-name")[0]) == [("guest", name), ("debug-threads", "on")]
        assert values(nasty, "-append") == [cmdline]

    @given(name=NASTY)
    @settings(max_examples=12, deadline=None)
    def test_qemu_reads_it_the_same(self, capabilities: QemuCapabilities, tmp_path_factory: pytest.TempPathFactory,
                                    name: str) -> None:
        """Real QEMU understands an escaped name as that name."""
        domain = model(capabilities)
        domain.name = name
        [answer] = started(domain, capabilities, tmp_path_factory.mktemp("run"), ("query-name", {}))
        assert answer == {"name": name}

    def test_nul(self) -> None:
        """NUL, which would cut an argument short, is refused wherever it comes from."""
        made = Arguments("qemu")
        with pytest.raises(LibvirtError, match="NUL"):
            made.plain("-append", "a\0b")
        with pytest.raises(LibvirtError, match="NUL"):
            made.keyed("-name", guest="a\0b")
        made.json("-device", driver="x", id="a\0b")
        assert "\0" not in made.list[-1]


def read_keyed(argument: str) -> list[tuple[str, str]]:
    """A comma-separated argument as QEMU splits it: a doubled comma is a comma."""
    pairs = [part.partition("=") for part in split_commas(argument)]
    return [(key.replace(",,", ","), value.replace(",,", ",")) for key, _, value in pairs]


def split_commas(argument: str) -> list[str]:
    """Split at single commas only, left to right as QEMU reads."""
    parts, position, current = [], 0, ""
    while position < len(argument):
        if argument.startswith(",,", position):
            current, position = f"{current},,", position + 2
        elif argument[position] == ",":
            parts.append(current)
            current, position = "", position + 1
        else:
            current, position = current + argument[position], position + 1
    return [*parts, current]
