"""The host's ends of cards: real devices in a network namespace, real guests on them, and what is left afterwards."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support.components import require_program
from tests.support.live_guest import x86_capabilities
from tests.support.netns import NetworkNamespace

ROOT = Path(__file__).parents[2]
MAC = "52:54:00:12:34:56"


@pytest.fixture
def network(netns: NetworkNamespace) -> NetworkNamespace:
    """The namespace, with a bridge br0 and a card card0 whose other end nobody uses."""
    require_program("qemu-system-x86_64")
    netns.run(["ip", "link", "add", "br0", "up", "type", "bridge"])
    netns.run(["ip", "link", "add", "card0", "up", "type", "veth", "peer", "name", "far0"])
    netns.run(["ip", "link", "set", "far0", "up"])
    return netns


def run_guest(netns: NetworkNamespace, run_dir: Path, cards: str, body: str) -> str:
    """Run the body of a coroutine in the namespace while a guest with these cards runs; what it prints."""
    script = textwrap.dedent("""
        import asyncio, os, pickle, subprocess, sys
        from pathlib import Path
        sys.path.insert(0, {root!r})
        from tests.support.live_guest import domain_of, live_guest
        from virtbus_domain.drivers.qemu.clearing import clear_after, clear_after_all
        from virtbus_domain.xml import format_domain
        from virtbus_shared.errors import LibvirtError

        def links():
            sys.stdout.flush()
            subprocess.run(["ip", "-json", "-details", "link"], check=True)

        capabilities = pickle.load(sys.stdin.buffer)
        domain = domain_of(capabilities, {cards!r})
        run_dir = Path({run_dir!r})

        async def main():
            async with live_guest(domain, capabilities, run_dir) as guest:
                [card] = guest.devices.interfaces
        {body}
            await clear_after(guest.guest.paths, run_dir)
            links()

        try:
            asyncio.run(main())
        except LibvirtError as error:
            print(error.code, error.domain, error.message)
    """).format(root=str(ROOT), run_dir=str(run_dir), cards=cards, body=textwrap.indent(textwrap.dedent(body), " " * 8))
    done = subprocess.run(netns.command([sys.executable, "-W", "error", "-c", script]), check=False, timeout=60,
                          input=pickle.dumps(x86_capabilities()), capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def card(kind: str, inner: str) -> str:
    """An interface with a virtio card."""
    return f"<interface type='{kind}'><mac address='{MAC}'/><model type='virtio'/>{inner}</interface>"


class TestMacvtap:
    """A card of the host with guests directly on it."""

    @pytest.mark.parametrize("mode", ["vepa", "bridge", "private", "passthrough"])
    def test_made_and_removed(self, network: NetworkNamespace, tmp_path: Path, mode: str) -> None:
        """The device has the guest's address and the mode, is known in the live document, and is gone after it. The
        host's card is then as it was, even where it had the guest's address meanwhile."""
        before = network.run(["cat", "/sys/class/net/card0/address"])
        during, after = run_guest(network, tmp_path, card("direct", f"<source dev='card0' mode='{mode}'/>"), """
            [filter] = await guest.ask("query-rx-filter")
            assert (card.target_dev, filter["main-mac"]) == ("macvtap0", card.mac)
            assert "<target dev='macvtap0'/>" in format_domain(domain, live=True)
            assert "macvtap" not in format_domain(domain, live=False)
            links()
        """).splitlines()
        [device] = [link for link in json.loads(during) if link["ifname"] == "macvtap0"]
        info = device["linkinfo"]
        assert (info["info_kind"], info["info_data"]["mode"].partition(" ")[0]) == (
            "macvtap", {"passthrough": "passthru"}.get(mode, mode))
        assert (device["address"], device["link"], "UP" in device["flags"]) == (MAC, "card0", True)
        assert {link["ifname"] for link in json.loads(after)} == {"lo", "br0", "card0", "far0"}
        assert network.run(["cat", "/sys/class/net/card0/address"]) == before

    def test_several_queues(self, network: NetworkNamespace, tmp_path: Path) -> None:
        """A card with queues has as many open files."""
        run_guest(network, tmp_path, card("direct", "<source dev='card0'/><target dev='mine'/><driver queues='3'/>"
                                          "<mtu size='1400'/>"), """
            assert card.target_dev == "mine"
            opened = [os.readlink(f"/proc/{guest.guest.process.pid}/fd/{fd}")
                      for fd in os.listdir(f"/proc/{guest.guest.process.pid}/fd")]
            assert sum(path.startswith("/dev/tap") for path in opened) == 3
            assert Path("/sys/class/net/mine/mtu").read_text() == "1400\\n"
        """)

    def test_swept_when_nobody_was_there(self, network: NetworkNamespace, tmp_path: Path) -> None:
        """A service that starts removes the devices of guests whose directories are gone, and no others."""
        during, after, _ = run_guest(network, tmp_path, card("direct", "<source dev='card0' mode='bridge'/>"), """
            for name, alias in (("gone", f"{run_dir}/qemu/9-gone"), ("other", "/elsewhere/qemu/9-gone")):
                for words in (["add", "link", "card0", "name", name, "type", "macvtap", "mode", "bridge"],
                              ["set", name, "alias", f"virtbus: {alias}"]):
                    subprocess.run(["ip", "link", *words], check=True)
            links()
            await clear_after_all(run_dir, run_dir)
            links()
        """).splitlines()
        names = [{link["ifname"] for link in json.loads(text)} for text in (during, after)]
        assert names[0] - names[1] == {"gone"}
        assert {"macvtap0", "other"} <= names[1]

    def test_refused(self, network: NetworkNamespace, tmp_path: Path) -> None:
        """A card that is not there is named; a name that is taken is refused, and nothing is left."""
        said = run_guest(network, tmp_path, card("direct", "<source dev='nowhere'/>"), "")
        assert said.strip() == "38 0 Unable to get index for interface nowhere: No such device"
        said = run_guest(network, tmp_path, card("direct", "<source dev='card0'/><target dev='br0'/>"), "")
        assert said.strip() == "38 0 error creating macvtap interface br0: File exists"
        assert not (tmp_path / "qemu" / "1-6f1b3a52-9f0e-4a55-8f2c-0d3f5e4a7b10").exists()

    def test_start_fails(self, network: NetworkNamespace, tmp_path: Path) -> None:
        """What fails after the device was made takes it along."""
        said = run_guest(network, tmp_path, card("direct", "<source dev='card0'/>")
                         + "<serial type='file'><source path='/nowhere/at/all'/></serial>", "")
        assert "No such file or directory" in said
        assert "macvtap" not in network.run(["ip", "link"])


class TestTap:
    """Devices on bridges, or made by somebody else."""

    def test_several_queues(self, network: NetworkNamespace, tmp_path: Path) -> None:
        """A virtio card's queues are those of the device; another model has one whatever is said."""
        cards = card("bridge", "<source bridge='br0'/><driver queues='2'/><mtu size='1300'/>")
        during, after = run_guest(network, tmp_path, cards, """
            assert await guest.ask("qom-get", {"path": "/machine/peripheral/net0", "property": "mq"}) is True
            links()
        """).splitlines()
        [device] = [link for link in json.loads(during) if link["ifname"] == "vnet0"]
        assert device["linkinfo"]["info_data"]["multi_queue"] is True
        assert (device["master"], device["mtu"]) == ("br0", 1300)
        assert {link["ifname"] for link in json.loads(after)} == {"lo", "br0", "card0", "far0"}
        one = cards.replace("'virtio'", "'e1000e'")
        during, _ = run_guest(network, tmp_path / "second", one, "links()").splitlines()
        [device] = [link for link in json.loads(during) if link["ifname"] == "vnet0"]
        assert not device["linkinfo"]["info_data"]["multi_queue"]

    def test_of_a_network(self, network: NetworkNamespace, tmp_path: Path) -> None:
        """A network's bridge is asked for; as long as nobody can be asked the refusal says so."""
        cards = card("network", "<source network='default' bridge='lie'/>")
        said = run_guest(network, tmp_path, cards, "")
        assert said.strip() == ("67 10 unsupported configuration: the bridge of network 'default' is not known: the "
                                "network service cannot be asked yet")

    def test_made_by_somebody_else(self, network: NetworkNamespace, tmp_path: Path) -> None:
        """A device that is not managed is used as it is, and stays."""
        subprocess.run(network.command(["ip", "tuntap", "add", "theirs", "mode", "tap", "vnet_hdr"]), check=True)
        # The kernel's own choice begins with fe, like ours, once in 64 times.
        subprocess.run(network.command(["ip", "link", "set", "theirs", "address", "52:54:00:00:00:01"]), check=True)
        during, after = run_guest(network, tmp_path, card("ethernet", "<target dev='theirs' managed='no'/>"), """
            assert card.target_dev == "theirs"
            links()
        """).splitlines()
        states = []
        for text in (during, after):
            [device] = [link for link in json.loads(text) if link["ifname"] == "theirs"]
            states.append(("UP" in device["flags"], device["address"][:2] == "fe"))
        assert states == [(False, False)] * 2

    @pytest.mark.parametrize(("target", "detail"), [
        ("<target managed='no'/>", "target dev must be supplied when managed='no'"),
        ("<target dev='none' managed='no'/>", "target managed='no' but specified dev doesn't exist")])
    def test_nobody_made_it(self, network: NetworkNamespace, tmp_path: Path, target: str, detail: str) -> None:
        """Where there is none, libvirt's words."""
        assert run_guest(network, tmp_path, card("ethernet", target), "").strip() == f"1 10 internal error: {detail}"

    def test_other_device_file(self, network: NetworkNamespace, tmp_path: Path) -> None:
        """The file by which devices are made may be another one."""
        said = run_guest(network, tmp_path, card("bridge", "<source bridge='br0'/><backend tap='/dev/nowhere'/>"), "")
        assert said.strip() == "38 0 Unable to open /dev/nowhere, is tun module loaded?: No such file or directory"
