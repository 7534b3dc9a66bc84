"""How a new image is made: under a name of its own beside its place, and renamed when it is whole.

Whoever sees the volume's name sees a finished volume: a crash, a failure or a cancelled request leaves nothing there.
A service that dies leaves its unfinished file behind under a name that tells who was making it, so that the next look
at the pool removes it. Raw files need no tool; all other formats are qemu-img's work.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import itertools
import os
import re
import threading
from pathlib import Path

from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError, no_support
from virtbus_storage.xml import BackingStore, Permissions, Volume, VolumeTarget

DEFAULT_MODE = 0o600
RAW_FORMATS = ("raw", "iso")  # files without a header that qemu-img would have to write
_CHUNK = 2**30  # bytes that are allocated between two looks at whether the volume is still wanted
_AT_FDCWD, _RENAME_NOREPLACE = -100, 1
_TEMPORARY = re.compile(r"\.virtbus-([0-9a-f]+)-(\d+)-(\d+)-\d+")
_counter = itertools.count()
_libc = ctypes.CDLL(None, use_errno=True)


def error(code: int, detail: str) -> LibvirtError:
    """An error of the storage driver."""
    return LibvirtError(code, detail, domain=c.VIR_FROM_STORAGE)


def system_error(what: str, cause: OSError) -> LibvirtError:
    """``VIR_ERR_SYSTEM_ERROR`` with the system's own words."""
    return error(c.VIR_ERR_SYSTEM_ERROR, f"{what}: {cause.strerror}")


def _started(pid: int | str) -> str | None:
    """When a process began, in clock ticks since boot; None when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None


def _place() -> str:
    """This machine and process namespace: what makes a process number mean anything."""
    try:
        machine = Path("/etc/machine-id").read_text().strip()[:8]
    except OSError:
        machine = ""
    return f"{machine}{os.stat('/proc/self/ns/pid').st_ino:x}"


def temporary_name() -> str:
    """A name that nobody else uses, for a file that this process is making."""
    pid = os.getpid()
    return f".virtbus-{_place()}-{pid}-{_started(pid)}-{next(_counter)}"


def is_temporary(name: str) -> bool:
    """Whether a file of this name is no volume but one in the making."""
    return _TEMPORARY.fullmatch(name) is not None


def is_abandoned(name: str) -> bool:
    """Whether the maker of a temporary file has died; on a shared directory another machine's are left alone."""
    m = _TEMPORARY.fullmatch(name)
    return m is not None and m[1] == _place() and _started(m[2]) != m[3]


def check_new(model: Volume, folder: str, *, preallocate_metadata: bool) -> None:
    """Refuse a volume that no image could be made of."""
    name, target = model.name or "", model.target or VolumeTarget()
    for character in "/\n\0":
        if character in name:
            raise error(c.VIR_ERR_OPERATION_INVALID, f"volume name '{name}' cannot contain {character!r}")
    if is_temporary(name):
        raise error(c.VIR_ERR_OPERATION_INVALID, f"volume name '{name}' is kept for volumes in the making")
    if os.path.lexists(f"{folder}/{name}"):
        raise error(c.VIR_ERR_OPERATION_INVALID, f"volume target path '{folder}/{name}' already exists")
    if target.encryption:
        raise error(c.VIR_ERR_CONFIG_UNSUPPORTED, "the volume's <encryption> is not supported")
    if target.format in RAW_FORMATS:
        if preallocate_metadata:
            raise error(c.VIR_ERR_CONFIG_UNSUPPORTED, "metadata preallocation is not supported for raw volumes")
        if model.backing_store is not None:
            raise no_support("backing storage not supported for raw volumes", c.VIR_FROM_STORAGE)
        if target.nocow:
            raise error(c.VIR_ERR_CONFIG_UNSUPPORTED, "the volume's <nocow> is not supported for raw volumes")
    if model.backing_store is not None:
        path = os.path.join(folder, model.backing_store.path or "")
        if not os.access(path, os.R_OK):
            reason = "Permission denied" if os.path.exists(path) else "No such file or directory"
            raise error(c.VIR_ERR_SYSTEM_ERROR, f"inaccessible backing store volume {path}: {reason}")


def make_raw(path: str, capacity: int, allocation: int, unwanted: threading.Event) -> None:
    """A raw image of ``capacity`` bytes of which the first ``allocation`` have their space. Blocking; ``OSError``.

    The space of a huge file is taken in pieces, so that a request that was cancelled meanwhile stops it.
    """
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, DEFAULT_MODE)
    try:
        os.ftruncate(fd, capacity)
        for start in range(0, min(allocation, capacity), _CHUNK):
            if unwanted.is_set():
                return
            os.posix_fallocate(fd, start, min(_CHUNK, min(allocation, capacity) - start))
    except OverflowError:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG)) from None
    finally:
        os.close(fd)


def publish(temporary: str, final: str, permissions: Permissions | None) -> None:
    """Give a finished file (or directory) its owner and mode, then its name, which nobody may have taken. Blocking."""
    wanted = permissions or Permissions()
    if wanted.owner is not None or wanted.group is not None:
        owner, group = (-1 if number is None else number for number in (wanted.owner, wanted.group))
        os.chown(temporary, owner, group)
    os.chmod(temporary, DEFAULT_MODE if wanted.mode is None else wanted.mode)
    if _libc.renameat2(_AT_FDCWD, os.fsencode(temporary), _AT_FDCWD, os.fsencode(final), _RENAME_NOREPLACE) == 0:
        return
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS):  # a file system without it, such as NFS: the same by a second link
        os.link(temporary, final)
        os.unlink(temporary)
        return
    raise OSError(number, os.strerror(number))


def qemu_img_options(model: Volume, *, preallocate_metadata: bool) -> str:
    """The value of ``-o``: an option list in which a comma within a value is written twice."""
    target = model.target or VolumeTarget()
    options: dict[str, str] = {}
    if preallocate_metadata:
        full = (model.allocation or 0) >= (model.capacity or 0)
        options["preallocation"] = "falloc" if full else "metadata"
    if target.format == "qcow2":
        options["compat"] = target.compat or "0.10"  # what the volume format documents as the meaning of no <compat>
        if target.cluster_size:
            options["cluster_size"] = str(target.cluster_size)
        if target.lazy_refcounts:
            options["lazy_refcounts"] = "on"
        if target.extended_l2:
            options["extended_l2"] = "on"
    if target.nocow:
        options["nocow"] = "on"
    return ",".join(f"{key}={value.replace(',', ',,')}" for key, value in options.items())


def qemu_img_create(path: str, model: Volume, *, preallocate_metadata: bool) -> list[str]:
    """The arguments that make an image of a format that has a header. ``path`` is absolute, so it is no protocol."""
    target, backing = model.target or VolumeTarget(), model.backing_store or BackingStore()
    arguments = ["qemu-img", "create", "-q", "-f", target.format or "raw"]
    if options := qemu_img_options(model, preallocate_metadata=preallocate_metadata):
        arguments += ["-o", options]
    if backing.path:
        # A relative name with a colon must not be taken for a protocol.
        local = backing.path if backing.path.startswith("/") else f"./{backing.path}"
        arguments += ["-b", local if ":" in backing.path else backing.path, "-F", backing.format or "raw"]
    return [*arguments, "--", path, str(model.capacity or 0)]


async def run_qemu_img(arguments: list[str], temporary: str, final: str) -> None:
    """Run qemu-img to its end; its own words when it fails. Cancelled, it is killed and waited for."""
    try:
        process = await asyncio.create_subprocess_exec(
            *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE, env=os.environ | {"LC_ALL": "C"})
    except FileNotFoundError:
        raise error(c.VIR_ERR_SYSTEM_ERROR, "Cannot find 'qemu-img' in path: No such file or directory") from None
    try:
        _, said = await process.communicate()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode:
        words = said.decode(errors="replace").replace(temporary, final).strip().removeprefix("qemu-img: ")
        raise error(c.VIR_ERR_INTERNAL_ERROR, f"qemu-img create failed (status {process.returncode}): {words}")
