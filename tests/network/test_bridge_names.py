"""Names and addresses that the bridge driver chooses, without touching any link."""

from __future__ import annotations

import socket

import pytest

from virtbus_network.bridge import complete_bridge, interface_address
from virtbus_network.xml import Bridge, Ip, Network
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError


def network(bridge: str | None = None) -> Network:
    """A network that says nothing, or only its bridge."""
    return Network(name="lab", bridge=Bridge(name=bridge) if bridge else None)


def chosen(model: Network, *taken: str) -> str | None:
    """The bridge that is chosen."""
    complete_bridge(model, taken)
    assert model.bridge is not None
    return model.bridge.name


def test_first_free_name() -> None:
    """The lowest virbrN that neither a network nor a link of the host has."""
    there = {name for _, name in socket.if_nameindex()}
    free = [name for number in range(9) if (name := f"virbr{number}") not in there]
    assert chosen(network()) == free[0]
    assert chosen(network(), free[0], free[1]) == free[2]


def test_template() -> None:
    """A name with %d is a template of the user's own."""
    assert chosen(network("lab%d"), "lab0", "lab1") == "lab2"


def test_all_names_taken() -> None:
    """When no number is free, the error says so."""
    with pytest.raises(LibvirtError, match="Bridge generation exceeded max id 256"):
        complete_bridge(network(), [f"virbr{n}" for n in range(300)])


def test_name_of_another_network() -> None:
    """A bridge that another network is defined with is refused."""
    with pytest.raises(LibvirtError, match=r"bridge name 'br9' already in use\.") as caught:
        complete_bridge(network("br9"), ["br9"])
    assert caught.value.code == c.VIR_ERR_INTERNAL_ERROR


def test_mac_is_chosen_once() -> None:
    """A bridge gets a MAC address of QEMU's range, kept in the definition; one that is given stays."""
    model = network()
    complete_bridge(model, (), lambda n: bytes(range(n)))
    assert model.mac == "52:54:00:00:01:02"
    complete_bridge(model, ())
    assert model.mac == "52:54:00:00:01:02"


@pytest.mark.parametrize(("ip", "expected"), [
    (Ip(address="192.168.1.1", netmask="255.255.255.128"), "192.168.1.1/25"),
    (Ip(address="192.168.1.1", prefix=30), "192.168.1.1/30"),
    (Ip(address="10.1.1.1"), "10.1.1.1/8"), (Ip(address="172.16.0.1"), "172.16.0.1/16"),
    (Ip(address="192.168.1.1"), "192.168.1.1/24"), (Ip(address="fd00::1", family="ipv6"), "fd00::1/64"),
])
def test_network_of_an_address(ip: Ip, expected: str) -> None:
    """Netmask or prefix as given; without either, the address's old class, and /64 for IPv6."""
    assert str(interface_address(ip)) == expected
