"""Which way traffic counts: what a guest sends through its tap is the guest's transmit counter."""

from __future__ import annotations

import json
import sys
import textwrap

from tests.support.netns import NetworkNamespace

SCRIPT = textwrap.dedent("""
    import asyncio, json, os, socket
    from dataclasses import asdict
    from virtbus_domain.drivers.qemu.statistics import interfaces
    from virtbus_domain.drivers.qemu.tap import create_tap
    from virtbus_domain.statistics import InterfaceShape
    async def main():
        tap = await create_tap("52:54:00:12:34:56", "br0")
        header = bytes(10)  # virtio's, before each frame
        for _ in range(100):
            os.write(tap.fd, header + b"\\xff" * 6 + bytes.fromhex("525400123456") + b"\\x88\\xb5" + bytes(986))
        host = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        host.bind((tap.name, 0))
        for _ in range(7):
            host.send(b"\\xff" * 6 + bytes(6) + b"\\x88\\xb5" + bytes(186))
            os.read(tap.fd, 4096)
        shapes = [InterfaceShape(kind, "", "", kind, "", tap.name) for kind in ("bridge", "direct", "user")]
        shapes.append(InterfaceShape("gone", "", "", "bridge", "", "vnet99"))
        print(json.dumps({name: asdict(found) for name, found in interfaces(shapes).items()}))
    asyncio.run(main())
""")


def test_direction(netns: NetworkNamespace) -> None:
    """A hundred frames that a guest sends, and seven that it gets, count so; a macvtap's device counts the other way.

    A card without a device on the host, or whose device is gone, has no counters at all.
    """
    netns.run(["sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1"])
    netns.run(["ip", "link", "add", "br0", "type", "bridge", "mcast_snooping", "0"])
    netns.run(["ip", "link", "set", "br0", "up"])
    found = json.loads(netns.run([sys.executable, "-W", "error", "-c", SCRIPT]))
    assert found.keys() == {"bridge", "direct"}
    sent = {"bytes": 100 * 1000, "packets": 100, "errors": 0, "drops": 0}
    got = {"bytes": 7 * 200, "packets": 7, "errors": 0, "drops": 0}
    assert found["bridge"] == {"receive": got, "transmit": sent}
    assert found["direct"] == {"receive": sent, "transmit": got}
