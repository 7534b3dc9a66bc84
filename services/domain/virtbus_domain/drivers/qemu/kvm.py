"""Whether KVM really works here: asked by running a guest of 190 bytes on it.

A ``/dev/kvm`` that opens proves little. Inside clouds it is often emulated by an outer hypervisor, and some of those
create machines and run firmware but stop for ever at the first large copy that a 64-bit kernel makes. So a tiny
firmware does the same: it enters long mode, copies 256 KiB through memory that nobody has touched, and ends QEMU
through a debug port. What hangs is killed; a guest is never started on a KVM that did not pass.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from virtbus_domain.drivers.qemu.process import QemuProcess, exit_error

TIMEOUT = 3.0  # seconds; a KVM that works needs 0.05
ARCHITECTURES = ("x86_64", "i686")  # for which there is a test guest

_DEVICE = Path("/dev/kvm")
_IMAGE_SIZE = 0x10000  # the firmware of a PC ends at 4 GiB and shows again below 1 MiB, at F000:0000
_RESET_VECTOR = 0xFFF0
_PASSED = 0x21  # isa-debug-exit ends QEMU with (value << 1) | 1; the guest writes 0x10

_START = bytes.fromhex(
    "fa 31c0 8ed8 8ec0 fc"                   # cli; ds = es = 0; cld
    "bf0010 b90018 f3ab"                     # clear the page tables, 0x1000 to 0x3fff
    "c70600100320 c70600200330"              # one entry in each of the upper two levels
    "c70600308300 66c706083083002000"        # four large pages: 0 to 8 MiB, each at its own address
    "66c706103083004000 66c706183083006000"
    "66b800100000 0f22d8"                    # cr3 = 0x1000
    "66b820000000 0f22e0"                    # cr4 = PAE
    "66b9800000c0 0f32 660d00010000 0f30"    # EFER |= long mode enable
    "2e660f0116b800"                         # lgdt cs:0xb8
    "0f20c0 660d01000080 0f22c0"             # cr0 |= protection, paging
    "66ea7a000f000800"                       # jump to 0008:000f007a, the next line, in 64-bit mode
    "66b81000 8ed8 8ec0"                     # ds = es = 0x10
    "bef8ff2f00 bff8ff6f00 b900800000"       # the last words below 3 MiB and 7 MiB; 0x8000 words of 8 bytes
    "fd f348a5 fc"                           # std; rep movsq; cld
    "b010 e6f4"                              # write 0x10 to port 0xf4
    "f4 ebfd"                                # hlt, for ever
    "000000"
    "0000000000000000 00000000009a2000 0000000000920000"  # at 0xa0: null, 64-bit code, data
    "1700 a0000f00"                          # at 0xb8: the table's limit and address
)
_JUMP_TO_START = bytes.fromhex("ea000000f0")


def unavailable() -> str | None:
    """Why KVM cannot be used at all, or None when it may be tried."""
    if not _DEVICE.exists():
        return f"{_DEVICE} does not exist"
    if not os.access(_DEVICE, os.R_OK | os.W_OK):
        return f"no permission to use {_DEVICE}"
    return None


def host_identity() -> str:
    """What the answers of KVM depend on besides the emulator: this boot of this kernel, and its KVM as loaded now.

    A module that is loaded anew, perhaps with other parameters, makes its device anew. ``OSError`` without KVM.
    """
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    device = _DEVICE.stat()
    return f"{boot} {device.st_ino} {device.st_ctime_ns}"


async def problem(binary: Path, accelerator: str = "kvm") -> str | None:
    """Run the test guest on an x86 emulator: None when it passed, or what was wrong.

    Takes ``TIMEOUT`` seconds at most, and a little to kill what hangs.
    """
    with tempfile.TemporaryDirectory(prefix="virtbus-kvm-") as scratch:
        firmware, log = _files(Path(scratch))
        process = QemuProcess.spawn(
            [str(binary), "-no-user-config", "-nodefaults", "-display", "none", "-machine", "pc",
             "-accel", accelerator, "-m", "16", "-bios", str(firmware),
             "-device", "isa-debug-exit,iobase=0xf4,iosize=1"], log, outlives_us=False)
        try:
            hung = not await process.exits_within(TIMEOUT)
        finally:
            # A service that is told to stop meanwhile cancels this; what hangs would stay for ever.
            await process.kill()
        if process.status == _PASSED:
            return None
        if hung:
            return f"{_DEVICE} opens, but a test guest hangs on it"
        return exit_error(f"a test guest failed with status {process.status}", log).str2


def _files(directory: Path) -> tuple[Path, Path]:
    """The firmware, and where the emulator's words go."""
    firmware = directory / "firmware"
    firmware.write_bytes(_image())
    return firmware, directory / "log"


def _image() -> bytes:
    image = bytearray(_IMAGE_SIZE)
    image[: len(_START)] = _START
    image[_RESET_VECTOR : _RESET_VECTOR + len(_JUMP_TO_START)] = _JUMP_TO_START
    return bytes(image)
