"""A ``dir`` pool: a directory of the host whose files are volumes.

All that touches the file system runs in one thread that belongs to the pool: a directory on a server that no longer
answers holds this thread, and nothing else of the service. Errors and figures are those of libvirt 9.0.0's
``storage_backend_fs.c``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from virtbus_shared import constants as c
from virtbus_storage import creation
from virtbus_storage.creation import error, system_error
from virtbus_storage.images import read_volume
from virtbus_storage.xml import Permissions, Volume, VolumeTarget

DEFAULT_POOL_MODE = 0o711

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Contents:
    """What a look at a pool found; sizes of its file system in bytes."""

    capacity: int
    allocation: int
    available: int
    permissions: Permissions
    volumes: dict[str, Volume]


class Directory:
    """One pool's directory. Usable on one event loop; ``close`` lets go of its thread."""

    def __init__(self, path: str) -> None:
        """``path`` must be absolute, since it means nothing else to the tools that are given it."""
        if not path.startswith("/"):
            raise error(c.VIR_ERR_XML_ERROR, f"storage pool target path '{path}' is not absolute")
        self.path = path
        self._thread = ThreadPoolExecutor(1, "storage-pool")

    def close(self) -> None:
        """Let the thread end with what it is doing. The directory stays as it is."""
        self._thread.shutdown(wait=False)

    async def _run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.wrap_future(self._thread.submit(function, *args, **kwargs))

    async def build(self, permissions: Permissions | None) -> None:
        """Make the directory, parents included; one that exists is taken as it is, with the wanted owner and mode."""
        await self._run(self._build, permissions or Permissions())

    def _build(self, wanted: Permissions) -> None:
        made = False
        try:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.mkdir(self.path, DEFAULT_POOL_MODE)
                made = True
            if not os.path.isdir(self.path):
                raise error(c.VIR_ERR_SYSTEM_ERROR, f"failed to create directory '{self.path}': File exists")
            if wanted.owner is not None or wanted.group is not None:
                os.chown(self.path, -1 if wanted.owner is None else wanted.owner,
                         -1 if wanted.group is None else wanted.group)
            if made or wanted.mode is not None:
                os.chmod(self.path, DEFAULT_POOL_MODE if wanted.mode is None else wanted.mode)
        except OSError as e:
            if made:
                os.rmdir(self.path)
            raise system_error(f"failed to create directory '{self.path}'", e) from None

    async def scan(self) -> Contents:
        """Look at the directory: sizes and volumes. Removes what a service that died left unfinished."""
        return await self._run(self._scan)

    def _scan(self) -> Contents:
        try:
            with os.scandir(self.path) as entries:
                names = [entry.name for entry in entries]
            facts = os.stat(self.path)
        except OSError as e:
            raise system_error(f"cannot open directory '{self.path}'", e) from None
        volumes: dict[str, Volume] = {}
        for name in names:
            if creation.is_temporary(name):
                if creation.is_abandoned(name):
                    _remove(f"{self.path}/{name}")
            elif (volume := read_volume(self.path, name)) is not None:
                volumes[name] = volume
        permissions = Permissions(mode=stat.S_IMODE(facts.st_mode) & 0o777, owner=facts.st_uid, group=facts.st_gid)
        return Contents(*self._sizes(), permissions, volumes)

    async def sizes(self) -> tuple[int, int, int]:
        """Capacity, allocation and free space of the directory's file system, bytes."""
        return await self._run(self._sizes)

    def _sizes(self) -> tuple[int, int, int]:
        try:
            figures = os.statvfs(self.path)
        except OSError as e:
            raise system_error(f"cannot statvfs path '{self.path}'", e) from None
        capacity, available = figures.f_blocks * figures.f_frsize, figures.f_bfree * figures.f_frsize
        return capacity, capacity - available, available

    async def create(self, model: Volume, *, preallocate_metadata: bool = False) -> Volume:
        """Make a volume as ``model`` (completed) wants it, and tell it as it then is.

        Whatever ends this early, an error or a cancelled task, the volume is not there afterwards.
        """
        making = _Making(model, self.path)
        await self._run(creation.check_new, model, self.path, preallocate_metadata=preallocate_metadata)
        try:
            await self._run(making.begin)
            if making.format not in (*creation.RAW_FORMATS, "dir"):
                arguments = creation.qemu_img_create(making.path, model, preallocate_metadata=preallocate_metadata)
                await creation.run_qemu_img(arguments, making.path, making.final)
            return await self._run(making.finish)
        except BaseException:
            # The thread does one thing after the other: this comes after a step that it may be in the middle of.
            making.unwanted.set()
            self._thread.submit(making.undo)
            raise

    async def delete(self, volume: Volume) -> None:
        """Delete a volume and its data; one that has gone already is no error."""
        await self._run(self._delete, str(volume.name), volume.type == "dir")

    def _delete(self, name: str, is_folder: bool) -> None:
        path = f"{self.path}/{name}"
        kind = "directory" if is_folder and not os.path.islink(path) else "file"
        try:
            (os.rmdir if kind == "directory" else os.unlink)(path)
        except FileNotFoundError:
            return
        except OSError as e:
            what = f"cannot remove directory '{path}'" if kind == "directory" else f"cannot unlink file '{path}'"
            raise system_error(what, e) from None

    async def remove(self) -> None:
        """Delete the directory itself, which must be empty."""
        await self._run(self._rmdir)

    def _rmdir(self) -> None:
        try:
            os.rmdir(self.path)
        except OSError as e:
            raise system_error(f"failed to remove pool '{self.path}'", e) from None


class _Making:
    """One volume in the making. All but ``unwanted`` is used in the pool's thread only."""

    def __init__(self, model: Volume, folder: str) -> None:
        self._model, self._folder, self._target = model, folder, model.target or VolumeTarget()
        self.format = self._target.format or "raw"
        self.final = f"{folder}/{model.name}"
        self.path = f"{folder}/{creation.temporary_name()}"  # where it is now
        self.unwanted = threading.Event()

    def begin(self) -> None:
        """Make it, as far as that needs no tool."""
        capacity, allocation = self._model.capacity or 0, self._model.allocation or 0
        try:
            if self.format == "dir":
                os.mkdir(self.path, 0o700)
            elif self.format in creation.RAW_FORMATS:
                creation.make_raw(self.path, capacity, allocation, self.unwanted)
            else:
                creation.make_raw(self.path, 0, 0, self.unwanted)  # so that nobody else could ever read it
        except OSError as e:
            raise system_error(f"Failed to create file '{self.final}'", e) from None

    def finish(self) -> Volume:
        """Give it its owner, mode and name."""
        try:
            creation.publish(self.path, self.final, self._target.permissions)
        except FileExistsError:
            raise error(c.VIR_ERR_STORAGE_VOL_EXIST, f"'{self._model.name}'") from None
        except OSError as e:
            raise system_error(f"Failed to create file '{self.final}'", e) from None
        self.path = self.final
        if (volume := read_volume(self._folder, str(self._model.name))) is None:
            raise error(c.VIR_ERR_INTERNAL_ERROR, f"volume '{self._model.name}' went away as soon as it was there")
        return volume

    def undo(self) -> None:
        """Remove it, wherever it is now."""
        _remove(self.path)


def _remove(path: str) -> None:
    """Remove what may be there: a file or an empty directory."""
    with contextlib.suppress(OSError):
        if os.path.isdir(path):
            os.rmdir(path)
        else:
            os.unlink(path)
