"""Tap devices on a real bridge, in a network namespace of the test's own."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support.components import require_program
from tests.support.netns import NetworkNamespace

MAC = "52:54:00:12:34:56"


def run_inside(netns: NetworkNamespace, body: str, *arguments: str) -> str:
    """Run the body of a coroutine inside the namespace: links belong to a process, not to a call."""
    script = textwrap.dedent("""
        import asyncio, os, socket, subprocess, sys
        from virtbus_domain.drivers.qemu.tap import create_tap
        from virtbus_shared.errors import LibvirtError
        MAC = {mac!r}
        async def main():
        {body}
        asyncio.run(main())
    """).format(mac=MAC, body=textwrap.indent(textwrap.dedent(body), "    "))
    return netns.run([sys.executable, "-W", "error", "-c", script, *arguments])


@pytest.fixture
def bridge(netns: NetworkNamespace) -> NetworkNamespace:
    """The namespace, with a bridge br0 that has an unusual MTU."""
    netns.run(["ip", "link", "add", "br0", "mtu", "1400", "type", "bridge"])
    netns.run(["ip", "link", "set", "br0", "up"])
    return netns


def test_port_of_a_bridge(bridge: NetworkNamespace) -> None:
    """A tap is up, a port of its bridge, with the bridge's MTU and an address that the bridge will not take."""
    output = run_inside(bridge, """
        first = await create_tap(MAC, "br0")
        second = await create_tap(MAC, "br0")
        assert (first.name, second.name) == ("vnet0", "vnet1")
        assert not os.get_inheritable(first.fd)
        subprocess.run(["ip", "-json", "-details", "link", "show", first.name], check=True)
    """)
    [tap] = json.loads(output)
    assert (tap["master"], tap["mtu"], tap["address"]) == ("br0", 1400, "fe:54:00:12:34:56")
    assert "UP" in tap["flags"]
    assert tap["linkinfo"]["info_data"] | {"type": "tap", "pi": False, "vnet_hdr": True} == tap["linkinfo"]["info_data"]


def test_vanishes_with_its_holder(bridge: NetworkNamespace) -> None:
    """When the last holder of the descriptor is gone, so is the device."""
    run_inside(bridge, """
        await create_tap(MAC, "br0", "mine")
    """)
    assert {entry["ifname"] for entry in json.loads(bridge.run(["ip", "-json", "link"]))} == {"lo", "br0"}


def test_held_by_qemu(bridge: NetworkNamespace, tmp_path: Path) -> None:
    """QEMU that was given the descriptor keeps the device when our copy is closed, as by our death, until it ends."""
    output = run_inside(bridge, """
        from pathlib import Path
        from virtbus_domain.drivers.qemu.discovery import GuestPaths
        from virtbus_domain.drivers.qemu.monitor import listen
        from virtbus_domain.drivers.qemu.process import launch
        emulator, run_dir = sys.argv[1:]
        paths = GuestPaths(Path(run_dir), 1, "6f1b3a52-9f0e-4a55-8f2c-0d3f5e4a7b10")
        paths.create()
        listener = listen(paths.monitor)
        tap = await create_tap(MAC, "br0")
        process, monitor = await launch(
            [emulator, "-machine", "q35,accel=tcg", "-nodefaults", "-display", "none", "-S",
             "-chardev", f"socket,id=m,fd={listener.fileno()},server=on,wait=off", "-mon", "chardev=m,mode=control",
             "-netdev", f'{{"type":"tap","fd":"{tap.fd}","id":"n"}}',
             "-device", '{"driver":"virtio-net-pci","netdev":"n","mac":"%s"}' % MAC], paths, listener, [tap.fd])
        os.close(tap.fd)
        [card] = await monitor.execute("query-rx-filter")
        print(card["main-mac"], tap.name in [name for _, name in socket.if_nameindex()])
        await process.kill()
        await monitor.closed.wait()
        print(tap.name in [name for _, name in socket.if_nameindex()])
    """, str(require_program("qemu-system-x86_64")), str(tmp_path))
    assert output.split() == [MAC, "True", "False"]


def test_without_a_bridge(netns: NetworkNamespace) -> None:
    """For an interface of type ethernet there is only the device."""
    output = run_inside(netns, """
        tap = await create_tap(MAC, None, "mine")
        subprocess.run(["ip", "-json", "link", "show", tap.name], check=True)
    """)
    [tap] = json.loads(output)
    assert tap["ifname"] == "mine"
    assert "master" not in tap


@pytest.mark.parametrize(("bridge_name", "name", "message"), [
    ("missing", None, "Cannot get interface MTU on 'missing': No such device"),
    ("lo", None, "Unable to add bridge lo port vnet0: Invalid argument"),
    ("br0", "a" * 16, f"Unable to create tap device {'a' * 16}: File name too long"),
    ("br0", "lo", "Unable to create tap device lo: Invalid argument"),
    ("br0", "a/b", "Unable to create tap device a/b: Invalid argument"),
])
def test_refused(bridge: NetworkNamespace, bridge_name: str, name: str | None, message: str) -> None:
    """What the kernel refuses is libvirt's system error with its words, and no device or descriptor is left."""
    output = run_inside(bridge, f"""
        before = os.listdir("/proc/self/fd")
        try:
            await create_tap(MAC, {bridge_name!r}, {name!r})
        except LibvirtError as error:
            print(error.code, error.message)
        assert os.listdir("/proc/self/fd") == before
        assert {{name for _, name in socket.if_nameindex()}} == {{"lo", "br0"}}
    """)
    assert output.strip() == f"38 {message}"


def test_name_in_use(bridge: NetworkNamespace) -> None:
    """A name that another guest's tap has is refused, not shared."""
    output = run_inside(bridge, """
        await create_tap(MAC, "br0", "mine")
        try:
            await create_tap(MAC, "br0", "mine")
        except LibvirtError as error:
            print(error.message)
    """)
    assert output.strip() == "Unable to create tap device mine: Device or resource busy"


def test_no_tun_module(netns: NetworkNamespace) -> None:
    """Without /dev/net/tun the error asks for the module, as libvirt's does."""
    script = "mount -t tmpfs none /dev/net && exec \"$@\""
    done = subprocess.run(
        netns.command(["unshare", "-m", "sh", "-c", script, "sh", sys.executable, "-c", textwrap.dedent("""
            import asyncio
            from virtbus_domain.drivers.qemu.tap import create_tap
            asyncio.run(create_tap("52:54:00:12:34:56", None))
        """)]), capture_output=True, text=True, check=False, timeout=60)
    assert "Unable to open /dev/net/tun, is tun module loaded?: No such file or directory" in done.stderr
