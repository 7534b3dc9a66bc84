"""Guests with programs of their own beside QEMU: a TPM, shared directories. They come and go with the guest.

Everything is real: QEMU starts paused, as the driver starts it, with swtpm and virtiofsd.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command_line import UUID, domain_xml
from tests.support.components import require, require_program
from tests.support.paused_guest import guest_of, refusal, running, short_folder, wait_for_end
from virtbus_domain.drivers.qemu import companions
from virtbus_shared import constants as c

TPM = "<tpm model='tpm-tis'><backend type='emulator' version='{}'/></tpm>"
SHARED_MEMORY = "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>"
NO_SERVER = "<serial type='unix'><source mode='connect' path='/none'/></serial>"  # with which QEMU fails


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where everything of the guest is."""
    with short_folder() as path:
        yield path


class TestTpm:
    """A TPM that swtpm emulates."""

    @pytest.fixture(autouse=True)
    def swtpm(self) -> None:
        """The emulator of TPMs."""
        require_program("swtpm")

    @pytest.mark.parametrize(("version", "state"), [("2.0", "tpm2"), ("1.2", "tpm1.2")])
    def test_comes_and_goes(self, version: str, state: str, folder: Path) -> None:
        """QEMU has it; swtpm ends when QEMU does, even when that is killed; what the TPM remembers is for us only."""
        async def scenario() -> None:
            async with guest_of(domain_xml(TPM.format(version)), folder) as (guest, _):
                [tpm] = await guest.execute("query-tpm")
                assert (tpm["id"], tpm["model"], tpm["options"]["type"]) == ("tpm-tpm0", "tpm-tis", "emulator")
                assert running(folder)["swtpm"] == 1
            wait_for_end(folder)
            kept = folder / "lib" / "tpm" / UUID / state
            assert kept.stat().st_mode & 0o777 == 0o700
        asyncio.run(scenario())

    def test_remembers(self, folder: Path) -> None:
        """A second run of the guest has the state that the first one left."""
        async def scenario() -> None:
            for _ in range(2):
                async with guest_of(domain_xml(TPM.format("2.0")), folder, paused=False):
                    pass  # the TPM is initialised, and its state written, as soon as the guest runs
                wait_for_end(folder)
                assert list((folder / "lib" / "tpm" / UUID / "tpm2").glob("*.permall"))
        asyncio.run(scenario())

    def test_failed_start(self, folder: Path) -> None:
        """When QEMU fails, nothing stays of the guest: no process, no socket, no directory."""
        error = refusal(domain_xml(TPM.format("2.0") + NO_SERVER), folder)
        assert error.code == c.VIR_ERR_INTERNAL_ERROR
        assert "Failed to connect to '/none'" in error.message
        assert running(folder) == {}
        assert list((folder / "run" / "qemu").iterdir()) == []

    def test_no_place_for_its_state(self, folder: Path) -> None:
        """What cannot be made is named, and nothing stays."""
        state = folder / "lib" / "tpm" / UUID
        state.mkdir(parents=True)
        (state / "tpm2").write_text("no directory")
        error = refusal(domain_xml(TPM.format("2.0")), folder)
        assert (error.code, error.message) == (
            c.VIR_ERR_SYSTEM_ERROR, f"Could not create TPM directory {state}/tpm2: File exists")
        assert list((folder / "run" / "qemu").iterdir()) == []

    def test_no_program(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without swtpm the error says what is missing."""
        with_qemu_alone(folder, monkeypatch)
        error = refusal(domain_xml(TPM.format("2.0")), folder)
        assert error.code == c.VIR_ERR_OPERATION_UNSUPPORTED
        assert error.message.endswith("Unable to find 'swtpm' binary in $PATH")
        assert running(folder) == {}


def with_qemu_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a search for programs find nothing but QEMU."""
    emulator = require_program("qemu-system-x86_64")
    (folder / "bin").mkdir()
    (folder / "bin" / emulator.name).symlink_to(emulator)
    monkeypatch.setenv("PATH", str(folder / "bin"))


def share(folder: Path, name: str, inside: str = "") -> str:
    """A shared directory."""
    (folder / name).mkdir()
    return (f"<filesystem type='mount'><driver type='virtiofs'/>{inside}<source dir='{folder / name}'/>"
            f"<target dir='{name}'/></filesystem>")


class TestSharedDirectories:
    """Directories that virtiofsd serves."""

    @pytest.fixture(autouse=True)
    def virtiofsd(self) -> None:
        """The server of directories, where QEMU's packages put it; QEMU's own serves none but root."""
        require("root", os.geteuid() == 0, "virtiofsd runs as root only")
        require("virtiofsd", any(Path("/usr/share/qemu/vhost-user").glob("*virtiofsd*")), "no server is described")

    def test_come_and_go(self, folder: Path) -> None:
        """QEMU has a device for each, each has a server, and no server outlives QEMU."""
        document = domain_xml(share(folder, "one", "<binary xattr='on'><cache mode='always'/><lock posix='off' "
                                    "flock='off'/></binary>") + share(folder, "two"), top=SHARED_MEMORY)

        async def scenario() -> None:
            async with guest_of(document, folder) as (guest, _):
                for number, tag in enumerate(("one", "two")):
                    assert await guest.execute("qom-get", {"path": f"/machine/peripheral/fs{number}",
                                                           "property": "tag"}) == tag
                chardevs = {item["label"]: item["filename"] for item in await guest.execute("query-chardev")}
                assert {"chr-vu-fs0", "chr-vu-fs1"} <= chardevs.keys()
                assert running(folder)["virtiofsd"] >= 2
            wait_for_end(folder)
        asyncio.run(scenario())

    def test_failed_start(self, folder: Path) -> None:
        """When QEMU fails, the servers end, whether it had called them or not."""
        error = refusal(domain_xml(share(folder, "one") + NO_SERVER, top=SHARED_MEMORY), folder)
        assert "Failed to connect to '/none'" in error.message
        wait_for_end(folder)
        assert list((folder / "run" / "qemu").iterdir()) == []

    def test_no_such_directory(self, folder: Path) -> None:
        """A directory that is not there is an error, and nothing stays."""
        document = domain_xml(share(folder, "one"), top=SHARED_MEMORY)
        (folder / "one").rmdir()
        error = refusal(document, folder)
        assert error.code in (c.VIR_ERR_INTERNAL_ERROR, c.VIR_ERR_OPERATION_FAILED)
        assert list((folder / "run" / "qemu").iterdir()) == []
        assert running(folder) == {}

    def test_comma(self, folder: Path) -> None:
        """The server's options cannot hold a comma, so that such a directory would be another one."""
        error = refusal(domain_xml(share(folder, "one,two"), top=SHARED_MEMORY), folder)
        assert error.code == c.VIR_ERR_CONFIG_UNSUPPORTED
        assert "comma" in error.message

    def test_no_program(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without any description of such a program the error is libvirt's."""
        monkeypatch.setattr(companions, "_VHOST_USER", folder)
        error = refusal(domain_xml(share(folder, "one"), top=SHARED_MEMORY), folder)
        assert (error.code, error.message) == (
            c.VIR_ERR_OPERATION_FAILED, "operation failed: Unable to find a satisfying virtiofsd")

    def test_own_program(self, folder: Path) -> None:
        """A program that the document names is the one that is run; one that cannot be run is an error."""
        document = domain_xml(share(folder, "one", f"<binary path='{folder}/none'/>"), top=SHARED_MEMORY)
        error = refusal(document, folder)
        assert (error.code, error.message) == (
            c.VIR_ERR_SYSTEM_ERROR, f"Cannot run '{folder}/none': No such file or directory")
