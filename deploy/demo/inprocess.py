"""The story without a broker: the same API on `test:///default`, a node of pretended guests inside this process.

It shows what that door can show: domains, networks, pools and volumes, their states, their events, and libvirt's
errors. What it cannot (a real guest, four processes, surviving a kill) is said and not pretended.
"""

from __future__ import annotations

from collections.abc import Callable

import virtbus as libvirt
from deploy.demo import tables
from deploy.demo.parts import EventFeed
from deploy.demo.screen import DemoError, Screen

URI = "test:///default"
VOLUME_XML = "<volume><name>demo</name><capacity unit='MiB'>64</capacity></volume>"


def tell(screen: Screen, chapter: Callable[[str], None]) -> None:
    """Show the in-process door."""
    screen.warn("Without a broker: no real guest, no services of their own. What follows is libvirt's test node,")
    screen.warn("inside this process. For all of it: apt-get install rabbitmq-server, then make demo")
    chapter("A node in this process")
    with screen.step(f"libvirt.open('{URI}')") as step:
        conn = libvirt.open(URI)
        step.detail = conn.getType()
    events = EventFeed(screen)
    events.register(conn)
    chapter("A domain stops and starts")
    domain = conn.lookupByName("test")
    with screen.step("domain 'test' stopped") as step:
        domain.destroy()
        events.wait("test", libvirt.VIR_DOMAIN_EVENT_STOPPED, 5)
        step.detail = tables.state_text(domain)
    with screen.step("domain 'test' started") as step:
        domain.create()
        events.wait("test", libvirt.VIR_DOMAIN_EVENT_STARTED, 5)
        step.detail = f"id {domain.ID()}, {tables.state_text(domain)}"
    with screen.step("what cannot be is a clear error") as step:
        try:
            domain.create()
        except libvirt.libvirtError as error:
            step.detail = f"{error} (code {error.get_error_code()})"
        else:
            raise DemoError("a running domain was started again")
    with screen.step("volume 'demo' created") as step:
        volume = conn.storagePoolLookupByName("default-pool").createXML(VOLUME_XML)
        step.detail = volume.path()
    screen.table(tables.overview(conn))
    conn.close()
