"""Programs of the host that do one thing and end."""

from __future__ import annotations

import asyncio
import os
import shutil
from asyncio.subprocess import DEVNULL, PIPE

from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError


def find_program(name: str) -> str:
    """Where a program is installed. Raises ``LibvirtError``."""
    found = shutil.which(name)
    if found is None:
        raise LibvirtError(c.VIR_ERR_OPERATION_UNSUPPORTED, f"Unable to find '{name}' binary in $PATH",
                           domain=c.VIR_FROM_NONE)
    return found


def _environment() -> dict[str, str]:
    """What a program may know of our environment, which can hold the broker's password."""
    return {"LC_ALL": "C"} | {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}


async def run_tool(name: str, *arguments: str) -> bytes:
    """Run a program to its end; what it wrote. It is killed when the caller stops waiting.

    Raises ``LibvirtError`` with its own words when it fails.
    """
    program = find_program(name)
    process = await asyncio.create_subprocess_exec(
        program, *arguments, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, cwd="/", env=_environment())
    try:
        output, errors = await process.communicate()
    except BaseException:
        if process.returncode is None:
            process.kill()
        raise
    if process.returncode:
        said = errors.decode(errors="replace").strip()
        raise LibvirtError(
            c.VIR_ERR_INTERNAL_ERROR,
            f"Child process ({' '.join([program, *arguments])}) unexpected exit status {process.returncode}: {said}",
            domain=c.VIR_FROM_NONE)
    return output
