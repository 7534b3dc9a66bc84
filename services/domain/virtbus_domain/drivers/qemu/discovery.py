"""Finding running guests by looking at the node, not by believing notes.

A guest outlives the service that started it, so after a restart the truth is in ``/proc``: each QEMU that we start
carries ``-pidfile <run-dir>/qemu/<id>-<uuid>/qemu.pid`` as its first option, and that one path says which guest it
is. Everything else about a running guest lies in the same directory. A directory without a process is what a guest
or a crash left behind; it is removed.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_DIRECTORY = re.compile(r"(?P<id>[1-9][0-9]{0,9})-(?P<uuid>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
_START_TIME = 19  # of stat_fields
_ARGUMENTS_LOOKED_AT = 3  # the program, "-pidfile" and its value


@dataclass(frozen=True)
class GuestPaths:
    """The run directory of one running guest, ``<run-dir>/qemu/<id>-<uuid>/``, and what lies in it."""

    run_dir: Path
    id: int
    uuid: str

    def __post_init__(self) -> None:
        # One spelling, or a guest would not be found by a service that was given /var/run for /run.
        object.__setattr__(self, "run_dir", self.run_dir.resolve())

    @property
    def directory(self) -> Path:
        """Where everything below lies; mode 0700."""
        return self.run_dir / "qemu" / f"{self.id}-{self.uuid}"

    @property
    def monitor(self) -> Path:
        """QEMU's QMP socket."""
        return self.directory / "monitor.sock"

    @property
    def live_xml(self) -> Path:
        """The live definition, written before QEMU is started."""
        return self.directory / "live.xml"

    @property
    def log(self) -> Path:
        """What QEMU said on standard output and standard error."""
        return self.directory / "qemu.log"

    @property
    def pidfile(self) -> Path:
        """Written and locked by QEMU: two processes can never be the same guest."""
        return self.directory / "qemu.pid"

    @property
    def reboot(self) -> Path:
        """There while the guest is to be started again when it has shut down."""
        return self.directory / "reboot"

    def create(self) -> None:
        """Make the directory. ``FileExistsError`` when this ID and UUID are in use."""
        self.directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory.mkdir(mode=0o700)

    def remove(self) -> None:
        """Remove the directory with all that is in it; a directory that is gone already is no error."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def in_use(self) -> bool:
        """Whether a QEMU holds the lock on its PID file, whatever ``/proc`` shows us of it."""
        try:
            with self.pidfile.open("r+b") as file:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False

    @classmethod
    def from_directory(cls, run_dir: Path, directory: Path) -> GuestPaths | None:
        """The guest whose run directory this is, or None when it is none of ours."""
        match = _DIRECTORY.fullmatch(directory.name)
        if match is None or directory.parent != run_dir / "qemu":
            return None
        return cls(run_dir, int(match["id"]), match["uuid"])


@dataclass(frozen=True)
class FoundGuest:
    """A QEMU process of ours. ``start_time`` (clock ticks after boot) tells it from a later process with its PID."""

    paths: GuestPaths
    pid: int
    start_time: int

    @property
    def id(self) -> int:
        """The domain's ID."""
        return self.paths.id

    @property
    def uuid(self) -> str:
        """The domain's UUID."""
        return self.paths.uuid


def stat_fields(pid: int) -> list[bytes]:
    """``/proc/<pid>/stat`` from the third field, the state, on (proc(5)).

    Raises ``ProcessLookupError`` when there is no such process.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        raise ProcessLookupError(pid) from None
    # The second field is the program's name in brackets and may itself hold spaces and brackets.
    return stat[stat.rindex(b")") + 2:].split()


def start_time(pid: int) -> int:
    """When the process began, in clock ticks after boot; ``ProcessLookupError`` when there is no such process."""
    return int(stat_fields(pid)[_START_TIME])


def find_guests(run_dir: Path) -> list[FoundGuest]:
    """All running guests of this run directory, by ID; directories that no process belongs to are removed.

    To be called once, before the service starts guests of its own: a directory that is being made for a new guest
    has no process yet either.
    """
    run_dir = run_dir.resolve()
    found = sorted(_processes(run_dir), key=lambda guest: guest.id)
    alive = {guest.paths.directory for guest in found}
    for directory in _directories(run_dir):
        paths = GuestPaths.from_directory(run_dir, directory)
        if paths is not None and directory not in alive and not paths.in_use():
            paths.remove()
    return found


def _directories(run_dir: Path) -> list[Path]:
    try:
        return list((run_dir / "qemu").iterdir())
    except FileNotFoundError:
        return []


def _processes(run_dir: Path) -> Iterator[FoundGuest]:
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        pid = int(entry)
        try:
            # The start time is read first: when it is the same later, so was the command line that is read now.
            started = start_time(pid)
            paths = _guest_of(pid, run_dir)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if paths is not None:
            yield FoundGuest(paths, pid, started)


def _guest_of(pid: int, run_dir: Path) -> GuestPaths | None:
    arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0", _ARGUMENTS_LOOKED_AT)
    if len(arguments) <= _ARGUMENTS_LOOKED_AT or arguments[1] != b"-pidfile":
        return None
    pidfile = Path(os.fsdecode(arguments[2]))
    paths = GuestPaths.from_directory(run_dir, pidfile.parent)
    if paths is None or pidfile != paths.pidfile or not paths.directory.is_dir():
        return None
    # Anybody may run a program with such arguments; only a process of our own user is a guest of ours.
    return paths if Path(f"/proc/{pid}").stat().st_uid == os.geteuid() else None
