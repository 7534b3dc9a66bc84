"""A real QEMU takes every command line that we build, and has every device where the document says.

Each document, our own, those of other projects and made-up ones, is started paused and emulated, with small
counterparts of the disks, sockets and bridges that it names (``tests/support/stand_in_rules.py``), and QEMU is asked
what it has (``tests/support/machine_view.py``). What no test machine has is tried as far as QEMU can get without it.
"""

from __future__ import annotations

import functools
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from tests.conformance.documents import all_documents, own_documents
from tests.conformance.preparation import FOR_ARGUMENTS, prepared
from tests.support import stand_ins
from tests.support.command_line import domain_xml, parts
from tests.support.components import missing, require_program, require_root
from tests.support.generated import guests
from tests.support.machine_view import differences
from tests.support.made_up_devices import MadeUp
from tests.support.real_qemu import AnySecret, isolated, read, started
from tests.support.stand_ins import LeftOut
from virtbus_domain.drivers.qemu.command.parts import plug
from virtbus_domain.xml.hostdev import Hostdev
from virtbus_shared.errors import LibvirtError

# What QEMU may say of a guest that is well.
HARMLESS = (
    r"^char device redirected to /dev/pts/\d+",  # it tells where
    r"^warning: TCG doesn't support requested feature",  # of the CPU that the document names
    r"^warning: netdev channel\d+ has no peer",  # an address of the guest's network is no card of it
    r"^audio: Failed to create voice `adc'",  # nothing can be recorded from a file
    r"^libbpf: ",  # it sorts packets itself where the kernel cannot
)
# Documents of which no guest can be made here: they are for other machines or hypervisors, are no complete
# definition, or are refused by libvirt 9.0.0 as well (tests/conformance compares the verdicts).
NO_GUEST = (
    r"No emulator found for arch", r"Cannot check QEMU binary", r"does not support os type", r"does not support virt",
    r"missing name information", r"an os <type> must be specified", r"No PCI buses available",
    r"Invalid value for attribute '\w+' in element '(controller|sound)'", r"Invalid PCI address",
    r"Invalid address type 'pci' for the disk", r"Missing required attribute 'id' in element 'audio'",
    r"Total size of memory devices exceeds the total memory size", r"memory device count '5' exceeds slots count '3'",
    r"shared access for disk 'sdc' requires use of supported storage format",
    r"IDE controllers are unsupported for this QEMU binary", r"Unable to find any firmware to satisfy 'efi'",
    r"Only ide and scsi disk support wwn",
)
# Devices that no guest is started with yet.
REFUSED = (
    r"hostdev '\w+' of type '(scsi|scsi_host)'", r"hostdev '\w+' of mode 'capabilities'",
    r"the address of '(net1|hostdev0)'",
)
# What QEMU, or a start before it, says when it has read all options of a device and then looks for it.
LOOKED_FOR = {
    stand_ins.NO_VFIO: r"no such host device: No such file or directory$",
    stand_ins.NO_USB: r"failed to open /dev/bus/usb/\d+/\d+: No such file|USB device of '\w+' was not found",
    stand_ins.NO_EVDEV: r"Could not open '/dev/input/event\d+': No such file or directory$",
    stand_ins.NO_SCSI: r"cannot get SG_IO version number: [^\n]*\nIs this a SCSI device\?$",
    stand_ins.NO_GPU: r"egl: render node init failed$",
    stand_ins.NO_PARALLEL: r"Could not open '/dev/parport\d': No such file or directory$",
    stand_ins.NO_VHOST_USER: r"Failed to connect to '[^']+': No such file or directory$",
    stand_ins.NO_IVSHMEM: r"Failed to connect to '[^']+': No such file or directory$",
    stand_ins.NO_VIRTIOFSD: r"Failed to connect to '[^']+': No such file or directory$",
    stand_ins.NO_VHOST: r"Could not open '/dev/vhost-vdpa-0': No such file|vhost-vsock: failed to open vhost device",
    stand_ins.NO_BUS: r"graphics of type 'dbus' is not supported",
}
# Places of devices in made-up documents, that libvirt takes or even gives, and that no machine has.
NO_SUCH_PLACE = (
    r"Can't create (IDE|floppy) unit \d+, bus supports only 2 units",
    r"address range conflicts with memory device", r"Warning: speed mismatch trying to attach usb device",
)


def document(name: str) -> str:
    """A document as this machine can have it."""
    text = all_documents()[name]
    return text if name in own_documents() else prepared(text, FOR_ARGUMENTS)


def matches(text: str, patterns: tuple[str, ...]) -> bool:
    """Whether one of the patterns is found."""
    return any(re.search(pattern, text) for pattern in patterns)


def can_be_read(text: str, folder: Path) -> bool:
    """Whether a made-up document is a definition at all."""
    try:
        read(text, folder)
    except LibvirtError:
        return False
    return True


def check(text: str) -> None:
    """The guest of a document is what the document says, and nobody complains."""
    async def look() -> tuple[list[str], list[str], list[str]]:
        async with started(text) as guest:
            found = await differences(guest)
            complaints = [line for line in guest.said if not matches(line, HARMLESS)]
            refused = [error.message for _, error in guest.refused if not matches(error.message, REFUSED)]
            return found, complaints, refused

    found, complaints, refused = isolated(look)
    assert found == []
    assert complaints == []
    assert refused == []


def check_but_for(text: str, refusals: tuple[str, ...]) -> None:
    """The same, or its start is refused for one of some reasons."""
    try:
        check(text)
    except LibvirtError as error:
        if not matches(error.message, refusals):
            raise


class TestDocuments:
    """Every document becomes the guest that it describes."""

    @pytest.mark.parametrize("name", [name for name in all_documents() if name != "hugepages-i440fx"])
    def test_document(self, name: str) -> None:
        """It starts, without complaints; or why there can be no guest of it is known."""
        check_but_for(document(name), NO_GUEST)

    def test_huge_pages(self, huge_pages: None) -> None:
        """Memory of huge pages, in two cells, taken from a node of the host."""
        check(document("hugepages-i440fx"))

    @pytest.mark.slow
    @pytest.mark.parametrize("kind", ["pci", "drives"])
    def test_made_up_devices(self, kind: str, tmp_path: Path) -> None:
        """Devices at random, some at given places, are where QEMU has them too."""
        tried = 0
        for seed in range(60):
            text = getattr(MadeUp(seed), kind)()
            if can_be_read(text, tmp_path):
                tried += 1
                check_but_for(text, NO_SUCH_PLACE)
        assert tried > 20

    @pytest.mark.slow
    @given(text=guests())
    @settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
    def test_made_up_guests(self, text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
        """Guests with strings of any kind in their names, files and channels."""
        if can_be_read(text, tmp_path_factory.getbasetemp()):
            check_but_for(text, NO_SUCH_PLACE)

    @pytest.mark.parametrize(("machine", "devices"), [
        ("isapc", "<disk type='file' device='floppy'><source file='/a'/><target dev='fda' bus='fdc'/></disk>"
                  "<parallel type='null'/><sound model='sb16'/><panic model='isa'/>"),
        ("microvm", "<panic model='isa'/>")])
    def test_without_pci(self, machine: str, devices: str) -> None:
        """Machines that have no PCI bus run what needs none."""
        usual = "<controller type='usb' model='none'/><memballoon model='none'/><serial type='null'/>"
        check(domain_xml(usual + devices, machine=machine, os="<boot dev='fd'/>"))


@pytest.fixture
def huge_pages() -> Iterator[None]:
    """As many pages of 2 MiB as the document's guest has memory, for as long as it runs."""
    require_root()
    setting = Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")
    if not setting.exists():
        missing("huge pages", "the kernel has none of 2 MiB")
    before, wanted = int(setting.read_text()), 520
    try:
        setting.write_text(str(before + wanted))
        if int(setting.read_text()) < before + wanted:
            missing("huge pages", f"no memory for {wanted} of 2 MiB")
        yield
    finally:
        setting.write_text(str(before))


# --- what no test machine has ---------------------------------------------------------------------------------------


def waits(device: object) -> bool:
    """Whether QEMU starts without a device: the other card of a team, or one that may be plugged in later."""
    return isinstance(device, Hostdev) and (device.teaming_persistent is not None or (
        device.source is not None and device.source.vendor_id is not None))


class TestAbsent:
    """What QEMU does not find has been looked for as the document says."""

    @pytest.mark.parametrize("name", [
        "assigned-devices-q35", "assigned-looked-up-q35", "assigned-usb-i440fx", "disks-volume-i440fx", "graphics-q35",
        "interfaces-q35", "no-display-i440fx", "pci-topology-q35", "shared-memory-q35"])
    def test_device(self, name: str) -> None:
        """QEMU takes all options of a device that is not there, and fails because it is not there."""
        text = document(name)

        async def left_out() -> list[LeftOut]:
            async with started(text) as guest:
                return guest.here.left_out

        async def outcome(number: int) -> str:
            try:
                async with started(text, with_absent=number) as guest:
                    return "\n".join(error.message for _, error in guest.refused)
            except LibvirtError as error:
                return error.message

        devices = isolated(left_out)
        assert devices
        for number, left in enumerate(devices):
            said = isolated(functools.partial(outcome, number))
            if said:
                assert matches(said, (LOOKED_FOR[left.reason], *REFUSED)), (left.reason, said)
            else:
                assert waits(left.device), left.reason

    def test_servers(self, tmp_path: Path) -> None:
        """QEMU takes the options of every protocol, and then lacks the server, or the module that would call it."""
        wanted = [part for part in parts(document("disks-network-i440fx"), "disks",
                                         secrets=AnySecret(tmp_path, "secret")) if not part.name.endswith("-format")]

        async def answers() -> dict[str, str]:
            said = {}
            async with started(domain_xml()) as guest:
                for command in plug(wanted):
                    if command.name == "object-add":
                        await guest.ask(command.name, **command.arguments)
                    elif command.name == "blockdev-add":
                        with pytest.raises(LibvirtError) as error:
                            await guest.ask(command.name, **command.arguments)
                        said[str(command.arguments["driver"])] = error.value.message
            return said

        said = isolated(answers)
        assert set(said) == {"rbd", "iscsi", "nbd", "https", "http", "ftp", "gluster", "ssh", "nfs"}
        for driver, message in said.items():
            assert re.search(rf"Unknown driver '{driver}'$|address resolution failed|Failed to connect|"
                             r"Could(n't| not) resolve|error connecting|failed to (connect|resolve)", message), message


# --- disks that are not files ---------------------------------------------------------------------------------------


def block_nodes(text: str) -> dict[str, dict[str, object]]:
    """The block nodes of a guest whose disks are what the document says."""
    async def ask() -> dict[str, dict[str, object]]:
        async with started(text, as_it_is=True) as guest:
            assert await differences(guest) == []
            return {node["node-name"]: node for node in await guest.ask("query-named-block-nodes", flat=True)}
    return isolated(ask)


@pytest.fixture
def loop_devices(tmp_path: Path) -> Iterator[list[str]]:
    """Two block devices of the host."""
    require_root()
    losetup, devices = require_program("losetup"), []
    try:
        for name in ("disk", "disc"):
            (tmp_path / name).write_bytes(bytes(4 * 1024 * 1024))
            done = subprocess.run([losetup, "--find", "--show", tmp_path / name], capture_output=True, text=True,
                                  check=False)
            if done.returncode != 0:
                missing("loop devices", done.stderr.strip())
            devices.append(done.stdout.strip())
        yield devices
    finally:
        for device in devices:
            subprocess.run([losetup, "--detach", device], check=True)


def test_block_devices(loop_devices: list[str]) -> None:
    """Block devices of the host, as a disk and in a CD-ROM drive; a loop device is no CD-ROM drive itself."""
    disk, disc = loop_devices
    nodes = block_nodes(domain_xml(
        "<disk type='block' device='disk'><driver name='qemu' type='raw' cache='none' io='native'/>"
        f"<source dev='{disk}'/><target dev='vda' bus='virtio'/></disk>"
        "<disk type='block' device='cdrom'><driver name='qemu' type='raw'/>"
        f"<source dev='{disc}'/><target dev='sda' bus='sata'/><readonly/></disk>"))
    for number, device, read_only in ((2, disk, False), (1, disc, True)):
        storage = nodes[f"libvirt-{number}-storage"]
        assert (storage["drv"], storage["file"]) == ("host_device", device)
        assert nodes[f"libvirt-{number}-format"]["ro"] == read_only


def test_network_block_device(tmp_path: Path) -> None:
    """An image that a server exports over a socket, as QEMU reads it."""
    image, path = tmp_path / "image", tmp_path / "nbd"
    image.write_bytes(bytes(4 * 1024 * 1024))
    server = subprocess.Popen([require_program("qemu-nbd"), "--persistent", "--format=raw", "--export-name=a,b c",
                               f"--socket={path}", "--fork", f"--pid-file={tmp_path / 'pid'}", image])
    assert server.wait(timeout=30) == 0
    try:
        nodes = block_nodes(domain_xml(
            "<disk type='network' device='disk'><driver name='qemu' type='raw'/>"
            f"<source protocol='nbd' name='a,b c'><host transport='unix' socket='{path}'/></source>"
            "<target dev='vda' bus='virtio'/></disk>"))
    finally:
        subprocess.run(["kill", (tmp_path / "pid").read_text().strip()], check=True)
    assert nodes["libvirt-1-storage"]["drv"] == "nbd"
    assert nodes["libvirt-1-format"]["image"]["virtual-size"] == 4 * 1024 * 1024  # type: ignore[index]
