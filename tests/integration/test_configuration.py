"""Where a service's settings come from, which source wins, and what it says about a bad one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.calls import calling, new_node
from tests.support.ports import free_ports
from tests.support.processes import running_node
from virtbus_shared.api import common


def refused(*arguments: str, file: Path | None = None, **environment: str) -> str:
    """What a service says when it does not start with these settings."""
    given = {"VIRTBUS_CONFIG": str(file)} if file else {}
    done = subprocess.run([sys.executable, "-m", "virtbus_nodedev", *arguments], capture_output=True, text=True,
                          timeout=60, check=False, env={**os.environ, **given, **environment})
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_precedence(broker_url: str, tmp_path: Path) -> None:
    """A flag wins over a variable, a variable over the file, the service's table over the file's common keys."""
    in_file, in_table, in_variable = (new_node() for _ in range(3))
    file = tmp_path / "virtbus.toml"
    file.write_text(f'node = "{in_file}"\nlog_level = "error"\n[nodedev]\nnode = "{in_table}"\nlog_level = "info"\n'
                    f'[domain]\nnode = "not-for-us"\n')
    from_flag = new_node()
    # The flags of every Daemon are node, broker, directories and metrics address; the rest comes from elsewhere.
    with running_node(node=from_flag, broker=broker_url, folder=tmp_path, services=("nodedev",),
                      environment={"VIRTBUS_CONFIG": str(file), "VIRTBUS_NODE": in_variable,
                                   "VIRTBUS_LOG_FORMAT": "json"}) as node:
        with calling(broker_url, from_flag) as calls:
            assert calls(common.PING["nodedev"]).node == from_flag
        assert '"event": "started"' in node["nodedev"].log_tail()
    for environment, expected in (({"VIRTBUS_NODE": in_variable}, in_variable), ({}, in_table)):
        assert expected in _node_name(broker_url, tmp_path, file, environment)


def _node_name(broker_url: str, folder: Path, file: Path, environment: dict[str, str]) -> str:
    """The log of a service that got no --node, up to its start."""
    (port,) = free_ports(1)
    process = subprocess.Popen(
        [sys.executable, "-m", "virtbus_nodedev", "--config", str(file), "--broker", broker_url, "--state-dir",
         str(folder / "s"), "--run-dir", str(folder / "r"), "--metrics-address", f"127.0.0.1:{port}"],
        env={**os.environ, **environment}, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if '"event": "started"' in line:
                return line
    finally:
        process.terminate()
        process.communicate(timeout=30)
    raise AssertionError("the service ended without starting")


@pytest.mark.parametrize(("arguments", "named"), [
    (("--node", "a b"), "node"),
    (("--metrics-address", "nowhere"), "metrics_address"),
    (("--log-level", "loud"), "log_level"),
    (("--broker", "http://x"), "broker"),
    (("--broker", "amqp://user@host/"), "broker"),
])
def test_a_bad_flag_is_named(arguments: tuple[str, str], named: str) -> None:
    """A bad value ends the start, naming the setting, what is wrong, and all places where it can be set."""
    said = refused(*arguments)
    assert f"'{named}'" in said
    assert f"VIRTBUS_{named.upper()}" in said


def test_a_bad_variable_is_named() -> None:
    """The same for a variable."""
    assert "VIRTBUS_NODE" in refused(VIRTBUS_NODE="_all")


@pytest.mark.parametrize(("text", "said"), [
    ("nodes = 'a'\n", "nodes"),
    ("node = 7\n", "node"),
    ("node = \n", "configuration file"),
    ("nodedev = 7\n", "nodedev"),
])
def test_a_bad_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    """An unknown key, a value of the wrong type and a file that is no TOML are told, not passed over."""
    file = tmp_path / "virtbus.toml"
    file.write_text(text)
    assert said in refused(file=file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A file that was asked for must exist."""
    assert "missing.toml" in refused("--config", str(tmp_path / "missing.toml"))
