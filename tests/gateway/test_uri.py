"""Connection URIs are read as libvirt reads them, and brokers are found in the documented order."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from virtbus import uri
from virtbus.uri import ConnectionURI, broker_address, parse, resolve
from virtbus_shared.errors import LibvirtError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No setting from outside; the path is that of the user's configuration file."""
    for name in ("LIBVIRT_DEFAULT_URI", "VIRTBUS_BROKER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "virtbus").mkdir()
    return tmp_path / "virtbus" / "virtbus.toml"


@pytest.mark.parametrize(("text", "parts"), [
    ("test:///default", ConnectionURI("", "test", path="/default")),
    ("test:///path/to/my%20file.xml", ConnectionURI("", "test", path="/path/to/my file.xml")),
    ("test:default", ConnectionURI("", "test", path="default")),
    ("test://user@/default", ConnectionURI("", "test", user="user", path="/default")),
    ("qemu+unix:///system", ConnectionURI("", "qemu", "unix", path="/system")),
    ("test:///default#fragment", ConnectionURI("", "test", path="/default")),
    ("qemu+amqps://me@node-a.example.org/system?broker=amqp%3A%2F%2Fh&a=",
     ConnectionURI("", "qemu", "amqps", "me", "node-a.example.org", "/system", {"broker": "amqp://h", "a": ""})),
    ("TEST+amqp://n", ConnectionURI("", "TEST", "amqp", node="n")),
])
def test_parts(text: str, parts: ConnectionURI) -> None:
    """Each part is found and unescaped, and the text comes back as it was written."""
    found = parse(text)
    assert str(found) == text
    assert vars(found) | {"text": ""} == vars(parts)
    assert found.remote == (parts.node != "")


@pytest.mark.parametrize(("text", "code", "origin", "detail"), [
    ("::::", 1, 45, "Unable to parse URI ::::"),
    ("http://[bad", 1, 45, "Unable to parse URI http://[bad"),
    ("test:///def ault", 1, 45, "Unable to parse URI test:///def ault"),
    ("1:///", 1, 45, "Unable to parse URI 1:///"),
    ("test:///%zz", 1, 45, "Unable to parse URI test:///%zz"),
    ("test", 5, 0, "URI 'test' does not include a driver name"),
    ("/etc/passwd", 5, 0, "URI '/etc/passwd' does not include a driver name"),
    ("test+foo://h/default", 8, 13, "transport in URL not recognised (should be unix|amqp|amqps)"),
    ("test+:///default", 8, 13, "transport in URL not recognised (should be unix|amqp|amqps)"),
    ("qemu+amqp:///system", 8, 13, "URI 'qemu+amqp:///system' names no node"),
    ("qemu://host/system", 8, 13, "URI 'qemu://host/system' names a node but no transport to it (amqp|amqps)"),
])
def test_errors(text: str, code: int, origin: int, detail: str) -> None:
    """What cannot be read or meant is refused with libvirt's code and origin and says what is wrong."""
    with pytest.raises(LibvirtError) as caught:
        parse(text)
    assert (caught.value.code, caught.value.domain, caught.value.str2) == (code, origin, detail)


@pytest.mark.parametrize("node", ["a:5672", "*", "a%23b", "a%2Fb", "-a", "a.", "[::1]", "a" * 200])
def test_node_names(node: str) -> None:
    """A node name that could split a routing key, or carries a port, is refused by name."""
    with pytest.raises(LibvirtError, match="is no node name"):
        parse(f"qemu+amqp://{node}/system")


@pytest.mark.parametrize("name", [None, ""])
def test_default_uri(name: str | None, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a name: the environment, then the configuration file, then this machine's QEMU."""
    assert str(resolve(name)) == "qemu:///system"
    home.write_text('uri_default = "test:///default"\n')
    assert str(resolve(name)) == "test:///default"
    monkeypatch.setenv("LIBVIRT_DEFAULT_URI", "lxc:///system")
    assert str(resolve(name)) == "lxc:///system"
    assert str(resolve("qemu+amqp://n/system")) == "qemu+amqp://n/system"


def test_uri_must_be_text() -> None:
    """Anything else is a TypeError in the binding's words."""
    with pytest.raises(TypeError, match="argument 1 must be str or None, not int"):
        resolve(5)  # type: ignore[arg-type]


def test_broker_order(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The URI's broker comes before the environment's, and that before the file's; without any, all three are named."""
    plain = parse("qemu+amqp://n/system")
    with pytest.raises(LibvirtError, match=r"no broker address .*broker=, VIRTBUS_BROKER, or broker in .*virtbus.toml"):
        broker_address(plain)
    home.write_text('broker = "amqp://file"\n')
    assert broker_address(plain) == "amqp://file"
    monkeypatch.setenv("VIRTBUS_BROKER", "amqp://environment")
    assert broker_address(plain) == "amqp://environment"
    assert broker_address(parse("qemu+amqp://n/system?broker=amqp://u:p@uri:5673/v")) == "amqp://u:p@uri:5673/v"


@pytest.mark.parametrize(("transport", "broker", "address"), [
    ("amqp", "host:1", "amqp://host:1"),
    ("amqps", "host", "amqps://host"),
    ("amqps", "amqp://host", "amqps://host"),
    ("amqp", "amqps://host", "amqps://host"),
])
def test_tls(transport: str, broker: str, address: str) -> None:
    """Asking for TLS in either place gives TLS, and a bare host takes the transport of the URI."""
    assert broker_address(parse(f"qemu+{transport}://n/system?broker={broker}")) == address


def test_broker_scheme() -> None:
    """A broker that is no AMQP address is refused."""
    with pytest.raises(LibvirtError, match="must begin with amqp:// or amqps://, not http://"):
        broker_address(parse("qemu+amqp://n/system?broker=http://h"))


@pytest.mark.parametrize(("text", "message"), [
    ("broker = ", "configuration file syntax error: "), ("broker = 5", "broker must be a string")])
def test_bad_configuration(home: Path, text: str, message: str) -> None:
    """A configuration file that cannot be used is an error that names the file, never a silent default."""
    home.write_text(text)
    with pytest.raises(LibvirtError, match=re.escape(message)) as caught:
        broker_address(parse("qemu+amqp://n/system"))
    assert str(home) in caught.value.message


def test_unreadable_configuration(home: Path) -> None:
    """So is one that cannot be opened."""
    home.mkdir()
    with pytest.raises(LibvirtError, match=r"failed to open configuration file .*virtbus.toml': Is a directory"):
        broker_address(parse("qemu+amqp://n/system"))


def test_user_file_first(home: Path) -> None:
    """The user's file is asked before the machine's."""
    assert uri.config_files() == (home, Path("/etc/virtbus/virtbus.toml"))
