"""What the demo shows, act by act, in the order a user would do it. Run by `__main__`, inside the namespaces.

Everything that is started is put on a stack of endings before the next thing is, so a failure and a Ctrl-C end it all
in the reverse order, as the happy end does.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
import traceback
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from urllib.parse import quote

import virtbus as libvirt
from deploy.demo import inprocess, tables
from deploy.demo.parts import (
    GUEST_ADDRESS,
    NETWORK_XML,
    VOLUME_XML,
    EventFeed,
    SerialConsole,
    domain_xml,
    pool_xml,
    qemu_processes,
)
from deploy.demo.screen import DemoError, Screen
from tests.support import guest
from tests.support.broker import BrokerError, PrivateBroker
from tests.support.processes import DaemonError, Node

GUEST, NODE = "demo-guest", "demo"
CALL_SECONDS = 20  # limit of each call over the bus
BOOT_SECONDS = 90.0
EXPECTED = (DemoError, BrokerError, DaemonError, guest.GuestError, libvirt.libvirtError)


@dataclass
class Stage:
    """What the acts share."""

    screen: Screen
    folder: Path
    network: bool
    endings: ExitStack
    began: float = field(default_factory=time.monotonic)
    times: dict[str, float] = field(default_factory=dict)  # chapter -> when it began
    outcome: str = "A guest booted, was driven and seen through RabbitMQ, outlived its service, and shut itself down."

    def chapter(self, title: str) -> None:
        """Begin the next act."""
        self.screen.chapter(title)
        self.times[title] = time.monotonic()


def main() -> int:
    """Tell the story; 0 when all of it was as it should be."""
    folder, mode = Path(sys.argv[1]), sys.argv[2]
    screen = Screen()

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        # One is enough: a second one must not interrupt the cleaning up.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    status = 0
    with ExitStack() as endings:
        stage = Stage(screen, folder, mode == "network", endings)
        try:
            tell(stage, with_broker=mode != "in-process")
        except (Exception, KeyboardInterrupt) as error:
            if not isinstance(error, (*EXPECTED, KeyboardInterrupt)):
                traceback.print_exception(error)
            status = screen.failure(error)
            screen.chapter("Cleaning up")
        with suppress(Exception):  # a failing ending has printed why; the others still have their turn
            endings.close()
            return status or summary(stage)
    return 1


def tell(stage: Stage, with_broker: bool) -> None:
    """All acts."""
    # libvirt prints every error on stderr unless told otherwise; here each is caught and shown in its place.
    libvirt.registerErrorHandler(lambda _context, _error: None, None)
    EventFeed.run_loop()
    broker = start_broker(stage) if with_broker else None
    if broker is None:
        inprocess.tell(stage.screen, stage.chapter)
        stage.outcome = "The API worked, without a broker and without real guests."
        return
    node = start_services(stage, broker)
    conn = connect(stage, broker)
    events = EventFeed(stage.screen)
    with stage.screen.step("registered for the events of all domains"):
        events.register(conn)
        stage.endings.callback(events.close)
    if stage.network:
        make_network(stage, conn, node)
    disk = make_volume(stage, conn, node)
    domain, console = boot(stage, conn, node, events, disk)
    look_around(stage, conn, node)
    kill_the_service(stage, broker, conn, node, domain)
    shut_down(stage, node, domain, console, events)
    clean_up(stage, conn, node, domain, events)


def start_broker(stage: Stage) -> PrivateBroker | None:
    """A RabbitMQ of our own; None, having said so, where there is none to start."""
    stage.chapter("The house")
    try:
        with stage.screen.step("RabbitMQ", limit=130) as step:
            broker = PrivateBroker()
            stage.endings.callback(stop_broker, stage, broker)
            broker.start(stage.screen.note)
            step.detail = f"a private one, at 127.0.0.1:{broker.port}"
    except BrokerError as error:
        if os.environ.get("CI", "").lower() in {"1", "true", "yes"}:
            raise
        stage.screen.warn(str(error))
        return None
    return broker


def stop_broker(stage: Stage, broker: PrivateBroker) -> None:
    """The last ending."""
    logging.getLogger("virtbus.bus").setLevel(logging.ERROR)  # that the broker goes away is no news here
    with stage.screen.step("RabbitMQ stopped", limit=40):
        broker.stop()


def start_services(stage: Stage, broker: PrivateBroker) -> Node:
    """The four daemons of a node."""
    node = Node(node=NODE, broker=broker.url(), folder=stage.folder)
    with stage.screen.step("the four services of node 'demo'", limit=60) as step:
        stage.endings.callback(stop_services, stage, node)
        node.start()
        step.detail = ", ".join(f"virtbus-{name}" for name in node.daemons)
    return node


def stop_services(stage: Stage, node: Node) -> None:
    """End the services, and a guest that a failed story left running: it would outlive them, as it should."""
    with stage.screen.step("the four services ended", limit=60):
        node.stop()
        for pid in qemu_processes(stage.folder):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def connect(stage: Stage, broker: PrivateBroker) -> libvirt.virConnect:
    """As any program does."""
    uri = f"qemu+amqp://{NODE}/system?broker={quote(broker.url(), safe='')}&timeout={CALL_SECONDS}"
    with stage.screen.step(f"libvirt.open('qemu+amqp://{NODE}/system?broker=...')") as step:
        conn = libvirt.open(uri)
        version = conn.getVersion()
        step.detail = f"{conn.getType()} {version // 1000000}.{version // 1000 % 1000}.{version % 1000}"
    stage.endings.callback(conn.close)
    return conn


def make_network(stage: Stage, conn: libvirt.virConnect, node: Node) -> None:
    """An isolated network on a real bridge."""
    stage.chapter("A network and a disk")
    with stage.screen.step("network 'demo-net' defined and started", log=node["network"].log) as step:
        network = conn.networkDefineXML(NETWORK_XML)
        network.create()
        step.detail = f"bridge {network.bridgeName()}"
    bridge = subprocess.run(["ip", "-brief", "address", "show", "dev", network.bridgeName()],
                            capture_output=True, text=True, timeout=10, check=False)
    stage.screen.aside("ip", " ".join(bridge.stdout.split()))


def make_volume(stage: Stage, conn: libvirt.virConnect, node: Node) -> str:
    """A directory pool with a qcow2 volume; the volume's path."""
    if not stage.network:
        stage.chapter("A disk")
    with stage.screen.step("storage pool 'demo-pool' defined, built and started", log=node["storage"].log):
        pool = conn.storagePoolDefineXML(pool_xml(stage.folder / "pool"))
        pool.build()
        pool.create()
    with stage.screen.step("volume 'demo-disk.qcow2' created", log=node["storage"].log) as step:
        volume = pool.createXML(VOLUME_XML)
        _, capacity, allocation = volume.info()
        step.detail = f"{tables.size(capacity)}, {tables.size(allocation)} allocated"
    return volume.path()


def boot(stage: Stage, conn: libvirt.virConnect, node: Node, events: EventFeed,
         disk: str) -> tuple[libvirt.virDomain, SerialConsole]:
    """Define and start the guest, watch it boot, and ping it."""
    stage.chapter("A guest boots")
    screen, log = stage.screen, node["domain"].log
    serial = stage.folder / "serial.log"
    image = guest.guest_image()
    with screen.step("domain 'demo-guest' defined", log=log):
        domain = conn.defineXML(domain_xml(image, disk, serial, stage.network))
    console = SerialConsole(screen, serial)
    stage.endings.callback(console.close)
    with screen.step("domain 'demo-guest' started", log=log) as step:
        domain.create()
        step.detail = f"id {domain.ID()}, {tables.state_text(domain)}"

    def ended() -> bool:
        return events.seen(GUEST, libvirt.VIR_DOMAIN_EVENT_STOPPED)

    with screen.step("Linux is up, and waits for its power button", limit=BOOT_SECONDS + 5, log=log):
        console.wait(guest.BOOTED, BOOT_SECONDS, ended)
        console.wait(guest.READY, BOOT_SECONDS, ended)
        console.wait(guest.DISK_OK, 1, ended)
        events.wait(GUEST, libvirt.VIR_DOMAIN_EVENT_STARTED, 5)
    if stage.network:
        with screen.step(f"the guest answers at {GUEST_ADDRESS}, over the bridge") as step:
            step.detail = ping()
    return domain, console


def ping(seconds: float = 15) -> str:
    """Ping the guest; the answer's time. DemoError when there is none."""
    deadline = time.monotonic() + seconds
    while True:
        done = subprocess.run(["busybox", "ping", "-c", "1", "-W", "1", GUEST_ADDRESS],
                              capture_output=True, text=True, timeout=10, check=False)
        answers = [line for line in done.stdout.splitlines() if "time=" in line]
        if done.returncode == 0 and answers:
            return answers[0].partition("time=")[2]
        if time.monotonic() > deadline:
            raise DemoError(f"the guest does not answer a ping at {GUEST_ADDRESS}: {done.stdout}{done.stderr}")


def look_around(stage: Stage, conn: libvirt.virConnect, node: Node) -> None:
    """What is on the node, and how it works."""
    stage.chapter("The node, as the API tells it")
    with stage.screen.step("listed domains, networks, pools, volumes and devices", log=node["nodedev"].log) as step:
        model, memory, cpus, mhz = conn.getInfo()[:4]
        table = tables.overview(conn)
        step.detail = f"on {conn.getHostname()}: {cpus} x {model} at {mhz} MHz, {memory} MiB"
    stage.screen.table(table)
    stage.chapter("The node, as its metrics tell it")
    with stage.screen.step("scraped /metrics of the four services") as step:
        texts = {name: daemon.metrics() for name, daemon in node.daemons.items()}
        step.detail = f"{sum(not line.startswith('#') for text in texts.values() for line in text.splitlines())} series"
    stage.screen.table(tables.machinery(texts))
    with stage.screen.step("the guest's own figures, collected every 10 s"):
        while not any("cpu_seconds" in line for line in tables.guest_series(texts["domain"], GUEST)):
            time.sleep(0.2)  # the step has a limit
            texts["domain"] = node["domain"].metrics()
    for line in tables.guest_series(texts["domain"], GUEST):
        stage.screen.note(line)


def kill_the_service(stage: Stage, broker: PrivateBroker, conn: libvirt.virConnect, node: Node,
                     domain: libvirt.virDomain) -> None:
    """kill -9 of virtbus-domain: the guest goes on, and is found again."""
    stage.chapter("kill -9 of virtbus-domain")
    screen, before = stage.screen, (domain.ID(), domain.UUIDString(), qemu_processes(stage.folder))
    pid = node["domain"].pid
    with screen.step("virtbus-domain killed") as step:
        node["domain"].kill()
        # A call in the very moment of a death still reaches the dead service's queue, and is lost with it.
        while f".{NODE}.domain." in broker.ctl("list_queues", "name"):
            time.sleep(0.1)
        step.detail = f"process {pid}"
    with screen.step("a call fails at once, and says why") as step:
        step.detail = failed_call(conn)
    with screen.step("QEMU runs on" + (", and the guest answers" if stage.network else "")) as step:
        if qemu_processes(stage.folder) != before[2]:
            raise DemoError("QEMU ended with its service")
        step.detail = f"process {before[2][0]}" + (f", {ping()}" if stage.network else "")
    with screen.step("virtbus-domain started again", log=node["domain"].log) as step:
        node["domain"].start()
        step.detail = f"process {node['domain'].pid}"
    with screen.step("the guest was found again", log=node["domain"].log) as step:
        found = conn.lookupByName(GUEST)
        after = (found.ID(), found.UUIDString(), qemu_processes(stage.folder))
        if after != before or not found.isActive():
            raise DemoError(f"before: id, UUID, process {before}; after: {after}, {tables.state_text(found)}")
        step.detail = f"{tables.state_text(found)}, same id {after[0]}, same UUID, same process {after[2][0]}"


def failed_call(conn: libvirt.virConnect) -> str:
    """The error of a call to a service that is not there, and how long it took to come."""
    began = time.monotonic()
    try:
        conn.listAllDomains()
    except libvirt.libvirtError as error:
        took = time.monotonic() - began
        if took > CALL_SECONDS / 2:
            raise DemoError(f"the error took {took:.1f} s to come: {error}") from None
        return f"{error} ({took * 1000:.0f} ms)"
    raise DemoError("a call was answered without its service")


def shut_down(stage: Stage, node: Node, domain: libvirt.virDomain, console: SerialConsole, events: EventFeed) -> None:
    """The power button, and the guest obeys."""
    stage.chapter("The guest shuts itself down")
    with stage.screen.step("power button pressed by ACPI; the guest obeyed and stopped", limit=70,
                           log=node["domain"].log) as step:
        domain.shutdown()
        console.wait(guest.POWER_BUTTON, 30, lambda: False)
        events.wait(GUEST, libvirt.VIR_DOMAIN_EVENT_STOPPED, 30)
        step.detail = tables.state_text(domain)
    if not events.seen(GUEST, libvirt.VIR_DOMAIN_EVENT_SHUTDOWN):
        raise DemoError("the guest stopped without saying that it shuts down")


def clean_up(stage: Stage, conn: libvirt.virConnect, node: Node, domain: libvirt.virDomain, events: EventFeed) -> None:
    """Take away through the API what was made through it."""
    stage.chapter("Cleaning up")
    with stage.screen.step("domain undefined", log=node["domain"].log):
        domain.undefine()
        events.wait(GUEST, libvirt.VIR_DOMAIN_EVENT_UNDEFINED, 5)
    with stage.screen.step("volume deleted, pool stopped and undefined", log=node["storage"].log):
        pool = conn.storagePoolLookupByName("demo-pool")
        pool.storageVolLookupByName("demo-disk.qcow2").delete()
        pool.destroy()
        pool.undefine()
    if stage.network:
        with stage.screen.step("network stopped and undefined", log=node["network"].log):
            network = conn.networkLookupByName("demo-net")
            network.destroy()
            network.undefine()
    left = len(conn.listAllDomains()) + len(conn.listAllNetworks()) + len(conn.listAllStoragePools())
    if left or qemu_processes(stage.folder):
        raise DemoError(f"left over: {left} objects and {len(qemu_processes(stage.folder))} QEMU processes")


def summary(stage: Stage) -> int:
    """The last lines; the exit status."""
    stage.screen.summary(stage.outcome, stage.times, stage.began)
    return 0


if __name__ == "__main__":
    sys.exit(main())
