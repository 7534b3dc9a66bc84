"""Devices that come and go while somebody watches: real interfaces in a network namespace."""

from __future__ import annotations

from tests.support.netns import NetworkNamespace
from tests.support.nodedev_run import run_inside

WATCH = """
    table, seen = DeviceTable(), asyncio.Queue()
    monitor = DeviceMonitor(this_host(), table, lambda action, device: seen.put_nowait((action, device.name)))
    await monitor.start()
    async def until(*wanted):
        missing = set(wanted)
        async with asyncio.timeout(20):
            while missing:
                missing.discard(await seen.get())
    def ip(*words):
        subprocess.run(["ip", *words], check=True)
"""


def test_add_and_remove(netns: NetworkNamespace) -> None:
    """A veth pair that is made and deleted is told as added and removed, and the table follows."""
    run_inside(netns, WATCH + """
    assert "net_lo_00_00_00_00_00_00" in table.devices and seen.empty()
    ip("link", "add", "va", "address", "52:54:00:00:00:0a", "type", "veth",
       "peer", "vb", "address", "52:54:00:00:00:0b")
    await until(("add", "net_va_52_54_00_00_00_0a"), ("add", "net_vb_52_54_00_00_00_0b"))
    assert table.devices["net_va_52_54_00_00_00_0a"].parent == "computer"
    ip("link", "delete", "va")
    await until(("remove", "net_va_52_54_00_00_00_0a"), ("remove", "net_vb_52_54_00_00_00_0b"))
    assert not [name for name in table.devices if name.startswith("net_v")]
    await monitor.stop()
    """)


def test_rename(netns: NetworkNamespace) -> None:
    """A renamed interface is one that goes and one that comes."""
    netns.run(["ip", "link", "add", "va", "address", "52:54:00:00:00:0a", "type", "veth", "peer", "vb"])
    run_inside(netns, WATCH + """
    ip("link", "set", "va", "name", "wide")
    await until(("remove", "net_va_52_54_00_00_00_0a"), ("add", "net_wide_52_54_00_00_00_0a"))
    assert "net_va_52_54_00_00_00_0a" not in table.devices
    await monitor.stop()
    """)


def test_current_state_is_read_when_asked(netns: NetworkNamespace) -> None:
    """A link that goes up makes no event, yet whoever asks for the device sees it up."""
    netns.run(["ip", "link", "add", "va", "address", "52:54:00:00:00:0a", "type", "veth", "peer", "vb"])
    run_inside(netns, WATCH + """
    assert table.current("net_va_52_54_00_00_00_0a").capability.link_state == "down"
    ip("link", "set", "va", "up")
    ip("link", "set", "vb", "up")
    assert table.current("net_va_52_54_00_00_00_0a").capability.link_state == "up"
    assert table.current("net_none") is None
    await monitor.stop()
    """)


def test_lost_events_are_made_up_for(netns: NetworkNamespace) -> None:
    """When more happens than the kernel keeps for us, a new look tells every device that came."""
    run_inside(netns, WATCH + """
    monitor._monitor.set_receive_buffer_size(1)  # the smallest that the kernel allows; libudev asks for 128 MiB
    lines = "".join(f"link add x{i} address 52:54:00:00:01:{i:02x} type veth peer y{i}\\n" for i in range(250))
    subprocess.run(["ip", "-batch", "-"], input=lines, text=True, check=True)  # the loop stands still meanwhile
    await until(*(("add", f"net_x{i}_52_54_00_00_01_{i:02x}") for i in range(250)))
    assert monitor._scan is not None  # so events were lost indeed
    ip("link", "delete", "x7")
    await until(("remove", "net_x7_52_54_00_00_01_07"))
    await monitor.stop()
    """)
