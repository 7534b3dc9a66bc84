"""Isolated networks on real bridges, each test in a network namespace of its own."""

from __future__ import annotations

import json
import sys
import textwrap

import pytest

from tests.support.components import require_program
from tests.support.netns import NetworkNamespace, network_namespace

MAC = "52:54:00:aa:bb:01"
NETWORK = f"""
<network><name>lab</name><uuid>11111111-2222-3333-4444-555555555555</uuid>
  <bridge name='virbr5' stp='off'/><mac address='{MAC}'/><mtu size='1400'/>
  <ip address='192.168.77.1' netmask='255.255.255.0'/><ip family='ipv6' address='fd00:77::1' prefix='64'/>
</network>"""


def run_inside(netns: NetworkNamespace, body: str, xml: str = NETWORK) -> str:
    """Run the body of a coroutine inside the namespace, with ``model`` of a document; what it printed."""
    script = textwrap.dedent("""
        import asyncio, subprocess
        from virtbus_network.bridge import (check_supported, complete_bridge, create_bridge, destroy_bridge,
                                            find_bridge)
        from virtbus_network.xml import complete_network, parse_network
        from virtbus_shared.errors import LibvirtError
        def load(xml):
            model = parse_network(xml)
            complete_network(model)
            check_supported(model)
            complete_bridge(model, ())
            return model
        async def main():
            model = load({xml!r})
        {body}
        asyncio.run(main())
    """).format(xml=xml, body=textwrap.indent(textwrap.dedent(body), "    "))
    return netns.run([sys.executable, "-W", "error", "-c", script])


def link(netns: NetworkNamespace, name: str) -> dict[str, object]:
    """What iproute2 says of a link and its addresses."""
    [found] = [one for one in json.loads(netns.run(["ip", "-json", "-details", "addr", "show", name])) if one]
    assert isinstance(found, dict)
    return found


def links(netns: NetworkNamespace) -> list[str]:
    """The names of all links but lo."""
    return sorted(one["ifname"] for one in json.loads(netns.run(["ip", "-json", "link"])) if one["ifname"] != "lo")


def failure(netns: NetworkNamespace, xml: str) -> list[str]:
    """The number and text of the error that starting this network gives."""
    return run_inside(netns, """
        try:
            await create_bridge(model)
        except LibvirtError as e:
            print(e.code, e.message, sep="\\n")
    """, xml).splitlines()


def test_bridge_is_as_described(netns: NetworkNamespace) -> None:
    """Name, MAC, MTU, STP, addresses with broadcast, and the state up are those of the document."""
    run_inside(netns, "await create_bridge(model)")
    found = link(netns, "virbr5")
    assert (found["address"], found["mtu"], found["ifalias"]) == (
        MAC, 1400, "virtbus network 11111111-2222-3333-4444-555555555555")
    flags, info, addresses = found["flags"], found["linkinfo"], found["addr_info"]
    assert isinstance(flags, list)
    assert isinstance(info, dict)
    assert isinstance(addresses, list)
    assert "UP" in flags
    assert (info["info_kind"], info["info_data"]["stp_state"]) == ("bridge", 0)
    assert [(a["local"], a["prefixlen"], a.get("broadcast")) for a in addresses if a["scope"] == "global"] == [
        ("192.168.77.1", 24, "192.168.77.255"), ("fd00:77::1", 64, None)]


def test_ipv6_settings(netns: NetworkNamespace) -> None:
    """No guest's router advertisement is believed; without an IPv6 address there is no IPv6; forwarding is not ours."""
    netns.run(["sysctl", "-qw", "net.ipv4.ip_forward=0", "net.ipv6.conf.default.accept_ra=1"])
    run_inside(netns, "await create_bridge(model)")
    run_inside(netns, "await create_bridge(model)", "<network><name>b</name><bridge name='virbr6'/></network>")
    keys = [f"net.ipv6.conf.virbr{n}.{key}" for n in (5, 6) for key in ("accept_ra", "autoconf", "disable_ipv6")]
    assert netns.run(["sysctl", "-n", *keys]).split() == ["0", "0", "0", "0", "0", "1"]
    assert netns.run(["sysctl", "-n", "net.ipv4.ip_forward"]).strip() == "0"


def test_guests_reach_each_other_and_the_host(netns: NetworkNamespace) -> None:
    """Two machines on veths of the bridge ping each other and the bridge's address, by IPv4 and IPv6."""
    busybox = str(require_program("busybox"))
    run_inside(netns, "await create_bridge(model)")
    with network_namespace() as one, network_namespace() as two:
        for number, guest in enumerate((one, two), 2):
            netns.run(["ip", "link", "add", f"tap{number}", "master", "virbr5", "type", "veth",
                       "peer", "name", "eth0", "netns", guest.name])
            netns.run(["ip", "link", "set", f"tap{number}", "up"])
            guest.run(["ip", "addr", "add", f"192.168.77.{number}/24", "dev", "eth0"])
            guest.run(["ip", "addr", "add", f"fd00:77::{number}/64", "dev", "eth0", "nodad"])
            guest.run(["ip", "link", "set", "eth0", "up"])
        one.run([busybox, "ping", "-c", "1", "-W", "10", "192.168.77.3"])
        one.run([busybox, "ping", "-c", "1", "-W", "10", "192.168.77.1"])
        two.run([busybox, "ping", "-c", "3", "-W", "10", "fd00:77::2"])
        assert link(netns, "virbr5")["address"] == MAC


def test_destroy_and_start_again(netns: NetworkNamespace) -> None:
    """Destroying removes the bridge and can be repeated; the network can then be started again."""
    run_inside(netns, """
        for _ in range(2):
            assert not await find_bridge(model)
            await create_bridge(model)
            assert await find_bridge(model)
            await destroy_bridge(model)
            await destroy_bridge(model)
    """)
    assert links(netns) == []


def test_found_by_another_process(netns: NetworkNamespace) -> None:
    """A service that comes back finds the bridge by looking, and no other network takes it for its own."""
    run_inside(netns, "await create_bridge(model)")
    run_inside(netns, "assert await find_bridge(model)")
    other = NETWORK.replace("11111111", "99999999")
    run_inside(netns, "assert not await find_bridge(model); await destroy_bridge(model)", other)
    assert links(netns) == ["virbr5"]


@pytest.mark.parametrize("foreign", [["type", "bridge"], ["type", "veth", "peer", "other"]])
def test_foreign_link_of_the_name(netns: NetworkNamespace, foreign: list[str]) -> None:
    """A link of the name that is not ours is an error in libvirt's words, and stays as it is."""
    netns.run(["ip", "link", "add", "virbr5", *foreign])
    before = netns.run(["ip", "-d", "link", "show", "virbr5"])
    assert failure(netns, NETWORK) == ["38", "error creating bridge interface virbr5: File exists"]
    run_inside(netns, "await destroy_bridge(model)")
    assert netns.run(["ip", "-d", "link", "show", "virbr5"]) == before


def test_running_network_is_not_started_over(netns: NetworkNamespace) -> None:
    """A bridge that is complete is not made anew, since guests may be on it."""
    run_inside(netns, "await create_bridge(model)")
    index = link(netns, "virbr5")["ifindex"]
    assert failure(netns, NETWORK) == ["38", "error creating bridge interface virbr5: File exists"]
    assert link(netns, "virbr5")["ifindex"] == index


def test_left_unfinished_by_a_dead_service(netns: NetworkNamespace) -> None:
    """A bridge that a service was still making when it died is no running network, and is made anew."""
    netns.run(["ip", "link", "add", "virbr5", "address", MAC, "type", "bridge"])
    index = link(netns, "virbr5")["ifindex"]
    run_inside(netns, "assert not await find_bridge(model); await create_bridge(model)")
    assert link(netns, "virbr5")["ifindex"] != index


@pytest.mark.parametrize(("change", "error"), [
    (("'1400'", "'99999999'"), ["38", "Cannot set interface MTU on 'virbr5': Invalid argument"]),
    (("fd00:77::1", "ff02::1"), ["38", "Failed to add IP address ff02::1/64 to interface 'virbr5': "
                                       "Cannot assign requested address"]),
    ((MAC, "01:00:00:00:00:00"), None),
    (("'virbr5'", "'a/b'"), ["38", "error creating bridge interface a/b: Invalid argument"]),
    (("'virbr5'", "'..'"), ["38", "error creating bridge interface ..: Invalid argument"]),
    (("'virbr5'", "'abcdefghijklmnop'"),
     ["38", "error creating bridge interface abcdefghijklmnop: Numerical result out of range"]),
])
def test_failed_step_leaves_nothing(netns: NetworkNamespace, change: tuple[str, str], error: list[str] | None) -> None:
    """Whichever step the kernel refuses, its words are told and no link remains."""
    said = failure(netns, NETWORK.replace(*change))
    assert said[0] == "38"
    assert error is None or said == error
    assert links(netns) == []


def test_network_that_is_in_use_elsewhere(netns: NetworkNamespace) -> None:
    """A network that another interface of the host is in is refused, naming the interface."""
    netns.run(["ip", "link", "add", "uplink", "type", "veth", "peer", "far"])
    netns.run(["ip", "addr", "add", "192.168.77.200/24", "dev", "uplink"])
    assert failure(netns, NETWORK) == ["1", "internal error: Network is already in use by interface uplink"]
    assert links(netns) == ["far", "uplink"]


def test_cancelled_at_any_point(netns: NetworkNamespace) -> None:
    """However far a start has come when it is cancelled, either the whole network is there or nothing of it."""
    output = run_inside(netns, """
        for turns in range(60):
            task = asyncio.create_task(create_bridge(model))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            [done] = await asyncio.gather(task, return_exceptions=True)
            there = subprocess.run(["ip", "link", "show", "virbr5"], capture_output=True).returncode == 0
            assert there == await find_bridge(model) == (done is None), (turns, done)
            await destroy_bridge(model)
            print(done is None)
    """)
    assert "False" in output


@pytest.mark.parametrize(("extra", "named"), [
    ("<forward mode='nat'/>", "<forward mode='nat'>"), ("<forward mode='bridge'/>", "<forward mode='bridge'>"),
    ("<dns><host ip='192.168.77.2'><hostname>a</hostname></host></dns>", "<dns>"),
    ("<bandwidth><inbound average='1'/></bandwidth>", "<bandwidth>"),
    ("<route address='10.0.0.0' prefix='8' gateway='192.168.77.2'/>", "<route>"),
    ("<domain name='lab'/>", "<domain>"), ("<portgroup name='a'/>", "<portgroup>"),
    ("<ip address='192.168.78.1' prefix='24'><dhcp><range start='192.168.78.2' end='192.168.78.9'/></dhcp></ip>",
     "<dhcp>"),
])
def test_unsupported_elements(netns: NetworkNamespace, extra: str, named: str) -> None:
    """What this driver cannot do is refused with the element's name, never left out silently."""
    xml = NETWORK.replace("</network>", extra + "</network>")
    output = run_inside(netns, f"""
        try:
            load({xml!r})
        except LibvirtError as e:
            print(e.code, e.message, sep="\\n")
    """)
    assert output.splitlines() == ["67", f"unsupported configuration: {named} of network 'lab' is not supported by the "
                                         "bridge driver"]
