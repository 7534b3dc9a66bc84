"""Disk images as somebody else would make them, by the real qemu-img."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support.components import require_program


def make_image(path: Path | str, image_format: str, size: str | None, *options: str) -> None:
    """Make an empty image; the size as qemu-img reads it (``1M``), None for that of the image below.

    AssertionError with qemu-img's words when it fails.

    Before it encrypts, qemu-img reads its CPU time around a trial of the key derivation, and gives up when the clock
    did not move ("Unable to get accurate CPU usage"). Beside six others on two cores that is every fourth time, so it
    is asked again.
    """
    command: list[str | Path] = [
        require_program("qemu-img"), "create", "-q", "-f", image_format, *options, path, *([size] if size else [])]
    for _ in range(30):
        done = subprocess.run(command, check=False, stderr=subprocess.PIPE, timeout=60)
        if b"accurate CPU usage" not in done.stderr:
            break
    assert done.returncode == 0, done.stderr.decode(errors="replace")
