"""One domain hangs for ever in its driver; what others feel of it.

A test domain is started whose driver never returns. While that call is pending, the list, the XML of the hung domain
and the start and stop of others are timed, through the broker.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

import virtbus
from tests.bench.figures import Figure, milliseconds
from tests.support.processes import Daemon

XML = """<domain type='test'><name>{0}</name><memory>65536</memory><os><type>hvm</type></os><metadata>{1}</metadata>
</domain>"""
HANGS = "<fault xmlns='urn:virtbus:test' operation='create' kind='hang'/>"


def run(broker: str, folder: Path, rounds: int) -> list[Figure]:
    """Hang one, time the rest."""
    daemon = Daemon("domain", node="bench", broker=broker, folder=folder)
    daemon.start()
    virtbus.registerErrorHandler(lambda *_: None, None)  # the hung call fails at the end, and nobody needs to be told
    try:
        connection = virtbus.open(f"test+amqp://bench/default?broker={broker}")
        hung = connection.defineXML(XML.format("hung", HANGS))
        other = connection.defineXML(XML.format("other", ""))
        threading.Thread(target=_start_in_vain, args=(hung,), daemon=True).start()
        while not _holds_its_turn(daemon):
            time.sleep(0.01)
        slowest = dict.fromkeys(("list", "dumpxml", "start", "stop"), 0.0)
        for _ in range(max(50, rounds)):
            for name, action in (("list", connection.listAllDomains), ("dumpxml", hung.XMLDesc),
                                 ("start", other.create), ("stop", other.destroy)):
                began = time.perf_counter()
                action()
                slowest[name] = max(slowest[name], time.perf_counter() - began)
    finally:
        daemon.kill()
    return [Figure("hung", f"{name} while another domain hangs: slowest", milliseconds(seconds), "", seconds,
                   "<= 0.1 s") for name, seconds in slowest.items()]


def _start_in_vain(domain: virtbus.virDomain) -> None:
    try:
        domain.create()
    except virtbus.libvirtError:
        return


def _holds_its_turn(daemon: Daemon) -> bool:
    return "virtbus_rpc_in_flight{service=\"domain\"} 1.0" in daemon.metrics()
