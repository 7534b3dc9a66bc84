"""The guest every other test boots is tried bare first: what QEMU alone shows of it, no service of ours involved."""

from __future__ import annotations

import asyncio
import re
import subprocess
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from qemu.qmp import QMPClient

from tests.support import guest
from tests.support.components import require_program
from tests.support.guest import GuestImage

DISK_SIZE = 16 * 1024 * 1024


def qemu_command(image: GuestImage, machine: str, folder: Path) -> list[str]:
    """QEMU with this guest, its serial port in a file, and its monitor on a socket."""
    qemu = require_program("qemu-system-x86_64")
    disk = folder / "disk.img"
    with disk.open("wb") as file:
        file.truncate(DISK_SIZE)
    return [
        str(qemu), "-M", machine, "-accel", "tcg,tb-size=32", "-m", str(image.memory_mib),
        "-nodefaults", "-no-reboot", "-display", "none",
        "-kernel", str(image.kernel), "-initrd", str(image.initrd), "-append", image.cmdline,
        "-serial", f"file:{folder}/serial.log",
        "-qmp", f"unix:{folder}/qmp,server=on,wait=off",
        "-blockdev", f"driver=file,node-name=disk,filename={disk}", "-device", "virtio-blk-pci,drive=disk",
        "-netdev", "hubport,id=net,hubid=0", "-device", "virtio-net-pci,netdev=net",
    ]


def await_serial(process: subprocess.Popen[bytes], log: Path, text: str) -> None:
    """Return once the serial port showed a text. AssertionError with all it showed if QEMU ends before."""
    output = ""
    while text not in output:
        ended = process.poll() is not None
        output = log.read_text(errors="replace") if log.exists() else ""
        assert text in output or not ended, f"QEMU ended without printing {text!r}:\n{output}"
        time.sleep(0.05)


async def press_power_button(socket: Path) -> object:
    """Press it through QEMU's monitor; the data of the SHUTDOWN event that follows."""
    monitor = QMPClient("guest")
    await monitor.connect(str(socket))
    with monitor.listener("SHUTDOWN") as shutdowns:
        await monitor.execute("system_powerdown")
        event = await asyncio.wait_for(shutdowns.get(), 60)
    with suppress(EOFError, OSError):  # QEMU ends after this event, and may have hung up first
        await monitor.disconnect()
    return event["data"]


@pytest.mark.slow
@pytest.mark.parametrize("machine", ["q35", "pc"])
def test_boots_and_obeys_the_power_button(guest_image: GuestImage, machine: str, tmp_path: Path) -> None:
    """The guest reports its boot, address and disk on the serial port, and ACPI makes it power off by itself."""
    image = replace(guest_image, cmdline=f"{guest_image.cmdline} vbip=192.168.77.2/24")
    process = subprocess.Popen(qemu_command(image, machine, tmp_path))
    try:
        await_serial(process, tmp_path / "serial.log", guest.READY)
        shutdown = asyncio.run(press_power_button(tmp_path / "qmp"))
        process.wait(60)
    finally:
        process.kill()
        process.wait()
    serial = (tmp_path / "serial.log").read_text(errors="replace")
    lines = re.findall(r"^virtbus-guest: (\S+ ?\S*)", serial, re.MULTILINE)
    assert process.returncode == 0
    assert shutdown == {"guest": True, "reason": "guest-shutdown"}
    assert [line for line in lines if not line.startswith("Linux")] == [
        "booting", "booted", "eth0 192.168.77.2/24", "disk ok", "ready", "power button",
    ]
    assert f"{guest.DISK_OK} {DISK_SIZE}" in serial
    assert any((tmp_path / "disk.img").read_bytes()[:4096])


def test_image_is_made_once(guest_image: GuestImage) -> None:
    """A second request finds the same files in the cache and downloads nothing."""
    before = guest_image.initrd.stat()
    again = guest.guest_image(pytest.fail)
    assert again == guest_image
    assert again.initrd.stat().st_mtime_ns == before.st_mtime_ns
