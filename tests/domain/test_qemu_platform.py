"""The machine around the devices: where variables live, what the host says of itself, TPMs, and what is refused."""

from __future__ import annotations

import asyncio
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.domain.test_qemu_lookups import Node
from tests.support.command_line import command, domain_xml, keyed, objects, only, options, setup_of
from tests.support.components import require, require_program
from tests.support.live_guest import UUID, domain_of, x86_capabilities
from tests.support.paused_guest import short_folder
from virtbus_domain.drivers.qemu.command import build
from virtbus_domain.drivers.qemu.discovery import GuestPaths
from virtbus_domain.drivers.qemu.guest import Guest
from virtbus_domain.drivers.qemu.host_sysinfo import read_host_sysinfo
from virtbus_domain.drivers.qemu.lookups import SecretName
from virtbus_domain.drivers.qemu.start import start_guest
from virtbus_domain.drivers.qemu.supported import check_supported
from virtbus_domain.xml import parse_domain
from virtbus_domain.xml.sysinfo import Sysinfo, SysinfoEntry
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

CODE = Path("/usr/share/OVMF/OVMF_CODE_4M.fd")


class TestVariables:
    """Where firmware keeps its variables."""

    @pytest.mark.parametrize(("nvram", "node"), [
        ("type='file'><source file='/v.fd'/>", {"driver": "file", "filename": "/v.fd"}),
        ("type='block'><source dev='/dev/vg/v'/>", {"driver": "host_device", "filename": "/dev/vg/v"}),
        ("type='network'><source protocol='nbd' name='v'><host name='h' port='1'/></source>",
         {"driver": "nbd", "server": {"type": "inet", "host": "h", "port": "1"}, "export": "v"})])
    def test_source(self, nvram: str, node: dict[str, object]) -> None:
        """In a file, on a device or on a server, as a disk would be."""
        require("OVMF", CODE.exists(), "not installed")
        argv = command(domain_xml(
            os=f"<loader readonly='yes' type='pflash'>{CODE}</loader><nvram {nvram}</nvram>",
            top="<features><acpi/></features>"))
        found = objects(argv, "-blockdev")["libvirt-pflash1-storage"]
        assert found == node | {"auto-read-only": True, "discard": "unmap"}
        assert ("pflash1", "libvirt-pflash1-format") in keyed(options(argv, "-machine")[0])


    def test_copy_in_another_format(self, tmp_path: Path) -> None:
        """A template is copied, not converted: another format for the copy is refused, in libvirt's words."""
        domain = domain_of(x86_capabilities(), os=(
            f"<loader readonly='yes' type='pflash'>{CODE}</loader>"
            f"<nvram template='/t' templateFormat='qcow2' format='raw'>{tmp_path}/vars</nvram>"))

        async def scenario() -> None:
            guest = Guest(GuestPaths(tmp_path, 1, UUID), lambda *_: None)
            await start_guest(guest, domain, x86_capabilities(), tmp_path, kvm_problem=None, paused=True)

        with pytest.raises(LibvirtError, match="conversion of the nvram template to another target format"):
            asyncio.run(scenario())
        assert not (tmp_path / "vars").exists()


class TestSmallDevices:
    """What libvirt says of devices that are seldom used."""

    @pytest.mark.parametrize(("role", "master"), [("master", "on"), ("peer", "off")])
    def test_shared_memory(self, role: str, master: str) -> None:
        """Who of those that share memory keeps it."""
        argv = command(domain_xml(f"<shmem name='a' role='{role}'><model type='ivshmem-plain'/></shmem>"))
        assert objects(argv, "-device")["shmem0"]["master"] == master

    def test_served_directory(self) -> None:
        """How a directory's device speaks virtio."""
        argv = command(domain_xml(
            "<filesystem type='mount'><driver type='virtiofs' iommu='on' ats='on' packed='on' page_per_vq='on'/>"
            "<source socket='/s'/><target dir='x'/></filesystem>",
            top="<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>"))
        assert objects(argv, "-device")["fs0"].items() >= {
            "iommu_platform": True, "ats": True, "packed": True, "page-per-vq": True}.items()

    @pytest.mark.parametrize(("disk", "expected"), [
        ("type='file' device='disk'><driver name='qemu' type='qcow2' cache='none' io='threads'/><source file='/x,y'/>",
         [("file", "/x,y"), ("format", "qcow2"), ("if", "sd"), ("index", "1"), ("cache", "none"), ("aio", "threads")]),
        ("type='network' device='disk'><driver name='qemu' type='raw'/><source protocol='nbd' name='x'><host name='h'/>"
         "</source>", [("file.driver", "nbd"), ("file.server.type", "inet"), ("file.server.host", "h"),
                       ("file.server.port", "10809"), ("file.export", "x"), ("format", "raw"), ("if", "sd"),
                       ("index", "1")])])
    def test_memory_card(self, disk: str, expected: list[tuple[str, str]]) -> None:
        """A card in a reader of the machine is a drive of QEMU's old kind, as libvirt has it."""
        argv = command(domain_xml(f"<disk {disk}<target dev='sdb' bus='sd'/></disk>"))
        assert keyed(only(argv, "-drive")) == expected

    def test_sdl_audio(self) -> None:
        """The library's own choice is made by QEMU's environment."""
        setup = setup_of(domain_xml("<audio id='1' type='sdl' driver='alsa'/>"))
        assert build(setup, monitor="fd=3").environment == {"SDL_AUDIODRIVER": "alsa"}


class TestChipset:
    """What can only be said of the chipset."""

    @pytest.mark.parametrize(("machine", "root", "expected"), [
        ("q35", "pcie-root", "q35-pcihost"), ("pc", "pci-root", "i440FX-pcihost")])
    def test_window(self, machine: str, root: str, expected: str) -> None:
        """The window for large devices, as libvirt says it."""
        window = "<pcihole64 unit='GiB'>1</pcihole64>"
        argv = command(domain_xml(f"<controller type='pci' model='{root}'>{window}</controller>", machine=machine))
        assert f"{expected}.pci-hole64-size=1048576K" in options(argv, "-global")


class TestHostSysinfo:
    """A guest that says of its machine what the host says."""

    def test_tables(self, tmp_path: Path) -> None:
        """The kernel's files, without what is empty or not for us, and never the UUID."""
        for name, text in (("bios_vendor", "A, B\n"), ("sys_vendor", "ACME\n"), ("product_name", " \n"),
                           ("product_uuid", UUID), ("board_name", "Board"), ("chassis_serial", "7")):
            (tmp_path / name).write_text(text)
        info = read_host_sysinfo(tmp_path)
        argv = command(domain_xml(os="<smbios mode='host'/>"), host_sysinfo=info)
        assert [keyed(value) for value in options(argv, "-smbios")] == [
            [("type", "0"), ("vendor", "A, B")], [("type", "1"), ("manufacturer", "ACME")],
            [("type", "2"), ("product", "Board")], [("type", "3"), ("serial", "7")]]

    def test_none(self, tmp_path: Path) -> None:
        """A host without any is libvirt's refusal."""
        assert read_host_sysinfo(tmp_path / "none") is None
        with pytest.raises(LibvirtError, match="Host SMBIOS information is not available") as error:
            command(domain_xml(os="<smbios mode='host'/>"))
        assert (error.value.code, error.value.domain) == (c.VIR_ERR_CONFIG_UNSUPPORTED, c.VIR_FROM_QEMU)

    def test_files_go_along(self) -> None:
        """Files of the firmware's configuration device are the document's in any mode."""
        info = Sysinfo(type="smbios", bios=[SysinfoEntry(name="vendor", value="A")])
        argv = command(domain_xml(os="<smbios mode='host'/>", top="<sysinfo type='fwcfg'><entry name='opt/x'>1</entry>"
                                                                  "</sysinfo>"), host_sysinfo=info)
        assert options(argv, "-fw_cfg") == ["name=opt/x,string=1"]


class TestTpm:
    """TPMs with a key, and by chosen hashes."""

    @pytest.fixture
    def folder(self) -> Iterator[Path]:
        """Where everything of the guest is."""
        require_program("swtpm")
        require_program("swtpm_setup")
        with short_folder() as path:
            yield path

    def start(self, folder: Path, backend: str, node: Node) -> None:
        """Start a guest with such a TPM, and end it."""
        domain = domain_of(x86_capabilities(), (
            f"<tpm model='tpm-crb'><backend type='emulator' version='2.0'>{backend}</backend></tpm>"))

        async def scenario() -> None:
            guest = Guest(GuestPaths(folder / "run", 1, UUID), lambda *_: None)
            await start_guest(guest, domain, x86_capabilities(), folder / "lib", kvm_problem=None, paused=False,
                              lookups=node)
            [tpm] = await guest.execute("query-tpm")
            assert tpm["model"] == "tpm-crb"
            await guest.process.kill()
            await guest.ended()
            guest.paths.remove()

        asyncio.run(scenario())

    def test_key(self, folder: Path) -> None:
        """What the TPM remembers is encrypted by the secret: with another one the guest does not start."""
        secret = "6c5a17aa-bccb-4c32-824d-b1e4536d8726"
        name = SecretName(uuid=secret, type="vtpm")
        self.start(folder, f"<encryption secret='{secret}'/>", Node(secrets={name: b"right"}))
        assert (folder / "lib" / "tpm" / UUID / "tpm2" / "tpm2-00.permall").exists()
        self.start(folder, f"<encryption secret='{secret}'/>", Node(secrets={name: b"right"}))
        with pytest.raises(LibvirtError):
            self.start(folder, f"<encryption secret='{secret}'/>", Node(secrets={name: b"wrong"}))

    def test_banks(self, folder: Path) -> None:
        """A new TPM measures by the hashes of the document, and an old one by those of a changed document."""
        for banks in ("<sha256/><sha384/>", "<sha1/>"):
            self.start(folder, f"<active_pcr_banks>{banks}</active_pcr_banks>", Node())
            assert self.banks(folder) == [name.strip("</>") for name in banks.split("><")]

    def banks(self, folder: Path) -> list[str]:
        """The hashes that have registers, by the TPM's own word (TPM2_GetCapability, TCG's library, part 3)."""
        path = folder / "ask"
        with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as connection:
            listener.bind(str(path))
            listener.listen()
            process = subprocess.Popen(
                ["swtpm", "socket", "--tpm2", "--flags", "not-need-init,startup-clear", "--tpmstate",
                 f"dir={folder}/lib/tpm/{UUID}/tpm2", "--server", f"type=unixio,fd={listener.fileno()}"],
                pass_fds=[listener.fileno()])
            try:
                connection.connect(str(path))
                connection.settimeout(30)
                connection.sendall(struct.pack(">HLLLLL", 0x8001, 22, 0x17A, 5, 0, 1))
                answer = connection.recv(4096)
            finally:
                process.kill()
                process.wait()
        path.unlink()
        count, position, found = struct.unpack_from(">L", answer, 15)[0], 19, []
        for _ in range(count):
            algorithm, size = struct.unpack_from(">HB", answer, position)
            if any(answer[position + 3:position + 3 + size]):
                found.append({4: "sha1", 0xB: "sha256", 0xC: "sha384", 0xD: "sha512"}[algorithm])
            position += 3 + size
        return found


@pytest.mark.parametrize(("path", "top", "devices"), [
    ("/domain/cputune/shares", "<cputune><shares>100</shares></cputune>", ""),
    ("/domain/cputune/vcpusched", "<cputune><vcpusched vcpus='0' scheduler='batch'/></cputune>", ""),
    ("/domain/numatune/memory/@mode", "<numatune><memory mode='restrictive' nodeset='0'/></numatune>", ""),
    ("/domain/numatune/memory/@placement", "<numatune><memory placement='auto'/></numatune>", ""),
    ("/domain/vcpu/@placement", "<vcpu placement='auto'>1</vcpu>", ""),
    ("/domain/devices/interface[1]/@trustGuestRxFilters", "", "<interface type='user' trustGuestRxFilters='yes'/>"),
    ("/domain/devices/interface[1]/source/ip", "",
     "<interface type='ethernet'><source><ip address='192.0.2.1' prefix='24'/></source></interface>"),
    ("/domain/devices/disk[1]/source/seclabel[1]/label", "",
     "<disk type='file'><source file='/x'><seclabel model='dac' relabel='yes'><label>me:me</label></seclabel></source>"
     "<target dev='vda'/></disk>"),
    ("/domain/qemu:capabilities", "<qemu:capabilities xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>"
     "<qemu:del capability='blockdev'/></qemu:capabilities>", ""),
])
def test_not_passed_over(path: str, top: str, devices: str) -> None:
    """What is no argument of QEMU's and that nobody carries out yet is refused by its path."""
    with pytest.raises(LibvirtError, match="is not supported by the QEMU driver") as error:
        check_supported(parse_domain(domain_xml(devices, top=top)))
    assert error.value.code == c.VIR_ERR_CONFIG_UNSUPPORTED
    assert path in error.value.message
