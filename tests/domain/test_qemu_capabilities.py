"""What an emulator says about itself, and whether KVM may be trusted."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.components import require_program
from virtbus_domain.drivers.qemu import kvm
from virtbus_domain.drivers.qemu.capabilities import SCHEMA_PATHS, Accelerator, QemuCapabilities, find_emulators
from virtbus_domain.drivers.qemu.capabilities_cache import CapabilitiesCache
from virtbus_domain.drivers.qemu.capabilities_probe import Schema, probe
from virtbus_domain.drivers.qemu.cpu_models import CpuDefinition, HostModel, nearest_model
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


@pytest.fixture
def wrapper(emulator: Path, tmp_path: Path) -> Callable[[], Path]:
    """Makes an emulator of its own that counts its starts; see ``_starts``."""
    def make() -> Path:
        binary = tmp_path / "qemu"
        binary.write_text(f'#!/bin/sh\necho >> {tmp_path}/starts\nexec {emulator} "$@"\n')
        binary.chmod(0o755)
        return binary
    return make


def _starts(binary: Path) -> int:
    return len((binary.parent / "starts").read_text().splitlines())


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

    def test_devices(self, emulator: Path, capabilities: QemuCapabilities) -> None:
        """The devices are those that the program lists, and some that it keeps for its own use."""
        printed = subprocess.run([emulator, "-device", "help"], capture_output=True, text=True, check=True).stdout
        listed = {line.split('"')[1] for line in printed.splitlines() if line.startswith("name ")}
        assert listed
        assert listed <= capabilities.devices
        assert "memory-backend-file" in capabilities.objects
        assert "device" not in capabilities.devices  # abstract: there is none such

    def test_back_ends(self, emulator: Path, capabilities: QemuCapabilities) -> None:
        """The kinds of back ends are those that the program lists; QMP calls one chardev by another name."""
        for option, found in (("-chardev", capabilities.chardevs), ("-netdev", capabilities.netdevs),
                              ("-display", capabilities.displays)):
            printed = subprocess.run([emulator, option, "help"], capture_output=True, text=True, check=True).stdout
            listed = {line.strip() for line in printed.splitlines() if " " not in line.strip()} - {""}
            assert listed
            assert listed - found <= {"tty", "parport"}, option
        assert {"file", "host_device", "qcow2", "nbd"} <= capabilities.blockdevs

    def test_options(self, capabilities: QemuCapabilities) -> None:
        """Options are listed with their parameters, and what a machine takes is listed for itself."""
        assert {"sandbox", "sandbox.spawn", "rtc.driftfix"} <= capabilities.options
        assert {"memory-backend", "pflash0", "smm", "vmport"} <= capabilities.machine_properties
        assert {"query-status", "set-action"} <= capabilities.commands

    def test_schema(self, capabilities: QemuCapabilities) -> None:
        """Details of QMP are kept as far as somebody wants to know; a detail that was not asked is a mistake."""
        assert capabilities.knows("blockdev-add/+nvme")
        assert capabilities.schema < SCHEMA_PATHS or capabilities.schema == SCHEMA_PATHS
        with pytest.raises(KeyError):
            capabilities.knows("blockdev-add/+nothing")

    def test_cpu_models(self, emulator: Path, capabilities: QemuCapabilities) -> None:
        """The CPU models are those that the program lists, each with what TCG lacks of it."""
        printed = subprocess.run([emulator, "-cpu", "help"], capture_output=True, text=True, check=True).stdout
        listed = {line.split()[1] for line in printed.splitlines() if line.startswith("x86 ")}
        tcg = capabilities.tcg
        assert tcg is not None
        assert {model.name for model in tcg.cpu_models} == listed
        qemu64, skylake = tcg.cpu_model("qemu64"), tcg.cpu_model("Skylake-Client")
        assert qemu64 is not None
        assert qemu64.unavailable == ()
        assert qemu64.typename == capabilities.default_machine.default_cpu
        assert skylake is not None
        assert skylake.unavailable is not None
        assert not tcg.cpu_available.intersection(skylake.unavailable)

    def test_cpu_features(self, capabilities: QemuCapabilities) -> None:
        """The switches of a CPU are known, and which of them TCG can turn on; other properties are none of them."""
        tcg = capabilities.tcg
        assert tcg is not None
        assert {"sse4.1", "avx512f", "vmx"} <= tcg.cpu_features
        assert "sse4.1" in tcg.cpu_available
        assert "vmx" not in tcg.cpu_available
        assert tcg.cpu_available < tcg.cpu_features
        assert not tcg.cpu_features & {"family", "vendor", "model-id"}

    def test_host_model(self, capabilities: QemuCapabilities) -> None:
        """The nearest named model for TCG is a real processor's, and no switch is both on and off."""
        tcg = capabilities.tcg
        assert tcg is not None
        assert tcg.host_model is not None
        assert tcg.cpu_model(tcg.host_model.name) is not None
        assert set(tcg.host_model.enabled) <= tcg.cpu_available
        assert not tcg.cpu_available.intersection(tcg.host_model.disabled)

    def test_emulator_without_tcg(self) -> None:
        """A build that has KVM only, such as Debian's for microvm, answers all that does not depend on TCG."""
        binary = require_program("qemu-system-x86_64-microvm")
        if kvm.unavailable():
            pytest.skip("such an emulator does not run at all without KVM")
        answer = asyncio.run(probe(binary))
        assert (answer.has_tcg, answer.has_kvm, answer.tcg, answer.kvm) == (False, True, None, None)
        assert answer.machine("microvm") is not None

    def test_unknown_machine(self, emulator: Path, capabilities: QemuCapabilities) -> None:
        """A machine type that the emulator lacks is refused by name."""
        with pytest.raises(LibvirtError) as error:
            capabilities.canonical_machine("no-such-machine")
        assert error.value.code == c.VIR_ERR_CONFIG_UNSUPPORTED
        assert error.value.str2 == f"Emulator '{emulator}' does not support machine type 'no-such-machine'"


class TestSchema:
    """Finding one's way in QMP's description of itself."""

    SCHEMA = Schema([
        {"name": "add", "meta-type": "command", "arg-type": "1", "ret-type": "6"},
        {"name": "1", "meta-type": "object", "tag": "kind",
         "variants": [{"case": "tap", "type": "3"}, {"case": "none", "type": "5"}],
         "members": [{"name": "kind", "type": "2"}, {"name": "list", "type": "[4]"}]},
        {"name": "2", "meta-type": "enum", "values": ["tap", "none"]},
        {"name": "3", "meta-type": "object", "members": [{"name": "fd", "type": "str"}]},
        {"name": "[4]", "meta-type": "array", "element-type": "4"},
        {"name": "4", "meta-type": "object", "members": [{"name": "inner", "type": "2"}]},
        {"name": "5", "meta-type": "object", "members": []},
        {"name": "6", "meta-type": "object", "members": [{"name": "answer", "type": "2"}]},
        {"name": "str", "meta-type": "builtin"},
        {"name": "HAPPENED", "meta-type": "event", "arg-type": "5"}])

    @pytest.mark.parametrize(("path", "there"), [
        ("add", True), ("add/kind", True), ("add/kind/tap", True), ("add/kind/tun", False), ("add/+tap", True),
        ("add/+tap/fd", True), ("add/+tap/vhost", False), ("add/+none/fd", False), ("add/list/inner/none", True),
        ("add:answer/tap", True), ("add:kind", False), ("remove", False), ("HAPPENED", False), ("1/kind", False)])
    def test_path(self, path: str, there: bool) -> None:
        """A path goes through members, variants, lists and values, and begins with a command."""
        assert self.SCHEMA.has(path) is there

    def test_members(self) -> None:
        """An enumeration's values; anything else has none."""
        assert self.SCHEMA.members("add/kind") == {"tap", "none"}
        assert self.SCHEMA.members("add/+tap") == self.SCHEMA.members("nothing/at/all") == frozenset()


class TestNearestModel:
    """Which named CPU stands for a host's."""

    HOST = CpuDefinition("host", "AuthenticAMD", 23, 1, frozenset("abcdef"))

    def test_fewest_differences(self) -> None:
        """Of the vendor's models it is the one that is nearest, whichever way it differs."""
        models = [CpuDefinition("old", "AuthenticAMD", 15, 6, frozenset("ab")),
                  CpuDefinition("near", "AuthenticAMD", 16, 2, frozenset("abcdexy")),
                  CpuDefinition("other", "GenuineIntel", 6, 60, frozenset("abcdef"))]
        assert nearest_model(self.HOST, models) == HostModel("near", "AuthenticAMD", ("f",), ("x", "y"))

    def test_same_processor_first(self) -> None:
        """The model of the very same processor is taken although another one differs less."""
        models = [CpuDefinition("near", "AuthenticAMD", 25, 1, frozenset("abcdef")),
                  CpuDefinition("same", "AuthenticAMD", 23, 1, frozenset("ab"))]
        assert nearest_model(self.HOST, models) == HostModel("same", "AuthenticAMD", ("c", "d", "e", "f"), ())

    def test_no_model_of_the_vendor(self) -> None:
        """A vendor without a model has no nearest one."""
        assert nearest_model(self.HOST, [CpuDefinition("x", "GenuineIntel", 6, 1, frozenset("abcdef"))]) is None


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

    def test_next_service_reads(self, wrapper: Callable[[], Path], tmp_path: Path) -> None:
        """What was answered is there for the next service, which starts no emulator for it, and is the same."""
        async def scenario() -> None:
            binary = wrapper()
            first = await CapabilitiesCache(tmp_path / "kept").get(binary)
            assert _starts(binary) == 1
            assert await CapabilitiesCache(tmp_path / "kept").get(binary) == first
            assert _starts(binary) == 1
            assert (tmp_path / "kept").stat().st_mode & 0o777 == 0o700
            assert len(list((tmp_path / "kept").iterdir())) == 1  # and nothing left aside
        asyncio.run(scenario())

    def test_upgrade_while_away(self, wrapper: Callable[[], Path], tmp_path: Path) -> None:
        """An emulator that was upgraded while no service ran is asked again, and its old answer replaced."""
        async def scenario() -> None:
            binary = wrapper()
            await CapabilitiesCache(tmp_path / "kept").get(binary)
            with binary.open("a") as file:
                file.write("# upgraded\n")
            for _ in range(2):
                await CapabilitiesCache(tmp_path / "kept").get(binary)
            assert _starts(binary) == 2
            assert len(list((tmp_path / "kept").iterdir())) == 1
        asyncio.run(scenario())

    @pytest.mark.parametrize("damage", [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "\0" * len(text),
        lambda text: json.dumps(json.loads(text) | {"identity": json.loads(text)["identity"] | {"format": 0}}),
        lambda text: text.replace('"netdevs"', '"netdev"'),
    ], ids=["cut short", "empty", "zeros", "older format", "a field missing"])
    def test_damaged_file(self, wrapper: Callable[[], Path], tmp_path: Path, damage: Callable[[str], str]) -> None:
        """A file that a crash or an older version left is asked for again and replaced; nobody notices."""
        async def scenario() -> None:
            binary = wrapper()
            first = await CapabilitiesCache(tmp_path / "kept").get(binary)
            file, = (tmp_path / "kept").iterdir()
            good = file.read_text()
            file.write_text(damage(good))
            assert await CapabilitiesCache(tmp_path / "kept").get(binary) == first
            assert _starts(binary) == 2
            assert await CapabilitiesCache(tmp_path / "kept").get(binary) == first
            assert _starts(binary) == 2
        asyncio.run(scenario())

    def test_no_place_to_keep(self, emulator: Path, tmp_path: Path) -> None:
        """Answers that cannot be written are answers all the same."""
        (tmp_path / "file").touch()
        answer = asyncio.run(CapabilitiesCache(tmp_path / "file" / "kept").get(emulator))
        assert answer.binary == emulator

    def test_many_services_at_once(self, wrapper: Callable[[], Path], tmp_path: Path) -> None:
        """Writers that meet leave one whole file."""
        async def scenario() -> None:
            binary = wrapper()
            caches = [CapabilitiesCache(tmp_path / "kept") for _ in range(3)]
            first, *others = await asyncio.gather(*(cache.get(binary) for cache in caches))
            assert all(other == first for other in others)
            starts = _starts(binary)
            assert await CapabilitiesCache(tmp_path / "kept").get(binary) == first
            assert _starts(binary) == starts
            assert len(list((tmp_path / "kept").iterdir())) == 1
        asyncio.run(scenario())

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

    def test_answers_with_kvm(self, emulator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where KVM passed, its answers come with the others and are kept until the host or its KVM is another."""
        if problem := kvm.unavailable():
            pytest.skip(problem)
        async def scenario() -> None:
            cache = CapabilitiesCache(tmp_path)
            with_kvm = await cache.get(emulator, with_kvm=True)
            assert isinstance(with_kvm.kvm, Accelerator)
            assert with_kvm.accelerator("kvm") is with_kvm.kvm
            assert with_kvm.kvm.cpu_available
            assert replace(with_kvm, kvm=None) == await cache.get(emulator)
            asked.clear()
            assert await CapabilitiesCache(tmp_path).get(emulator, with_kvm=True) == with_kvm
            assert not asked
            monkeypatch.setattr(kvm, "host_identity", lambda: "another boot")
            await CapabilitiesCache(tmp_path).get(emulator, with_kvm=True)
            assert asked == [emulator]
        asked: list[Path] = []
        async def passes(binary: Path) -> None:
            asked.append(binary)
        monkeypatch.setattr(kvm, "problem", passes)  # whether guests run on it is another test's matter
        asyncio.run(scenario())

    def test_refusal_is_not_kept(self, emulator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """That KVM did not work is tried again by the next service, and means no answers with KVM."""
        if problem := kvm.unavailable():
            pytest.skip(problem)
        asked: list[Path] = []
        async def fails(binary: Path) -> str:
            asked.append(binary)
            return "it hangs"
        monkeypatch.setattr(kvm, "problem", fails)
        async def scenario() -> None:
            for _ in range(2):
                cache = CapabilitiesCache(tmp_path)
                assert (await cache.get(emulator, with_kvm=True)).kvm is None
                assert await cache.kvm_problem(emulator) == "it hangs"
        asyncio.run(scenario())
        assert asked == [emulator, emulator]
