"""deploy/compose.yaml keeps its promises: on paper everywhere, and in containers where a Docker engine answers.

A missing engine is a skip even with `CI=true`. What may never be skipped there is what virtbus is made of, a broker and
QEMU; containers are one way to run it, and nothing that `make test` installs brings an engine. On paper the file is
read as text, block by block, for no library of ours reads YAML; compose itself, where installed, reads it for real.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import virtbus
from tests.support.calls import guest_xml, until
from tests.support.components import require_program
from tests.support.ports import free_ports
from virtbus.presence import nodes
from virtbus_shared.service.settings import METRICS_PORTS

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "deploy/compose.yaml"
TARGETS = {f"node-a:{port}" for port in METRICS_PORTS.values()}
NETWORK = """
<network><name>lan</name><bridge name='virbr7'/><ip address='192.168.77.1' netmask='255.255.255.0'/>
<ip family='ipv6' address='fd00:77::1' prefix='64'/></network>"""
POOL = "<pool type='dir'><name>images</name><target><path>/var/lib/virtbus/images</path></target></pool>"
VOLUME = """
<volume><name>disk.qcow2</name><capacity unit='MiB'>64</capacity>
<target><format type='qcow2'/></target></volume>"""
DEVICES = """
<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{path}'/>
<target dev='vda' bus='virtio'/></disk>
<interface type='bridge'><source bridge='virbr7'/><model type='virtio'/></interface>"""

SEALED = """
<domain type='qemu'><name>sealed</name><memory unit='MiB'>128</memory>
<os firmware='efi'><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features>
<devices><tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm></devices></domain>"""


def blocks(text: str) -> dict[str, str]:
    """The services of the compose file by name, each as the text of its block."""
    services = re.split(r"^\w+:\n", text.partition("\nservices:\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    parts = re.split(r"^  ([\w-]+):\n", services, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def dockerfile(service: str) -> str:
    """The text of a service's Dockerfile."""
    return (ROOT / "services" / service / "Dockerfile").read_text()


def test_services_of_the_file() -> None:
    """The file has a broker, the holder of the node's network, the four services, and Prometheus; nothing else."""
    assert set(blocks(FILE.read_text())) == {"rabbitmq", "node-a", "prometheus", *METRICS_PORTS}


@pytest.mark.parametrize("service", ["rabbitmq", "node-a", "prometheus", *METRICS_PORTS])
def test_has_a_healthcheck(service: str) -> None:
    """Each container says whether it is healthy: by a check of its block, or of the image built for it."""
    block = blocks(FILE.read_text())[service]
    assert "    healthcheck:\n" in block or (service in METRICS_PORTS and "\nHEALTHCHECK " in dockerfile(service))


@pytest.mark.parametrize(("service", "port"), METRICS_PORTS.items())
def test_one_port_of_a_service_everywhere(service: str, port: int) -> None:
    """An image listens on, exposes and checks the port that the settings give the service by default."""
    text = dockerfile(service)
    assert f"VIRTBUS_METRICS_ADDRESS=0.0.0.0:{port}" in text
    assert re.findall(r"^EXPOSE (.*)$", text, re.MULTILINE) == [str(port)]
    assert f"http://127.0.0.1:{port}/readyz" in text


def test_published_on_loopback_only() -> None:
    """What the host publishes, the guest account of the broker included, cannot be reached from outside the host."""
    published = [line.strip() for block in blocks(FILE.read_text()).values()
                 for line in re.findall(r"^    ports:\n((?:      - .*\n)+)", block, re.MULTILINE)]
    assert len(published) == 2
    assert all(line.startswith('- "127.0.0.1:') for line in published)


def test_prometheus_configuration() -> None:
    """Prometheus accepts its configuration, which names each service once, all of one node."""
    promtool = require_program("promtool")
    path = ROOT / "deploy/prometheus.yml"
    done = subprocess.run([promtool, "check", "config", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(re.findall(r"^ +- (\S+:\d+)$", path.read_text(), re.MULTILINE)) == TARGETS
    assert "          node: node-a\n" in path.read_text()


class Deployment:
    """One run of the compose file, apart from any other on this machine: own project name, own ports."""

    def __init__(self) -> None:
        self.broker_port, self.prometheus_port = free_ports(2)
        self._project = f"virtbus-test-{secrets.token_hex(4)}"
        self._environment = {**os.environ, "VIRTBUS_BROKER_PORT": str(self.broker_port),
                             "VIRTBUS_PROMETHEUS_PORT": str(self.prometheus_port)}

    def compose(self, *arguments: str) -> str:
        """What `docker compose ARGUMENTS` prints; AssertionError with its complaints when it fails."""
        command = ["docker", "compose", "-f", str(FILE), "-p", self._project, *arguments]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(arguments)}: {done.stderr[-4000:]}"
        return done.stdout

    def query(self, expression: str) -> dict[str, str]:
        """The values of a Prometheus expression by the `instance` and `node` of each."""
        text = urllib.parse.urlencode({"query": expression})
        url = f"http://127.0.0.1:{self.prometheus_port}/api/v1/query?{text}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            found = json.load(answer)["data"]["result"]
        return {f"{one['metric']['instance']} {one['metric']['node']}": one["value"][1] for one in found}

    def interfaces(self, folder: str = "") -> set[str]:
        """Network interfaces of the node, or ports of one of its bridges."""
        return set(self.compose("exec", "-T", "node-a", "ls", f"/sys/class/net/{folder}").split())


def services(broker: str) -> set[str]:
    """The services of node-a that answer; no other node may."""
    found = nodes(broker)
    assert {one.name for one in found} <= {"node-a"}
    return {name for one in found for name in one.services}


def require_compose() -> None:
    """Go on only where `docker compose` is installed; see the top of this file for why CI=true changes nothing."""
    if shutil.which("docker") is None:
        pytest.skip("Docker: not installed, and no part of what virtbus promises")
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode != 0:
        pytest.skip("docker compose: not installed, and no part of what virtbus promises")


def test_compose_reads_the_file() -> None:
    """Compose finds nothing wrong in the file; its own parser reads every block, merge and variable."""
    require_compose()
    model = json.loads(Deployment().compose("config", "--format", "json"))
    assert {name for name, one in model["services"].items() if one.get("network_mode") == "service:node-a"} \
        == set(METRICS_PORTS)


@pytest.fixture
def deployment() -> Iterator[Deployment]:
    """The whole file, built, started and healthy; gone with its volumes afterwards. The images stay, as a cache."""
    require_compose()
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode != 0:
        pytest.skip("Docker: no engine answers, and none is part of what virtbus promises")
    found = Deployment()
    try:
        found.compose("build")
        found.compose("up", "--detach", "--wait")
        yield found
    finally:
        found.compose("down", "--volumes")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_node_in_containers(deployment: Deployment) -> None:
    """From the host: network, pool, volume, guests on them and with UEFI and TPM; what restarts keep; all scraped."""
    broker = f"amqp://guest:guest@127.0.0.1:{deployment.broker_port}"
    assert services(broker) == set(METRICS_PORTS)
    connection = virtbus.open(f"qemu+amqp://node-a/system?broker={broker}")
    network = connection.networkDefineXML(NETWORK)
    network.create()
    pool = connection.storagePoolDefineXML(POOL, 0)
    pool.build(0)
    pool.create(0)
    path = pool.createXML(VOLUME, 0).path()
    kept = connection.defineXML(guest_xml("kept", devices=DEVICES.format(path=path)))
    kept.create()
    assert deployment.interfaces("virbr7/brif") == {"vnet0"}
    assert [one for one in connection.listDevices("net", 0) if one.startswith("net_vnet0_")]
    sealed = connection.defineXML(SEALED)
    sealed.create()
    assert sealed.isActive()
    sealed.destroy()

    deployment.compose("restart", "network")
    until(lambda: "network" in services(broker), "the network service", 60)
    assert kept.isActive()
    assert network.isActive()
    assert deployment.interfaces("virbr7/brif") == {"vnet0"}

    again = connection.defineXML(guest_xml("again"))
    again.setAutostart(1)
    deployment.compose("restart", "domain")
    until(lambda: "domain" in services(broker), "the domain service", 60)
    until(again.isActive, "the start of what is marked to start with the node", 30)
    assert not kept.isActive()
    assert deployment.interfaces() == {"lo", "eth0", "virbr7"}
    connection.close()

    wanted = {f"{target} node-a": "1" for target in TARGETS}
    until(lambda: deployment.query("up{job='virtbus'}") == wanted, "a scrape of all four", 60)
