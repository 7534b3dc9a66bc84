"""Live changes with a real QEMU: what comes works, what goes leaves nothing, what fails changes nothing.

On a paused guest QEMU takes out at once what sits on SCSI, USB and virtio-serial. A PCI device or a memory module
goes when the guest's kernel lets go of it, so that a small Linux boots for those.
"""

from __future__ import annotations

import asyncio
import copy
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.components import require_program
from tests.support.guest import READY, GuestImage
from tests.support.live_guest import (
    NUMA,
    PORTS,
    LiveGuest,
    device_of,
    domain_of,
    live_guest,
    x86_capabilities,
)
from virtbus_domain.drivers.qemu.capabilities import QemuCapabilities
from virtbus_domain.drivers.qemu.command.live import detach
from virtbus_domain.drivers.qemu.command.live_difference import difference
from virtbus_domain.drivers.qemu.command.live_steps import Event
from virtbus_domain.drivers.qemu.command.parts import Command
from virtbus_domain.xml.disk import Iotune
from virtbus_domain.xml.domain import Domain
from virtbus_domain.xml.storage_source import DiskSource
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

BUSES = (PORTS + "<controller type='scsi' model='virtio-scsi'/><controller type='virtio-serial'/>"
         "<controller type='usb' model='qemu-xhci' ports='8'/><controller type='pci' model='pcie-to-pci-bridge'/>")
IMAGES = ("a.img", "b.img", "c.img", "cd1.iso", "cd2.iso", "floppy")


@pytest.fixture(scope="module")
def capabilities() -> QemuCapabilities:
    """What the x86 emulator of this machine can do."""
    return x86_capabilities()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A directory with images."""
    for name in IMAGES:
        with (tmp_path / name).open("wb") as image:
            image.truncate(1440 * 1024)
    subprocess.run([require_program("qemu-img"), "create", "-q", "-f", "qcow2", tmp_path / "q.qcow2", "1M"], check=True)
    return tmp_path


def disk(file: Path, dev: str, bus: str, *, kind: str = "disk", form: str = "raw", options: str = "",
         extra: str = "") -> str:
    """The document of a disk."""
    return (f"<disk type='file' device='{kind}'><driver name='qemu' type='{form}' {options}/><source file='{file}'/>"
            f"<target dev='{dev}' bus='{bus}'/>{extra}</disk>")


def limits(**values: Any) -> str:
    """The document of a disk's limits."""
    return f"<iotune>{''.join(f'<{name}>{value}</{name}>' for name, value in values.items())}</iotune>"


def run(scenario: Callable[[LiveGuest], Awaitable[None]], domain: Domain, capabilities: QemuCapabilities,
        run_dir: Path, *, paused: bool = True) -> None:
    """Run a scenario with a guest."""
    async def whole() -> None:
        async with live_guest(domain, capabilities, run_dir / "run", paused=paused) as guest:
            await scenario(guest)
    asyncio.run(whole())


# Devices that QEMU takes out at once from a guest that is paused, and those for which a guest has to do its part.
AT_ONCE = {
    "scsi disk": disk(Path("a.img"), "sda", "scsi", extra=limits(total_iops_sec=100)),
    "scsi disk with copy-on-read": disk(Path("q.qcow2"), "sdb", "scsi", form="qcow2", options="copy_on_read='on'",
                                        extra=limits(total_bytes_sec=10000000)),
    "scsi cdrom": disk(Path("cd1.iso"), "sdc", "scsi", kind="cdrom"),
    "usb disk": disk(Path("c.img"), "sdd", "usb", extra=limits(read_iops_sec=7)),
    "usb tablet": "<input type='tablet' bus='usb'/>",
    "usb serial port": "<serial type='pty'><target type='usb-serial'/></serial>",
    "redirected usb": "<redirdev bus='usb' type='unix'><source mode='bind' path='redir'/></redirdev>",
    "channel": "<channel type='unix'><source mode='bind' path='channel'/><target type='virtio' name='a.b'/></channel>",
    "virtio console": "<console type='pty'><target type='virtio'/></console>",
}
BY_THE_GUEST = {
    "virtio disk": disk(Path("b.img"), "vdb", "virtio", extra=limits(total_iops_sec=100)),
    "virtio card": "<interface type='user'><model type='virtio'/><link state='down'/></interface>",
    "e1000e": "<interface type='user'><model type='e1000e'/></interface>",
    "random numbers": "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>",
    "virtio tablet": "<input type='tablet' bus='virtio'/>",
    "scsi controller": "<controller type='scsi' model='virtio-scsi'/>",
    "memory module": "<memory model='dimm'><target><size unit='MiB'>128</size><node>0</node></target></memory>",
}
NOT_TAKEN_OUT = {  # here: the guest has no driver, or keeps it
    "watchdog": "<watchdog model='i6300esb' action='pause'/>",
    "shared memory": "<shmem name='virtbus-test'><model type='ivshmem-plain'/><size unit='M'>1</size></shmem>",
    "resizable memory": "<memory model='virtio-mem'><target><size unit='MiB'>128</size><node>0</node>"
                        "<block unit='MiB'>2</block><requested unit='MiB'>64</requested></target></memory>",
}


def placed(xml: str, files: Path) -> str:
    """A document whose files are in a directory."""
    return xml.replace("file='", f"file='{files}/").replace("path='", f"path='{files}/")


class TestPlugging:
    """Devices come and go."""

    def test_all_come(self, capabilities: QemuCapabilities, files: Path) -> None:
        """Every kind of device is taken by a running guest, at the place and with the name that its document has."""
        async def scenario(guest: LiveGuest) -> None:
            for xml in (*AT_ONCE.values(), *BY_THE_GUEST.values(), *NOT_TAKEN_OUT.values()):
                family, device = await guest.attach(placed(xml, files))
                assert device.alias in (await guest.state())["devices"]
                if family in ("interfaces", "rngs"):
                    bus = await guest.ask("qom-get", {"path": f"/machine/peripheral/{device.alias}",
                                                      "property": "parent_bus"})
                    assert bus.endswith(f"/pci.{device.address.bus}")
            link = await guest.ask("human-monitor-command", {"command-line": "info network"})
            assert "net0" in link
            slots = {item["data"]["id"]: item["data"] for item in await guest.ask("query-memory-devices")}
            assert (slots["dimm0"]["slot"], slots["virtiomem0"]["requested-size"]) == (0, 64 * 1024 * 1024)
        run(scenario, domain_of(capabilities, BUSES, top=NUMA), capabilities, files)
        Path("/dev/shm/virtbus-test").unlink(missing_ok=True)

    def test_nothing_left(self, capabilities: QemuCapabilities, files: Path, caplog: pytest.LogCaptureFixture) -> None:
        """After a device has come and gone, QEMU has what it had before: no node, object, end or name more."""
        async def scenario(guest: LiveGuest) -> None:
            before = await guest.state()
            for name, xml in AT_ONCE.items():
                family, device = await guest.attach(placed(xml, files))
                assert await guest.state() != before, name
                await guest.detach(family, device)
                assert await guest.state() == before, name
        run(scenario, domain_of(capabilities, BUSES), capabilities, files)
        assert caplog.messages == []

    @pytest.mark.slow
    def test_nothing_left_in_a_guest(self, capabilities: QemuCapabilities, files: Path, guest_image: GuestImage,
                                     caplog: pytest.LogCaptureFixture) -> None:
        """The same for what a kernel has to let go of, in a guest that runs one."""
        system = (f"<kernel>{guest_image.kernel}</kernel><initrd>{guest_image.initrd}</initrd>"
                  f"<cmdline>{guest_image.cmdline}</cmdline>")
        serial = f"<serial type='unix'><source mode='bind' path='{files}/console'/></serial>"

        async def scenario(guest: LiveGuest) -> None:
            console, _ = await asyncio.open_unix_connection(files / "console")
            await console.readuntil(READY.encode())
            before = await guest.state()
            for name, xml in BY_THE_GUEST.items():
                with guest.reports.expecting(Event("ACPI_DEVICE_OST", {})) as plugged:
                    family, device = await guest.attach(placed(xml, files))
                    if family == "memories":
                        await plugged  # the kernel has taken it: until then it does not hear that it is to go
                await guest.detach(family, device)
                assert await guest.state() == before, name
        run(scenario, domain_of(capabilities, BUSES + serial, top=NUMA, os=system), capabilities, files, paused=False)
        assert caplog.messages == []

    def test_rest_of_a_detach(self, capabilities: QemuCapabilities, files: Path) -> None:
        """A guest that does nothing keeps its card: the steps behind it are handed back, and nothing else was done."""
        async def scenario(guest: LiveGuest) -> None:
            family, device = await guest.attach("<interface type='user'><model type='virtio'/></interface>")
            before = await guest.state()
            rest = await guest.carry_out(detach(family, device, guest.setup), patience=0.1)
            assert [step.command for step in rest] == [Command("netdev_del", {"id": "hostnet0"})]
            assert await guest.state() == before
        run(scenario, domain_of(capabilities, BUSES), capabilities, files)


class TestFailing:
    """What QEMU refuses leaves nothing behind."""

    @pytest.mark.parametrize("xml", [
        disk(Path("missing"), "sda", "scsi", extra=limits(total_iops_sec=100)),
        disk(Path("q.qcow2"), "sda", "scsi", form="luks"),
        # All that is under it has been made when the device is refused.
        disk(Path("a.img"), "sda", "scsi", options="copy_on_read='on'",
             extra=limits(total_iops_sec=100) + "<blockio logical_block_size='3'/>"),
        disk(Path("a.img"), "vdb", "virtio", extra="<blockio logical_block_size='3'/>"),
        "<interface type='user'><model type='e1000e'/><rom file='/missing'/></interface>",
        "<rng model='virtio'><backend model='random'>missing</backend></rng>",
        "<channel type='unix'><source mode='connect' path='missing'/><target type='virtio' name='a'/></channel>",
    ])
    def test_nothing_left(self, xml: str, capabilities: QemuCapabilities, files: Path,
                          caplog: pytest.LogCaptureFixture) -> None:
        """The error is QEMU's, and everything is as before."""
        async def scenario(guest: LiveGuest) -> None:
            before = await guest.state()
            family, device = device_of(capabilities, placed(xml, files))
            with pytest.raises(LibvirtError) as error:
                await guest.attach_device(family, device)
            assert error.value.code == c.VIR_ERR_INTERNAL_ERROR
            assert "unable to execute QEMU command" in error.value.message
            assert await guest.state() == before
        run(scenario, domain_of(capabilities, BUSES, top=NUMA), capabilities, files)
        assert caplog.messages == []


class TestUpdates:
    """Devices that change."""

    def test_media(self, capabilities: QemuCapabilities, files: Path, caplog: pytest.LogCaptureFixture) -> None:
        """A CD is put in, changed, taken out; so is a floppy; a medium that cannot be opened leaves the old one in."""
        drives = (disk(files / "cd1.iso", "sda", "sata", kind="cdrom")
                  + "<disk type='file' device='cdrom'><target dev='sdb' bus='scsi'/></disk>"
                  + disk(files / "floppy", "fda", "fdc", kind="floppy")
                  + disk(files / "c.img", "sdc", "usb", kind="cdrom").replace("dev='sdc'", "dev='sdc' removable='on'"))

        async def scenario(guest: LiveGuest) -> None:
            before = await guest.state()
            for number, other in ((0, "cd2.iso"), (1, "cd1.iso"), (2, "a.img"), (3, "b.img")):
                old = guest.devices.disks[number]
                steps = [other, None, *([] if old.source is None else [Path(str(old.source.file)).name])]
                for name in steps:
                    old = guest.devices.disks[number]
                    await guest.update("disks", old, with_medium(old, files / name if name else None))
                    now = guest.devices.disks[number]
                    top = await guest.top_node(now)
                    assert top == (f"libvirt-{now.source.index}-format" if now.source else "")
                if guest.devices.disks[number].source is not None:
                    failing = with_medium(guest.devices.disks[number], files / "missing")
                    full = await guest.state()
                    with pytest.raises(LibvirtError, match="No such file"):
                        await guest.update("disks", guest.devices.disks[number], failing)
                    assert await guest.state() == full
            after = await guest.state()
            assert [len(after[kind]) for kind in after] == [len(before[kind]) for kind in before]
            assert {node[2] for node in after["nodes"]} == {node[2] for node in before["nodes"]}
        run(scenario, domain_of(capabilities, BUSES + drives), capabilities, files)
        assert caplog.messages == []

    def test_medium_that_cannot_be_inserted(self, capabilities: QemuCapabilities, files: Path) -> None:
        """The old medium is back in the drive, and the drive closed, when QEMU refuses the new one at the last step."""
        drives = (disk(files / "floppy", "fda", "fdc", kind="floppy") + disk(files / "a.img", "vda", "virtio"))

        async def scenario(guest: LiveGuest) -> None:
            before = await guest.state()
            old = next(disk for disk in guest.devices.disks if disk.device == "floppy")
            with pytest.raises(LibvirtError, match="Failed to get \"write\" lock"):
                await guest.update("disks", old, with_medium(old, files / "a.img"))  # another disk has it
            assert await guest.state() == before
        run(scenario, domain_of(capabilities, BUSES + drives), capabilities, files)

    @pytest.mark.parametrize("xml", [
        disk(Path("a.img"), "sda", "scsi"), disk(Path("a.img"), "sda", "usb"), disk(Path("a.img"), "sda", "sata"),
        disk(Path("a.img"), "vda", "virtio"), disk(Path("a.img"), "vda", "virtio", options="iothread='1'"),
        disk(Path("q.qcow2"), "sda", "scsi", form="qcow2", options="copy_on_read='on'"),
        disk(Path("cd1.iso"), "sda", "sata", kind="cdrom"), disk(Path("floppy"), "fda", "fdc", kind="floppy"),
    ])
    def test_limits(self, xml: str, capabilities: QemuCapabilities, files: Path,
                    caplog: pytest.LogCaptureFixture) -> None:
        """Limits come to a disk, change, become those of a group, and go; QEMU's graph is then what it was."""
        domain = domain_of(capabilities, BUSES + placed(xml, files), top="<iothreads>1</iothreads>")

        async def scenario(guest: LiveGuest) -> None:
            async def limited(**values: Any) -> None:
                old = guest.devices.disks[0]
                await guest.update("disks", old, with_limits(old, **values))

            async def of_qemu(group: str) -> tuple[int, int]:
                now = await guest.ask("qom-get", {"path": f"/objects/{group}", "property": "limits"})
                return now["iops-total"], now["iops-read"]

            before = await guest.state()
            group = f"throttle-{guest.devices.disks[0].alias}"
            await limited(total_iops_sec=100)
            assert await of_qemu(group) == (100, 0)
            names = [node[0] for node in (await guest.state())["nodes"]]
            assert any(name.endswith("-throttle") for name in names)
            await limited(read_iops_sec=7)
            assert await of_qemu(group) == (0, 7)
            await limited(read_iops_sec=7, group_name="g")
            assert await of_qemu("g") == (0, 7)
            assert group not in (await guest.state())["objects"]
            await limited()
            assert await guest.state() == before
        run(scenario, domain, capabilities, files)
        assert caplog.messages == []

    def test_settings(self, capabilities: QemuCapabilities, files: Path) -> None:
        """Link, password, statistics period and the size of resizable memory are what QEMU then tells."""
        devices = ("<interface type='user'><model type='virtio'/></interface><memballoon model='virtio'/>"
                   "<graphics type='vnc' port='-1' passwd='abc'/>" + NOT_TAKEN_OUT["resizable memory"])

        async def scenario(guest: LiveGuest) -> None:
            async def update(family: str, **values: object) -> None:
                old = getattr(guest.devices, family)
                old = old[0] if isinstance(old, list) else old
                new = copy.deepcopy(old)
                for name, value in values.items():
                    setattr(new, name, value)
                await guest.update(family, old, new)

            async def of_qemu(alias: str, name: str) -> Any:
                return await guest.ask("qom-get", {"path": f"/machine/peripheral/{alias}", "property": name})

            await update("memballoon", stats_period=3)
            assert await of_qemu("balloon0", "guest-stats-polling-interval") == 3
            await update("memballoon", stats_period=None)
            assert await of_qemu("balloon0", "guest-stats-polling-interval") == 0
            await update("memories", requested=32 * 1024)
            assert await of_qemu("virtiomem0", "requested-size") == 32 * 1024 * 1024
            with pytest.raises(LibvirtError, match="requested-size"):
                await update("memories", requested=33 * 1024 + 1)
            await update("interfaces", link_state="down")
            assert (await guest.ask("query-rx-filter", {"name": "net0"}))[0]["name"] == "net0"
            await update("interfaces", link_state="up")
            await update("graphics", passwd="def", passwd_valid_to="2040-01-01T00:00:00")
            assert (await guest.ask("query-vnc"))["auth"] == "vnc"
        run(scenario, domain_of(capabilities, BUSES + devices, top=NUMA), capabilities, files)

    def test_a_whole_document(self, capabilities: QemuCapabilities, files: Path) -> None:
        """The differences between the document that runs and another one, carried out in their order, lead to it."""
        shared = BUSES + "<interface type='user'><mac address='52:54:00:00:00:01'/><model type='virtio'/>{}</interface>"
        first = (shared.format("") + disk(files / "cd1.iso", "sda", "sata", kind="cdrom")
                 + disk(files / "a.img", "sdb", "scsi") + "<input type='tablet' bus='usb'/>")
        second = (shared.format("<link state='down'/>") + disk(files / "cd2.iso", "sda", "sata", kind="cdrom")
                  + disk(files / "b.img", "sdc", "scsi")
                  + "<channel type='pty'><target type='virtio' name='a'/></channel>")

        async def scenario(guest: LiveGuest) -> None:
            wanted = domain_of(capabilities, second)
            changes = difference(guest.domain, wanted)
            assert [(change.what, change.family) for change in changes] == [
                ("detach", "inputs"), ("detach", "disks"), ("update", "disks"), ("update", "interfaces"),
                ("attach", "disks"), ("attach", "channels")]
            for change in changes:
                match change.what:
                    case "detach":
                        await guest.detach(change.family, change.old)
                    case "update":
                        await guest.update(change.family, change.old, change.new)
                    case "attach":
                        await guest.attach_device(change.family, change.new)
            assert difference(guest.domain, wanted) == []
            state = await guest.state()
            files_open = {Path(node[2]).name for node in state["nodes"]}
            assert files_open == {"cd2.iso", "b.img"}
        run(scenario, domain_of(capabilities, first), capabilities, files)


def with_medium(old: Any, file: Path | None) -> Any:
    """A drive's document with another medium, or empty."""
    new = copy.deepcopy(old)
    new.alias = new.address = None
    new.source = DiskSource(file=str(file)) if file else None
    new.driver.type = "raw"
    return new


def with_limits(old: Any, **values: Any) -> Any:
    """A disk's document with other limits."""
    new = copy.deepcopy(old)
    new.iotune = Iotune(**values) if values else None
    return new
