"""What an emulator says about itself, and whether KVM may be trusted."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from tests.support.components import require_program
from virtbus_domain.drivers.qemu import kvm
from virtbus_domain.drivers.qemu.capabilities import CapabilitiesCache, QemuCapabilities, find_emulators, probe
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError


@pytest.fixture(scope="module")
def emulator() -> Path:
    """The x86 emulator of this machine."""
    return require_program("qemu-system-x86_64")


@pytest.fixture(scope="module")
def capabilities(emulator: Path) -> QemuCapabilities:
    """What it answered."""
    return asyncio.run(probe(emulator))


class TestAnswers:
    """The contents of a probe."""

    def test_version(self, emulator: Path, capabilities: QemuCapabilities) -> None:
        """The version is the one that the program prints, as libvirt's number."""
        printed = subprocess.run([emulator, "--version"], capture_output=True, text=True, check=True).stdout
        number = capabilities.version
        assert f"version {number // 1_000_000}.{number // 1_000 % 1_000}.{number % 1_000}" in printed
        assert capabilities.arch == "x86_64"
        assert capabilities.has_tcg

    def test_machines(self, emulator: Path, capabilities: QemuCapabilities) -> None:
        """The machine types are those that the program lists, without the one that is no machine."""
        printed = subprocess.run([emulator, "-machine", "help"], capture_output=True, text=True, check=True).stdout
        listed = {line.split()[0] for line in printed.splitlines()[1:]}
        names = {machine.name for machine in capabilities.machines}
        aliases = {machine.alias for machine in capabilities.machines if machine.alias is not None}
        assert names | aliases == listed - {"none", "x-remote"} | (names & {"x-remote"})

    def test_canonical_machine(self, capabilities: QemuCapabilities) -> None:
        """An alias becomes the full name, a full name stays, and none is QEMU's default."""
        q35 = capabilities.canonical_machine("q35")
        assert q35.name.startswith("pc-q35-")
        assert q35.ram_id == "pc.ram"
        assert capabilities.canonical_machine(q35.name) == q35
        assert capabilities.canonical_machine(None).alias == "pc"

    def test_unknown_machine(self, emulator: Path, capabilities: QemuCapabilities) -> None:
        """A machine type that the emulator lacks is refused by name."""
        with pytest.raises(LibvirtError) as error:
            capabilities.canonical_machine("no-such-machine")
        assert error.value.code == c.VIR_ERR_CONFIG_UNSUPPORTED
        assert error.value.str2 == f"Emulator '{emulator}' does not support machine type 'no-such-machine'"


class TestCache:
    """One probe per binary."""

    def test_same_file_is_asked_once(self, emulator: Path) -> None:
        """Many callers at once and later ones get the one answer."""
        async def scenario() -> None:
            cache = CapabilitiesCache()
            first, *others = await asyncio.gather(*(cache.get(emulator) for _ in range(5)))
            assert all(other is first for other in [*others, await cache.get(emulator)])
        asyncio.run(scenario())

    def test_changed_file_is_asked_again(self, emulator: Path, tmp_path: Path) -> None:
        """An upgraded emulator is noticed at the next use."""
        async def scenario() -> None:
            binary = tmp_path / "qemu"
            script = f'#!/bin/sh\nexec {emulator} "$@"\n'
            binary.write_text(script)
            binary.chmod(0o755)
            cache = CapabilitiesCache()
            before = await cache.get(binary)
            binary.write_text(script + "# upgraded\n")
            after = await cache.get(binary)
            assert after is not before
            assert after.version == before.version
        asyncio.run(scenario())

    @pytest.mark.parametrize(("program", "words"), [
        ("#!/bin/sh\necho this is no emulator >&2; exit 1\n",
         "process exited while connecting to monitor: this is no emulator"),
        ("no program at all", "Exec format error"),
    ])
    def test_no_emulator(self, tmp_path: Path, program: str, words: str) -> None:
        """What is no emulator is a clear error, each time it is asked; once replaced by a good one, it works."""
        async def scenario() -> None:
            binary = tmp_path / "qemu"
            binary.write_text(program)
            binary.chmod(0o755)
            cache = CapabilitiesCache()
            for _ in range(2):
                with pytest.raises(LibvirtError, match=words):
                    await cache.get(binary)
        asyncio.run(scenario())

    def test_missing_emulator(self) -> None:
        """An emulator that is not there is named, with libvirt's code."""
        with pytest.raises(LibvirtError) as error:
            asyncio.run(CapabilitiesCache().get(Path("/nonexistent/qemu")))
        assert error.value.code == c.VIR_ERR_SYSTEM_ERROR
        assert error.value.message == "Cannot check QEMU binary /nonexistent/qemu: No such file or directory"

    def test_find_emulators(self, emulator: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """Emulators are found in PATH by architecture, the first directory first; special builds are left out."""
        for name in ("qemu-system-i386", "qemu-system-x86_64-microvm", "qemu-system-riscv64"):
            (tmp_path / name).touch(mode=0o755)
        (tmp_path / "qemu-system-s390x").touch(mode=0o644)
        monkeypatch.setenv("PATH", f"{tmp_path}:{emulator.parent}")
        found = find_emulators()
        assert found["i686"] == tmp_path / "qemu-system-i386"
        assert found["riscv64"] == tmp_path / "qemu-system-riscv64"
        assert found["x86_64"] == emulator
        assert not any("microvm" in path.name for path in found.values())


class TestKvm:
    """KVM is used only where a guest ran on it."""

    def test_test_guest_is_right(self, emulator: Path) -> None:
        """On the emulated processor, which surely works, the test guest runs to its end."""
        assert asyncio.run(kvm.problem(emulator, "tcg")) is None

    def test_accelerator_that_fails(self, emulator: Path) -> None:
        """An accelerator that QEMU refuses is a problem in QEMU's own words."""
        assert "invalid accelerator none" in (asyncio.run(kvm.problem(emulator, "none")) or "")

    def test_guest_that_hangs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A test guest that never ends is killed, and that is the problem."""
        monkeypatch.setattr(kvm, "TIMEOUT", 0.05)
        monkeypatch.setattr(kvm, "_START", bytes.fromhex("f4ebfd"))  # hlt, for ever
        problem = asyncio.run(kvm.problem(require_program("qemu-system-x86_64"), "tcg"))
        assert problem is not None
        assert "hangs" in problem

    def test_verdict_here(self, emulator: Path) -> None:
        """On this machine there is a verdict within bounds, and the second time it is at hand."""
        async def scenario() -> None:
            cache = CapabilitiesCache()
            first = await cache.kvm_problem(emulator)
            assert first is None or first
            assert await cache.kvm_problem(emulator) == first
        asyncio.run(scenario())
