"""A service as a program: how it starts, refuses to start, waits for its broker, starts what is marked, and ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.broker import PrivateBroker, rabbitmq_server
from tests.support.calls import alive, calling, fake_xml, guest_xml, metric, new_node, qemu_pids, until
from tests.support.components import require, require_program
from tests.support.processes import Daemon, running_node
from virtbus_shared import __version__
from virtbus_shared import constants as c
from virtbus_shared.api import common
from virtbus_shared.api import domain as api

HANG = "<fault operation='create' kind='hang'/>"


def run(service: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A service's program, run to its end."""
    return subprocess.run([sys.executable, "-m", f"virtbus_{service}", *arguments], capture_output=True, text=True,
                          timeout=60, check=False)


@pytest.mark.parametrize("service", ["domain", "network", "storage", "nodedev"])
def test_help_and_version(service: str) -> None:
    """--help names every setting in its three forms, --version the version; both succeed and print no more."""
    shown = run(service, "--help")
    assert shown.returncode == 0
    assert shown.stderr == ""
    for flag in ("--node", "--broker", "--state-dir", "--run-dir", "--metrics-address", "--config"):
        assert flag in shown.stdout
    assert "VIRTBUS_STATE_DIR" in shown.stdout
    version = run(service, "--version")
    assert (version.returncode, version.stdout) == (0, f"virtbus-{service} {__version__}\n")


def test_a_second_one_on_the_same_state_refuses(broker_url: str, tmp_path: Path) -> None:
    """Two daemons on one state directory would take each other's guests: the second says so and changes nothing."""
    with running_node(node=new_node(), broker=broker_url, folder=tmp_path, services=("nodedev",)) as node:
        second = run("nodedev", "--node", "other", "--broker", broker_url, "--metrics-address", "127.0.0.1:0",
                     "--state-dir", str(tmp_path / "state"), "--run-dir", str(tmp_path / "run"))
        assert second.returncode != 0
        assert "in use by another process" in second.stderr
        assert "--state-dir" in second.stderr
        assert "Traceback" not in second.stderr
        assert node["nodedev"].get("/readyz")[0] == 200


def test_a_metrics_address_in_use_is_told(broker_url: str, tmp_path: Path) -> None:
    """A port that another holds ends the start with a message that names the address, not with a traceback."""
    with running_node(node=new_node(), broker=broker_url, folder=tmp_path / "a", services=("nodedev",)) as node:
        address = f"127.0.0.1:{node['nodedev'].port}"
        second = run("nodedev", "--node", "b", "--broker", broker_url, "--metrics-address", address,
                     "--state-dir", str(tmp_path / "b/state"), "--run-dir", str(tmp_path / "b/run"))
    assert second.returncode != 0
    assert address in second.stderr
    assert "Traceback" not in second.stderr


@pytest.mark.slow
def test_sigterm_ends_it_and_no_guest(broker_url: str, tmp_path: Path) -> None:
    """SIGTERM ends the service with status 0, even beside a hung call; guests go on and are found again."""
    require_program("qemu-system-x86_64")
    with running_node(node=new_node(), broker=broker_url, folder=tmp_path, services=("domain",)) as node:
        daemon = node["domain"]
        with calling(broker_url, node.name) as calls, calling(broker_url, node.name, "test", "/default") as tests:
            guest = calls(api.CREATE_XML, xml=guest_xml("guest"))
            (pid,) = qemu_pids(daemon)[guest.uuid]
            hangs = tests(api.DEFINE_XML, xml=fake_xml("hangs", HANG)).uuid
            pending = tests.start(api.CREATE, uuid=hangs)
            until(lambda: metric(daemon, "virtbus_rpc_in_flight") == 1, "the call hanging")
            assert daemon.terminate(30) == 0
            assert alive(pid)
            assert tests.error(api.LIST_ALL).code == c.VIR_ERR_SYSTEM_ERROR
            daemon.start()
            assert calls.listed() == {guest.uuid: guest}
            assert calls.state(guest.uuid) == c.VIR_DOMAIN_RUNNING
            calls(api.DESTROY, uuid=guest.uuid)
            del pending  # ends with its connection


@pytest.mark.slow
def test_started_before_its_broker(tmp_path: Path) -> None:
    """A service whose broker is not there yet runs, serves its metrics, and becomes ready when the broker comes."""
    require("rabbitmq-server", rabbitmq_server() is not None, "not installed")
    broker = PrivateBroker()
    daemon = Daemon("nodedev", node=new_node(), broker=broker.url(), folder=tmp_path)
    daemon.launch()
    try:
        until(lambda: daemon.get("/readyz")[0] == 503, "the endpoint")
        until(lambda: "no consumer" in daemon.get("/readyz")[1], "the reason")
        assert metric(daemon, "virtbus_amqp_connected") == 0
        assert metric(daemon, "virtbus_service_ready") == 0
        broker.start()
        daemon.wait_ready()
        assert metric(daemon, "virtbus_service_ready") == 1
        with calling(broker.url(), daemon.node) as calls:
            info = calls(common.PING["nodedev"])
        assert (info.node, info.service) == (daemon.node, "nodedev")
        os.kill(daemon.pid, signal.SIGCONT)
    finally:
        daemon.stop()
        broker.stop()


def test_autostart_once_per_boot(broker_url: str, tmp_path: Path) -> None:
    """A marked domain starts at the first start after a boot, and not again when the service is restarted later."""
    with running_node(node=new_node(), broker=broker_url, folder=tmp_path, services=("domain",)) as node:
        daemon = node["domain"]
        with calling(broker_url, node.name, "test", "/default") as calls:
            marked, plain = (calls(api.DEFINE_XML, xml=fake_xml(name)).uuid for name in ("marked", "plain"))
            calls(api.SET_AUTOSTART, uuid=marked, autostart=True)
            mark = daemon.run_dir / "domain" / "autostarted-test"
            assert mark.exists()

            daemon.kill()
            daemon.start()
            assert calls.state(marked) == c.VIR_DOMAIN_SHUTOFF

            daemon.kill()
            for file in mark.parent.glob("autostarted-*"):
                file.unlink()  # as a boot does, which empties /run
            daemon.start()
            until(lambda: calls.state(marked) == c.VIR_DOMAIN_RUNNING, "the autostart")
            until(mark.exists, "the mark")
            assert calls.state(plain) == c.VIR_DOMAIN_SHUTOFF

            calls(api.DESTROY, uuid=marked)
            daemon.kill()
            daemon.start()
            assert calls.state(marked) == c.VIR_DOMAIN_SHUTOFF
