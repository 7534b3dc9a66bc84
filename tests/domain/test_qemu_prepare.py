"""What a start makes before QEMU: firmware's variables, sockets, ports, taps. What is made is in the live document,
and nothing of it is left when the start fails."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from lxml import etree

from tests.support.command_line import UUID, domain_xml
from tests.support.components import require, require_root
from tests.support.paused_guest import guest_of, refusal, running, short_folder, wait_for_end
from tests.support.real_qemu import isolated
from tests.support.stand_ins import run_ip
from virtbus_shared import constants as c

ACPI = "<features><acpi/></features>"
OVMF = Path("/usr/share/OVMF")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where everything of the guest is."""
    with short_folder() as path:
        yield path


def live_document(document: str, folder: Path) -> etree._Element:
    """The live document of a guest, which has ended since."""
    async def start() -> str:
        async with guest_of(document, folder) as (guest, live):
            assert guest.paths.live_xml.read_text() == live
            return live
    return etree.fromstring(isolated(start).encode())


def values(root: etree._Element, path: str) -> list[str]:
    """The attributes at some paths."""
    found = root.xpath(path)
    assert isinstance(found, list)
    return [str(value) for value in found]


def left(folder: Path) -> list[str]:
    """The run directories of guests."""
    return [path.name for path in (folder / "run" / "qemu").glob("*")]


class TestFirmware:
    """UEFI, and what it remembers."""

    @pytest.fixture(autouse=True)
    def ovmf(self) -> None:
        """Firmware with its description."""
        require("ovmf", any(Path("/usr/share/qemu/firmware").glob("*")), "no firmware is described")

    @pytest.mark.parametrize("secure", [False, True])
    def test_chosen(self, secure: bool, folder: Path) -> None:
        """A guest that asks for UEFI gets what is installed, and a copy of its variables that is its own."""
        feature = f"<firmware><feature enabled='{'yes' if secure else 'no'}' name='secure-boot'/></firmware>"
        document = domain_xml(top=ACPI, os=feature).replace("<os>", "<os firmware='efi'>")

        async def start() -> tuple[str, list[dict[str, object]]]:
            async with guest_of(document, folder) as (guest, live):
                return live, await guest.execute("query-named-block-nodes", {"flat": True})

        live, nodes = isolated(start)
        root = etree.fromstring(live.encode())
        loader = root.find("os/loader")
        assert loader is not None
        code, variables = str(loader.text), Path(root.findtext("os/nvram") or "")
        assert Path(code).exists()
        assert (loader.get("secure") == "yes") == secure
        assert variables == folder / "lib" / "nvram" / "guest_VARS.fd"
        assert variables.stat().st_mode & 0o777 == 0o600
        assert {(node["node-name"], node["file"], node["ro"]) for node in nodes if "format" in str(node["node-name"])
                } == {("libvirt-pflash0-format", code, True), ("libvirt-pflash1-format", str(variables), False)}

    def test_kept(self, folder: Path) -> None:
        """Variables that are there are not overwritten."""
        variables = folder / "vars.fd"
        document = domain_xml(top=ACPI, os=f"<loader readonly='yes' type='pflash'>{OVMF}/OVMF_CODE_4M.fd</loader>"
                                           f"<nvram template='{OVMF}/OVMF_VARS_4M.fd'>{variables}</nvram>")
        live_document(document, folder)
        kept = variables.read_bytes()
        assert kept == (OVMF / "OVMF_VARS_4M.fd").read_bytes()
        variables.write_bytes(kept[:-1] + b"x")
        live_document(document, folder)
        assert variables.read_bytes() == kept[:-1] + b"x"

    def test_no_template(self, folder: Path) -> None:
        """Variables that cannot be made are an error with their path, and nothing is half made."""
        target = folder / "new" / "vars.fd"
        document = domain_xml(top=ACPI, os=f"<loader readonly='yes' type='pflash'>{OVMF}/OVMF_CODE_4M.fd</loader>"
                                           f"<nvram template='{folder}/none'>{target}</nvram>")
        error = refusal(document, folder)
        assert error.code == c.VIR_ERR_SYSTEM_ERROR
        assert error.message == f"Failed to create file '{target}': No such file or directory"
        assert list(target.parent.iterdir()) == []
        assert left(folder) == []

    def test_none_fits(self, folder: Path) -> None:
        """What no installed firmware can do is refused before anything is started."""
        document = domain_xml(top=ACPI, machine="pc").replace(
            "<os>", "<os firmware='efi'><firmware><feature enabled='yes' name='secure-boot'/></firmware>")
        assert refusal(document, folder).code in (c.VIR_ERR_OPERATION_FAILED, c.VIR_ERR_CONFIG_UNSUPPORTED)
        assert left(folder) == []


class TestSockets:
    """Sockets without a path have one in the guest's directory."""

    def test_paths(self, folder: Path) -> None:
        """The live document has them, and QEMU listens there."""
        document = domain_xml("<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
                              "<graphics type='vnc'><listen type='socket'/></graphics>")

        async def start() -> tuple[list[str], list[str]]:
            async with guest_of(document, folder) as (guest, live):
                told = values(etree.fromstring(live.encode()), "//channel/source/@path | //listen/@socket")
                chardevs = await guest.execute("query-chardev")
                [channel] = [item["filename"] for item in chardevs if item["label"] == "charchannel0"]
                [screen] = await guest.execute("query-vnc-servers")
                assert all(path.startswith(str(guest.paths.directory)) for path in told)
                return told, [
                    channel.removeprefix("disconnected:unix:").removesuffix(",server=on"),
                    screen["server"][0]["service"]]

        told, found = isolated(start)
        assert told == found

    def test_gone_with_the_guest(self, folder: Path) -> None:
        """They lie where everything of a running guest lies."""
        live_document(domain_xml("<channel type='unix'><target type='virtio' name='a'/></channel>"), folder)
        assert left(folder) == []


class TestPorts:
    """Servers that asked for any port."""

    def test_free_ones(self, folder: Path) -> None:
        """Each has one of its own, that nobody listened on, and QEMU listens there."""
        document = domain_xml("<graphics type='vnc' autoport='yes'/><graphics type='spice' autoport='yes'/>")

        async def start() -> tuple[list[str], list[str]]:
            with socket.socket() as taken:
                taken.bind(("127.0.0.1", 5900))
                taken.listen()
                async with guest_of(document, folder) as (guest, live):
                    [vnc] = await guest.execute("query-vnc-servers")
                    spice = await guest.execute("query-spice")
                    return (values(etree.fromstring(live.encode()), "//graphics/@port"),
                            [vnc["server"][0]["service"], str(spice["port"])])

        require_root()
        wanted, found = isolated(start)
        assert wanted == found == ["5901", "5902"]

    def test_given_ones(self, folder: Path) -> None:
        """A port that the document names is that one; one that is taken is QEMU's refusal, and nothing stays."""
        require_root()
        document = domain_xml("<graphics type='vnc' port='5999' autoport='no'/>")
        assert values(live_document(document, folder), "//graphics/@port") == ["5999"]

        async def start() -> None:
            with socket.socket() as taken:
                taken.bind(("127.0.0.1", 5999))
                taken.listen()
                async with guest_of(document, folder):
                    pass

        with pytest.raises(Exception, match="Address already in use"):
            isolated(start)
        assert left(folder) == []
        assert running(folder) == {}


class TestTaps:
    """Network cards on the host's side."""

    CARDS = "<interface type='bridge'><source bridge='br0'/></interface><interface type='ethernet'><target dev='{}'/>" \
            "</interface>"

    @pytest.fixture(autouse=True)
    def root(self) -> None:
        """Taps are the host's."""
        require_root()

    def test_made(self, folder: Path) -> None:
        """A tap for each card: a port of its bridge, under the name that the live document tells."""
        async def start() -> tuple[str, set[str], set[str]]:
            run_ip("link", "add", "br0", "up", "type", "bridge")
            async with guest_of(domain_xml(self.CARDS.format("mine")), folder) as (_, live):
                during = {name for _, name in socket.if_nameindex()}
            return live, during, {name for _, name in socket.if_nameindex()}

        live, during, after = isolated(start)
        names = set(values(etree.fromstring(live.encode()), "//interface/target/@dev"))
        assert names == {"vnet0", "mine"}
        assert names <= during
        assert not names & after

    def test_failed_start(self, folder: Path) -> None:
        """A second tap that cannot be made takes the first one with it."""
        async def start() -> None:
            run_ip("link", "add", "br0", "up", "type", "bridge")
            try:
                async with guest_of(domain_xml(self.CARDS.format("br0")), folder):
                    pass
            finally:
                assert {name for _, name in socket.if_nameindex()} == {"lo", "node0", "br0"}

        with pytest.raises(Exception, match="tap device br0"):
            isolated(start)
        assert left(folder) == []


class TestVsock:
    """Sockets between host and guest."""

    def test_no_kernel_help(self, folder: Path) -> None:
        """Without the kernel's device the start is refused in libvirt's words."""
        if Path("/dev/vhost-vsock").exists():
            pytest.skip("the kernel has vhost-vsock")
        error = refusal(domain_xml("<vsock model='virtio'><cid auto='yes'/></vsock>"), folder)
        assert error.code == c.VIR_ERR_SYSTEM_ERROR
        assert error.message == "unable to open vhost-vsock device: No such file or directory"
        assert left(folder) == []


class TestFailedStart:
    """Whatever fails, nothing of the guest stays."""

    @pytest.mark.parametrize(("devices", "words"), [
        ("<disk type='file'><source file='/none'/><target dev='vda'/></disk>", "/none"),
        ("<serial type='unix'><source mode='connect' path='/none'/></serial>", "/none"),
        ("<interface type='bridge'><source bridge='none'/></interface>", "none"),
    ])
    def test_nothing_stays(self, devices: str, words: str, folder: Path) -> None:
        """Neither process nor directory; the error says what it was."""
        error = refusal(domain_xml(devices), folder)
        assert words in error.message
        assert left(folder) == []
        assert running(folder) == {}

    def test_refused_before(self, folder: Path) -> None:
        """What we do not carry out is refused before a directory is made."""
        error = refusal(domain_xml(top="<cputune><shares>100</shares></cputune>"), folder)
        assert "/domain/cputune" in error.message
        assert not (folder / "run").exists()


def test_start_again(folder: Path) -> None:
    """A guest that was started has left nothing that keeps it from being started again."""
    document = domain_xml("<serial type='pty'/><channel type='unix'><target type='virtio' name='a'/></channel>",
                          top="<memoryBacking><source type='file'/></memoryBacking>")
    for _ in range(2):
        assert live_document(document, folder).findtext("uuid") == UUID
        wait_for_end(folder)
