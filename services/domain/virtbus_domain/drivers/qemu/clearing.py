"""Clearing away after guests: what was made for a run and does not vanish with QEMU by itself.

A run is known by its directory. What lies elsewhere bears its name, so it is found by looking, also when the service
was not there at the end.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from virtbus_domain.drivers.qemu.discovery import GuestPaths
from virtbus_domain.drivers.qemu.macvtap import remove_macvtaps, remove_other_macvtaps
from virtbus_domain.drivers.qemu.overlays import remove_other_overlays, remove_overlays


async def clear_after(paths: GuestPaths, state_dir: Path) -> None:
    """A guest has ended, or its start has failed. Its directory goes last: as long as it is there it can be told
    what belongs to it."""
    await remove_macvtaps(paths.directory)
    await asyncio.to_thread(remove_overlays, state_dir, paths)
    await asyncio.to_thread(paths.remove)


async def clear_after_all(run_dir: Path, state_dir: Path) -> None:
    """The service starts, and knows which guests run: only they have a directory."""
    directory = await asyncio.to_thread((run_dir / "qemu").resolve)
    await remove_other_macvtaps(directory)
    await asyncio.to_thread(remove_other_overlays, state_dir, directory)
