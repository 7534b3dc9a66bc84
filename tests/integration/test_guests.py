"""A real Linux inside a real QEMU, driven through the broker: what the calls claim is read off its serial port."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import termios
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support import guest
from tests.support.broker import PrivateBroker, rabbitmq_server
from tests.support.calls import EventLog, NodeCalls, calling, event_log, guest_xml, new_node, qemu_pids, until
from tests.support.components import require, require_program
from tests.support.guest import GuestImage
from tests.support.images import make_image
from tests.support.netns import NetworkNamespace
from tests.support.processes import Node, running_node
from virtbus_shared import constants as c
from virtbus_shared.api import domain as api

pytestmark = pytest.mark.slow

_CLONE_NEWNET = 0x40000000  # setns(2)


@pytest.fixture
def node(broker_url: str, tmp_path: Path) -> Iterator[Node]:
    """A domain service; guests that are left over when the test ends are ended."""
    require_program("qemu-system-x86_64")
    with running_node(node=new_node(), broker=broker_url, folder=tmp_path, services=("domain",)) as running:
        try:
            yield running
        finally:
            end_guests(running)


def end_guests(node: Node) -> None:
    """End what a test left running."""
    for pids in qemu_pids(node["domain"]).values():
        for pid in pids:
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def calls(node: Node, broker_url: str) -> Iterator[NodeCalls]:
    """A connection to it."""
    with calling(broker_url, node.name) as opened:
        yield opened


@pytest.fixture
def log(calls: NodeCalls) -> Iterator[EventLog]:
    """The node's events."""
    with event_log(calls) as opened:
        yield opened


class Serial:
    """A guest's serial port in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def text(self) -> str:
        """All that it has shown."""
        return self.path.read_text(errors="replace") if self.path.exists() else ""

    def wait(self, text: str, times: int = 1) -> None:
        """Return once a text has been shown that many times."""
        until(lambda: self.text().count(text) >= times, f"{times} x {text!r} on the serial port", 90)


def linux_xml(image: GuestImage, name: str, serial: Path, devices: str = "") -> str:
    """A domain that boots the test guest."""
    os_ = f"<kernel>{image.kernel}</kernel><initrd>{image.initrd}</initrd><cmdline>{image.cmdline}</cmdline>"
    return guest_xml(name, os=os_, memory_mib=image.memory_mib,
                     devices=f"<serial type='file'><source path='{serial}'/></serial>{devices}")


def test_boot_and_acpi_shutdown(calls: NodeCalls, log: EventLog, guest_image: GuestImage, tmp_path: Path) -> None:
    """A guest boots kernel, initrd and command line, uses its qcow2 disk, and powers off when asked to; all is told."""
    disk = tmp_path / "disk.qcow2"
    make_image(disk, "qcow2", "32M")
    devices = (f"<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{disk}'/>"
               "<target dev='vda' bus='virtio'/></disk>")
    serial = Serial(tmp_path / "serial.log")
    uuid = calls(api.DEFINE_XML, xml=linux_xml(guest_image, "linux", serial.path, devices)).uuid
    calls(api.CREATE, uuid=uuid)
    serial.wait(guest.READY)
    assert guest.BOOTED in serial.text()
    assert f"{guest.DISK_OK} {32 * 1024 * 1024}" in serial.text()
    assert calls(api.GET_INFO, uuid=uuid).cpu_time > 0
    calls(api.SHUTDOWN, uuid=uuid)
    log.wait_for(uuid, c.VIR_DOMAIN_EVENT_STOPPED)
    assert guest.POWER_BUTTON in serial.text()
    state = calls(api.GET_STATE, uuid=uuid)
    assert (state.state, state.reason) == (c.VIR_DOMAIN_SHUTOFF, c.VIR_DOMAIN_SHUTOFF_SHUTDOWN)
    assert calls.listed()[uuid].id == -1
    assert log.of(uuid)[-2:] == [(c.VIR_DOMAIN_EVENT_SHUTDOWN, c.VIR_DOMAIN_EVENT_SHUTDOWN_GUEST),
                                 (c.VIR_DOMAIN_EVENT_STOPPED, c.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN)]


@pytest.mark.parametrize("killed", ["not at all", "while the guest halts", "before the guest halts"])
def test_reboot_starts_the_same_qemu_again(node: Node, calls: NodeCalls, log: EventLog, guest_image: GuestImage,
                                           tmp_path: Path, killed: str) -> None:
    """A reboot boots the guest twice in one QEMU, also when the service dies between power button and halt."""
    serial = Serial(tmp_path / "serial.log")
    uuid = calls(api.DEFINE_XML, xml=linux_xml(guest_image, "linux", serial.path)).uuid
    started = calls(api.CREATE, uuid=uuid)
    serial.wait(guest.READY)
    pids = qemu_pids(node["domain"])
    calls(api.REBOOT, uuid=uuid)
    if killed != "not at all":
        if killed == "before the guest halts":
            os.kill(pids[uuid][0], signal.SIGSTOP)
        node["domain"].kill()
        if killed == "while the guest halts":
            serial.wait(guest.POWER_BUTTON)
        node["domain"].start()
        os.kill(pids[uuid][0], signal.SIGCONT)
    serial.wait(guest.READY, times=2)
    assert serial.text().count(guest.POWER_BUTTON) == 1
    assert qemu_pids(node["domain"]) == pids
    assert calls.listed()[uuid] == started
    assert calls.state(uuid) == c.VIR_DOMAIN_RUNNING
    assert c.VIR_DOMAIN_EVENT_STOPPED not in [event for event, _ in log.of(uuid)]
    # It was restarted once, not for ever: the next shutdown is one.
    calls(api.SHUTDOWN, uuid=uuid)
    log.wait_for(uuid, c.VIR_DOMAIN_EVENT_STOPPED)
    assert calls.state(uuid) == c.VIR_DOMAIN_SHUTOFF


def test_serial_on_a_pty(calls: NodeCalls, guest_image: GuestImage, tmp_path: Path) -> None:
    """A serial port on a pty is named in the live document, and what is read there is the guest's own word."""
    xml = linux_xml(guest_image, "linux", tmp_path / "unused").replace(
        f"<serial type='file'><source path='{tmp_path / 'unused'}'/></serial>", "<serial type='pty'/>")
    started = calls(api.CREATE_XML, xml=xml, flags=c.VIR_DOMAIN_START_PAUSED)
    document = calls(api.GET_XML_DESC, uuid=started.uuid).xml
    found = re.search(r"<serial type='pty'>\s*<source path='(/dev/pts/\d+)'/>", document)
    assert found is not None, document
    terminal = os.open(found[1], os.O_RDWR | os.O_NOCTTY)
    try:
        attributes = termios.tcgetattr(terminal)
        attributes[3] &= ~termios.ECHO
        termios.tcsetattr(terminal, termios.TCSANOW, attributes)
        calls(api.RESUME, uuid=started.uuid)
        shown = b""
        while guest.READY.encode() not in shown:
            shown += os.read(terminal, 4096)
    finally:
        os.close(terminal)
    calls(api.DESTROY, uuid=started.uuid)


def test_a_guest_that_ends_by_itself(calls: NodeCalls, log: EventLog, node: Node) -> None:
    """A QEMU that is killed behind our back is told as stopped and failed, and can be started again."""
    uuid = calls(api.DEFINE_XML, xml=guest_xml("victim")).uuid
    calls(api.CREATE, uuid=uuid)
    os.kill(qemu_pids(node["domain"])[uuid][0], signal.SIGKILL)
    log.wait_for(uuid, c.VIR_DOMAIN_EVENT_STOPPED)
    assert log.of(uuid)[-1] == (c.VIR_DOMAIN_EVENT_STOPPED, c.VIR_DOMAIN_EVENT_STOPPED_FAILED)
    assert calls(api.GET_STATE, uuid=uuid).reason == c.VIR_DOMAIN_SHUTOFF_CRASHED
    assert calls(api.CREATE, uuid=uuid).id == 2
    calls(api.DESTROY, uuid=uuid)


def test_a_start_that_fails_leaves_nothing(calls: NodeCalls, node: Node) -> None:
    """QEMU's own complaint is the error; the domain is inactive, and neither process nor directory is left."""
    xml = guest_xml("broken", devices="<disk type='file' device='disk'><driver name='qemu' type='raw'/>"
                    "<source file='/nonexistent/disk.img'/><target dev='vda' bus='virtio'/></disk>")
    uuid = calls(api.DEFINE_XML, xml=xml).uuid
    error = calls.error(api.CREATE, uuid=uuid)
    assert "/nonexistent/disk.img" in str(error)
    assert calls.listed()[uuid].id == -1
    assert calls.state(uuid) == c.VIR_DOMAIN_SHUTOFF
    assert qemu_pids(node["domain"]) == {}
    assert list((node["domain"].run_dir / "domain" / "qemu").iterdir()) == []


def test_a_bridge_carries_the_guests_packets(guest_image: GuestImage, tmp_path: Path,
                                             netns: NetworkNamespace) -> None:
    """A guest's interface is a port of its bridge while it runs: it answers ping, also after the service was killed."""
    require_program("qemu-system-x86_64")
    require("rabbitmq-server", rabbitmq_server() is not None, "the broker must be started inside the namespace")
    netns.run(["ip", "link", "add", "vb-test0", "type", "bridge"])
    netns.run(["ip", "address", "add", "192.0.2.1/24", "dev", "vb-test0"])
    netns.run(["ip", "link", "set", "vb-test0", "up"])
    serial = Serial(tmp_path / "serial.log")
    xml = linux_xml(guest_image, "linux", serial.path,
                    "<interface type='bridge'><source bridge='vb-test0'/><model type='virtio'/></interface>")
    xml = xml.replace(guest_image.cmdline, f"{guest_image.cmdline} vbip=192.0.2.2/24")

    def body() -> None:
        broker = PrivateBroker()
        broker.start()
        url = broker.url()
        try:
            with running_node(node=new_node(), broker=url, folder=tmp_path, services=("domain",)) as node:
                try:
                    with calling(url, node.name) as calls:
                        uuid = calls(api.CREATE_XML, xml=xml).uuid
                        serial.wait(guest.READY)
                        netns.run(["busybox", "ping", "-c", "2", "-W", "5", "192.0.2.2"])
                        node["domain"].kill()
                        netns.run(["busybox", "ping", "-c", "1", "-W", "5", "192.0.2.2"])
                        node["domain"].start()
                        tap = re.search(r"<target dev='([^']+)'/>", calls(api.GET_XML_DESC, uuid=uuid).xml)
                        assert tap is not None
                        assert f"{tap[1]}:" in netns.run(["ip", "link", "show", "master", "vb-test0"])
                        calls(api.DESTROY, uuid=uuid)
                        assert tap[1] not in netns.run(["ip", "link", "show"])
                finally:
                    end_guests(node)
        finally:
            broker.stop()

    in_namespace(netns, body)


def in_namespace(netns: NetworkNamespace, body: Callable[[], None]) -> None:
    """Run a function in a thread that is in a network namespace, and with it all that it starts."""
    def entered() -> None:
        with open(f"/run/netns/{netns.name}") as namespace:
            if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        body()

    with ThreadPoolExecutor(1) as thread:
        thread.submit(entered).result()
