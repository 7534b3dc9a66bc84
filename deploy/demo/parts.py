"""What the story needs beside the API: the documents it sends, and the two listeners that print what comes by itself.

A user of virtbus writes the same documents and registers for events in the same way; that part of this file may be
copied. Both listeners run in threads beside the story and remember what they saw, so that it can wait for it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from xml.sax.saxutils import escape

import virtbus as libvirt
from deploy.demo.screen import DemoError, Screen
from tests.support.guest import GuestImage

BRIDGE = "vbdemo0"
HOST_ADDRESS, GUEST_ADDRESS, PREFIX = "192.168.152.1", "192.168.152.2", 24
DISK_BYTES = 64 * 1024 * 1024

NETWORK_XML = f"""
<network>
  <name>demo-net</name>
  <bridge name='{BRIDGE}' stp='off' delay='0'/>
  <ip address='{HOST_ADDRESS}' prefix='{PREFIX}'/>
</network>"""

VOLUME_XML = f"""
<volume>
  <name>demo-disk.qcow2</name>
  <capacity unit='bytes'>{DISK_BYTES}</capacity>
  <target><format type='qcow2'/></target>
</volume>"""

INTERFACE_XML = f"""
    <interface type='bridge'>
      <source bridge='{BRIDGE}'/>
      <model type='virtio'/>
    </interface>"""


def pool_xml(folder: Path) -> str:
    """A storage pool that is a directory."""
    return f"<pool type='dir'><name>demo-pool</name><target><path>{escape(str(folder))}</path></target></pool>"


def domain_xml(image: GuestImage, disk: str, serial: Path, network: bool) -> str:
    """A guest that boots a kernel directly, with one disk, its serial port in a file, and a card if `network`."""
    cmdline = f"{image.cmdline} vbip={GUEST_ADDRESS}/{PREFIX}" if network else image.cmdline
    return f"""
<domain type='qemu'>
  <name>demo-guest</name>
  <memory unit='MiB'>{image.memory_mib}</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>{escape(str(image.kernel))}</kernel>
    <initrd>{escape(str(image.initrd))}</initrd>
    <cmdline>{escape(cmdline)}</cmdline>
  </os>
  <features><acpi/></features>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='{escape(disk)}'/>
      <target dev='vda' bus='virtio'/>
    </disk>{INTERFACE_XML if network else ""}
    <serial type='file'><source path='{escape(str(serial))}'/><target port='0'/></serial>
  </devices>
</domain>"""


# VIR_DOMAIN_EVENT_*, and below each its details, by number.
EVENTS = ("defined", "undefined", "started", "suspended", "resumed", "stopped", "shutdown", "pmsuspended", "crashed")


def event_text(event: int, detail: int) -> str:
    """A lifecycle event as words: `started (booted)`."""
    word = EVENTS[event] if event < len(EVENTS) else f"event {event}"
    prefix = f"VIR_DOMAIN_EVENT_{word.upper()}_"
    names = [name for name in dir(libvirt) if name.startswith(prefix) and getattr(libvirt, name) == detail]
    return f"{word} ({names[0].removeprefix(prefix).lower().replace('_', ' ') if names else detail})"


class EventFeed:
    """Prints lifecycle events as they arrive, and remembers them."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._seen: list[tuple[str, int]] = []
        self._arrived = threading.Condition()

    @staticmethod
    def run_loop() -> None:
        """Register libvirt's default event loop and run it in a thread; to be done before opening connections."""
        libvirt.virEventRegisterDefaultImpl()

        def turn() -> None:
            while True:
                libvirt.virEventRunDefaultImpl()

        threading.Thread(target=turn, name="events", daemon=True).start()

    def register(self, conn: libvirt.virConnect) -> None:
        """Ask for the lifecycle events of all domains of a connection."""
        self._conn = conn
        self._number = conn.domainEventRegisterAny(
            None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._lifecycle, None)

    def close(self) -> None:
        """Ask no more: a connection lives as long as something is registered on it."""
        self._conn.domainEventDeregisterAny(self._number)

    def _lifecycle(self, _conn: object, domain: libvirt.virDomain, event: int, detail: int, _opaque: object) -> None:
        self._screen.aside("event", f"{domain.name()}: {event_text(event, detail)}", "cyan")
        with self._arrived:
            self._seen.append((domain.name(), event))
            self._arrived.notify_all()

    def wait(self, name: str, event: int, seconds: float) -> None:
        """Return once this event of this domain has arrived. DemoError when it does not."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: (name, event) in self._seen, seconds):
                raise DemoError(f"no event '{EVENTS[event]}' of {name} arrived within {seconds:.0f} s")

    def seen(self, name: str, event: int) -> bool:
        """Has this event of this domain arrived?"""
        with self._arrived:
            return (name, event) in self._seen

    @property
    def count(self) -> int:
        """How many have arrived."""
        with self._arrived:
            return len(self._seen)


class SerialConsole:
    """Prints what the guest writes to its serial port as it writes it."""

    def __init__(self, screen: Screen, log: Path) -> None:
        self._screen = screen
        self._log = log
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="serial", daemon=True)
        self._thread.start()

    def wait(self, text: str, seconds: float, ended: Callable[[], bool]) -> str:
        """The first line that holds this text. DemoError when the guest ends or the time is up before."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while True:
                for line in self._lines:
                    if text in line:
                        return line
                if ended():
                    raise DemoError(f"the guest ended before its serial port said '{text}'")
                if time.monotonic() > deadline:
                    raise DemoError(f"the guest's serial port did not say '{text}' within {seconds:.0f} s")
                self._changed.wait(0.2)

    def close(self) -> None:
        """Print what is left and stop following."""
        self._stop.set()
        self._thread.join()

    def _follow(self) -> None:
        position, rest = 0, b""
        while True:
            last = self._stop.is_set()
            if self._log.exists():
                with self._log.open("rb") as file:
                    file.seek(position)
                    read = file.read()
                position += len(read)
                *lines, rest = (rest + read).split(b"\n")
                for line in lines:
                    self._show(line)
            if last:
                return
            # A plain file tells nobody that it grew.
            self._stop.wait(0.05)

    def _show(self, raw: bytes) -> None:
        line = "".join(char for char in raw.decode(errors="replace") if char.isprintable()).strip()
        if not line:
            return
        self._screen.aside("guest", line)
        with self._changed:
            self._lines.append(line)
            self._changed.notify_all()


def qemu_processes(run_dir: Path) -> list[int]:
    """Process ids of the guests of a run directory, by the pidfile that QEMU is given on its command line."""
    mark = os.fsencode(run_dir)
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if arguments[1:2] == [b"-pidfile"] and arguments[2].startswith(mark):
            found.append(int(entry.name))
    return found
