"""Figures of networks: a real bridge counts in the host's view."""

from __future__ import annotations

import json
import sys
import textwrap

from tests.support.netns import NetworkNamespace

SCRIPT = textwrap.dedent("""
    import json, socket
    from dataclasses import asdict
    from virtbus_network.statistics import bridge_statistics
    port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    port.bind(("v1", 0))
    host = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    host.bind(("br0", 0))
    frame = bytes.fromhex("ffffffffffff52540012345688b5") + bytes(86)
    for _ in range(5):
        port.send(frame)
    for _ in range(3):
        host.send(frame)
    assert bridge_statistics("gone") is None
    print(json.dumps(asdict(bridge_statistics("br0"))))
""")


def test_bridge(netns: NetworkNamespace) -> None:
    """Five frames come in through a port, three go out; a bridge that is not there has no counters."""
    netns.run(["sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1"])
    netns.run(["ip", "link", "add", "br0", "type", "bridge", "mcast_snooping", "0"])
    netns.run(["ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1"])
    netns.run(["ip", "link", "set", "v0", "master", "br0"])
    for link in ("br0", "v0", "v1"):
        netns.run(["ip", "link", "set", link, "up"])
    found = json.loads(netns.run([sys.executable, "-W", "error", "-c", SCRIPT]))
    assert found["receive"]["packets"] == 5
    assert found["transmit"] == {"bytes": 300, "packets": 3, "errors": 0, "drops": 0}
