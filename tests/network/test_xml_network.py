"""The network document: completed and refused as libvirt's test driver does."""

from __future__ import annotations

import re

import pytest

from tests.support.oracle import answers
from virtbus_network.xml import complete_network, format_network, parse_network
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError


def _network(body: str, attributes: str = "") -> str:
    return f"<network{attributes}><name>x</name>{body}</network>"


IP = "<ip address='10.0.0.1' netmask='255.255.255.0'/>"


def _dhcp(content: str) -> str:
    return _network(f"<ip address='10.0.0.1' netmask='255.255.255.0'><dhcp>{content}</dhcp></ip>")


ACCEPTED = {
    "least": _network(""),
    "uuid": _network("<uuid>81ff0d90c91e67426 4da4a736edb9a9b</uuid>".replace(" ", "")),
    "nat": _network(f"<forward/>{IP}"),
    "nat by a device": _network(f"<forward mode='nat' dev='eth0'/>{IP}"),
    "nat ports": _network(f"<forward mode='nat'><nat><port start='1024' end='65535'/></nat></forward>{IP}"),
    "route": _network(f"<bridge name='virbr1' zone='z'/><forward dev='e1' mode='route'/>{IP}"),
    "open": _network(f"<forward mode='open'/><domain name='newdom'/>{IP}"),
    "host bridge": _network("<forward mode='bridge'/><bridge name='br0'/>"),
    "macvtap": _network("<forward dev='eth0' mode='passthrough'/>"),
    "hostdev": _network("<forward mode='hostdev' managed='yes'><pf dev='eth3'/></forward>"),
    "bridge": _network("<bridge name='br0' stp='off' delay='3' zone='home' macTableManager='libvirt'/>"),
    "odd stp": _network("<bridge name='br0' stp='foo'/>"),
    "identity": _network("<mac address='52:54:0:0:A:1'/><mtu size='9000'/><domain name='a.b' localOnly='yes'/>",
                         " ipv6='yes'"),
    "addresses": _network("<ip address='10.0.0.1'/><ip family='ipv6' address='fd00::1' prefix='64'/>"
                          "<ip family='ipv4' address='10.1.0.1' prefix='16' localPtr='yes'/>"),
    "dhcp": _network("<ip netmask='255.255.255.0' address='10.0.0.1'><dhcp><bootp file='x' server='10.0.0.4'/>"
                     "<host ip='10.0.0.3' name='a' mac='52:54:00:00:00:01'/>"
                     "<range start='10.0.0.2' end='10.0.0.9'><lease expiry='0'/></range></dhcp><tftp root='/a'/></ip>"),
    "dns": _network(f"<dns><forwarder addr='8.8.8.8'/><host ip='10.0.0.1'><hostname>q</hostname></host></dns>{IP}"
                    "<route address='10.1.0.0' prefix='16' gateway='10.0.0.2'/>"),
    "port groups": _network("<forward mode='bridge'/><virtualport type='openvswitch'/>"
                            "<portgroup name='bob' default='yes'><vlan trunk='yes'><tag id='666'/></vlan></portgroup>"),
    "metadata": _network("<forward mode='bridge'/><metadata><a xmlns='urn:a'>t</a></metadata>"),
}

REFUSED = [
    "", "<network", "<net/>", "<network/>", "<network><name>a/b</name></network>",
    *map(_network, (
        "<uuid>zz</uuid>", "<forward/>", "<forward mode='route'/>", "<forward mode='foo'/>",
        "<bridge name='b' delay='x'/>", "<mac address='zz'/>", "<ip/>", "<ip address='foo'/>",
        "<ip address='10.0.0.1' prefix='99'/>", "<ip family='ipv5' address='10.0.0.1' prefix='24'/>",
        "<ip address='fd00::1' prefix='64'/>")),
    *map(_dhcp, (
        "<range start='10.0.0.9' end='10.0.0.2'/>", "<range start='10.0.1.2' end='10.0.1.9'/>",
        "<range start='10.0.0.2'/>", "<host mac='zz' ip='10.0.0.3'/>")),
]


@pytest.mark.parametrize("case", ACCEPTED)
def test_definition_is_completed_as_by_libvirt(case: str) -> None:
    """Parsed, completed and written, the document is libvirt's, and defining it again changes nothing."""
    document = ACCEPTED[case]
    network = parse_network(document)
    complete_network(network)
    ours = format_network(network)
    theirs = answers("network", list(ACCEPTED.values()))[list(ACCEPTED).index(case)]
    assert isinstance(theirs, str)
    uuid = "<uuid>.*</uuid>" if "<uuid>" not in document else "no uuid to replace"
    assert re.sub(uuid, "*", ours) == re.sub(uuid, "*", theirs)
    again = parse_network(ours)
    complete_network(again)
    assert format_network(again) == ours


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_refusal_is_libvirts(number: int) -> None:
    """Error number, domain and message are libvirt's, apart from the path that ours adds."""
    with pytest.raises(LibvirtError) as refused:
        parse_network(REFUSED[number])
    message = re.sub(r" \(at /network[^)]*\)$", "", refused.value.message)
    assert (refused.value.code, refused.value.domain, message) == answers("network", REFUSED)[number]


def test_connections_show_on_a_running_network_only() -> None:
    """The counts of guests belong to the live document."""
    network = parse_network(_network("<forward dev='e0' mode='vepa'><interface dev='e0' connections='2'/></forward>",
                                     " connections='2'"))
    assert "connections" not in format_network(network)
    assert format_network(network, live=True).count("connections='2'") == 2


@pytest.mark.parametrize(("written", "expected"), [
    ("netmask='255.255.254.0'", "10.0.0.1/23"), ("prefix='8'", "10.0.0.1/8"), ("", None)])
def test_address_and_length_together(written: str, expected: str | None) -> None:
    """A bridge's address is usable as one value, however the user wrote its length."""
    interface = parse_network(_network(f"<ip address='10.0.0.1' {written}/>")).ips[0].interface
    assert (None if interface is None else str(interface)) == expected


def test_errors_belong_to_the_network_part() -> None:
    """A netmask that is none is refused in the network's own error domain."""
    with pytest.raises(LibvirtError) as refused:
        parse_network(_network("<ip address='10.0.0.1' netmask='255.0.255.0'/>"))
    assert refused.value.domain == c.VIR_FROM_NETWORK
