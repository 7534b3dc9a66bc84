"""Settings: flag before variable before file; what is wrong is named with the ways to set it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from virtbus_shared.service.settings import METRICS_PORTS, Settings, load


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the machine counts."""
    for name in [name for name in os.environ if name.startswith("VIRTBUS_")]:
        monkeypatch.delenv(name)


def config(folder: Path, text: str) -> list[str]:
    """The flag that names a file with this text."""
    path = folder / "virtbus.toml"
    path.write_text(text)
    return ["--config", str(path)]


def refused(capsys: pytest.CaptureFixture[str], arguments: list[str], service: str = "domain") -> str:
    """What is said when settings are refused."""
    with pytest.raises(SystemExit) as caught:
        load(service, arguments)
    assert caught.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("service", METRICS_PORTS)
def test_each_service_has_a_metrics_port_of_its_own(service: str) -> None:
    """Four services on one host need no configuration to stay out of each other's way."""
    assert load(service, []).metrics_host_port == ("127.0.0.1", METRICS_PORTS[service])
    assert len(set(METRICS_PORTS.values())) == 4


def test_flag_before_variable_before_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the three is found, and the nearer one wins."""
    file = config(tmp_path, 'node = "file"\nlog_level = "error"\nrun_dir = "/file"\n')
    monkeypatch.setenv("VIRTBUS_NODE", "variable")
    monkeypatch.setenv("VIRTBUS_LOG_LEVEL", "warning")
    found = load("domain", [*file, "--node", "flag"])
    assert (found.node, found.log_level, found.run_dir) == ("flag", "warning", Path("/file"))


def test_a_table_of_the_service_wins_over_what_all_share(tmp_path: Path) -> None:
    """Four services, one file."""
    file = config(tmp_path, 'state_dir = "/all"\n[domain]\nstate_dir = "/mine"\nmetrics_address = "0.0.0.0:1"\n')
    assert load("domain", file).state_dir == Path("/mine")
    assert load("domain", file).metrics_host_port == ("0.0.0.0", 1)
    assert load("storage", file).state_dir == Path("/all")
    assert load("storage", file).metrics_host_port == ("127.0.0.1", METRICS_PORTS["storage"])


def test_the_file_may_be_named_by_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A unit file sets one variable and no flags."""
    monkeypatch.setenv("VIRTBUS_CONFIG", config(tmp_path, 'node = "file"\n')[1])
    assert load("domain", []).node == "file"


@pytest.mark.parametrize(("arguments", "complaint"), [
    (["--node", "a b"], "setting 'node'"),
    (["--node", ""], "setting 'node'"),
    (["--metrics-address", "9471"], "HOST:PORT is expected, such as 127.0.0.1:9471"),
    (["--metrics-address", "h:99999"], "HOST:PORT is expected"),
    (["--log-level", "loud"], "(--log-level, VIRTBUS_LOG_LEVEL, or 'log_level' in the file)"),
    (["--config", "/no/such/file"], "configuration file: [Errno 2] No such file"),
])
def test_a_bad_setting_is_named(capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str) -> None:
    """The message says which setting, what is wrong, and where it can be set."""
    assert complaint in refused(capsys, arguments)


@pytest.mark.parametrize(("text", "complaint"), [
    ("nodes = 'a'", "setting 'nodes'"),
    ("[domain]\nspeed = 1", "setting 'speed'"),
    ("[domian]\nnode = 'a'", "[domian] is no service; there are domain, network, storage, nodedev"),
    ("node = ", "configuration file: Invalid value (at"),
    ("node = 5", "setting 'node'"),
    ("domain = 'x'", "setting 'domain'"),
    ('node = "\\uD800"', "configuration file:"),
])
def test_a_bad_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, complaint: str) -> None:
    """A misspelt key or table is not silently ignored."""
    assert complaint in refused(capsys, config(tmp_path, text))


def test_the_help_names_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    """A person finds flag, meaning and default of each, without reading the source."""
    with pytest.raises(SystemExit) as caught:
        load("network", ["--help"])
    assert caught.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for name, field in Settings.model_fields.items():
        assert f"--{name.replace('_', '-')}" in text
        assert field.description
        assert field.description in text
    assert "127.0.0.1:9472" in text
