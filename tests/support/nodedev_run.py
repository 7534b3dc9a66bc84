"""Runs a piece of the node device service inside a network namespace: links belong to a process, not to a call."""

from __future__ import annotations

import sys
import textwrap

from tests.support.netns import NetworkNamespace


def run_inside(netns: NetworkNamespace, body: str) -> str:
    """Run the body of a coroutine inside the namespace; what it printed."""
    script = textwrap.dedent("""
        import asyncio, subprocess
        from tests.support.this_host import this_host
        from virtbus_nodedev.udev import DeviceMonitor, DeviceTable, enumerate_devices
        async def main():
        {body}
        asyncio.run(main())
    """).format(body=textwrap.indent(textwrap.dedent(body), "    "))
    return netns.run([sys.executable, "-W", "error", "-c", script])
