"""Opening and closing, what a connection says of itself, and what it refuses by itself."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest

import virtbus as libvirt
from virtbus import libvirtError, virConnect

DOMAIN = "<domain type='test'><name>d</name><memory>1024</memory><os><type>hvm</type></os></domain>"


def code_of(error: pytest.ExceptionInfo[libvirtError]) -> tuple[int | None, int | None]:
    """Code and origin."""
    return error.value.get_error_code(), error.value.get_error_domain()


def test_facts() -> None:
    """What a connection says of itself has libvirt's shapes, and nothing is loaded for a bus that is not used."""
    with libvirt.open("test:///default?x=y") as conn:
        assert conn.getURI() == "test:///default?x=y"
        assert conn.getType() == "TEST"
        assert conn.getVersion() == 2
        assert conn.getLibVersion() == libvirt.LIBVIRT_VERSION == 9_000_000
        assert (conn.isAlive(), conn.isSecure(), conn.isEncrypted()) == (1, 1, 0)
        assert conn.getInfo() == ["i686", 3072, 16, 1400, 2, 2, 2, 2]
        assert conn.getMaxVcpus(None) == 32
        assert isinstance(conn.getHostname(), str)


def test_opening_loads_no_bus() -> None:
    """A process that opens test:///default and calls has not imported AMQP, typer or rich."""
    program = ("import sys, virtbus; c = virtbus.open('test:///default'); c.listAllDomains(); c.getInfo();"
               "print(*(m for m in ('pika', 'typer', 'rich') if m in sys.modules))")
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "\n"


def test_capabilities_are_one_document() -> None:
    """The host's part and the guests' are put together with libvirt's blank lines between."""
    with libvirt.open("test:///default") as conn:
        xml = conn.getCapabilities()
    assert xml.startswith("<capabilities>\n\n  <host>\n")
    assert "  </host>\n\n  <guest>\n" in xml
    assert xml.endswith("  </guest>\n\n</capabilities>\n")


def test_close_tells_whether_something_is_left() -> None:
    """0 for a connection that nothing uses, 1 while an object does; the object works on."""
    conn = libvirt.open("test:///default")
    assert conn.close() == 0
    conn = libvirt.open("test:///default")
    dom = conn.lookupByName("test")
    assert conn.close() == 1
    assert dom.isActive() == 1
    assert dom.connect() is conn
    pool = libvirt.open("test:///default").storagePoolLookupByName("default-pool")
    pool.connect().close()
    assert pool.listAllVolumes() == []


@pytest.mark.parametrize(("call", "origin", "function"), [
    ("close", libvirt.VIR_FROM_NONE, "virConnectClose"), ("getURI", libvirt.VIR_FROM_DOMAIN, "virConnectGetURI"),
    ("isAlive", libvirt.VIR_FROM_DOMAIN, "virConnectIsAlive"), ("getInfo", libvirt.VIR_FROM_DOMAIN, "virNodeGetInfo"),
    ("listAllDomains", libvirt.VIR_FROM_DOMAIN, "virConnectListAllDomains"),
    ("listAllNetworks", libvirt.VIR_FROM_NETWORK, "virConnectListAllNetworks"),
    ("listAllStoragePools", libvirt.VIR_FROM_STORAGE, "virConnectListAllStoragePools"),
    ("listAllDevices", libvirt.VIR_FROM_NODEDEV, "virConnectListAllNodeDevices"),
])
def test_calls_after_close(call: str, origin: int, function: str) -> None:
    """A closed connection answers code 6, from the part of libvirt that the call belongs to."""
    conn = libvirt.open("test:///default")
    conn.close()
    with pytest.raises(libvirtError, match=f"^invalid connection pointer in {function}$") as error:
        getattr(conn, call)()
    assert code_of(error) == (libvirt.VIR_ERR_INVALID_CONN, origin)


def test_state_is_shared_until_the_last_close() -> None:
    """All connections to test:///default of a process see one node; the next one after the last sees a fresh one."""
    first, second = libvirt.open("test:///default"), libvirt.open("test:///default")
    first.defineXML(DOMAIN)
    first.close()
    assert second.numOfDefinedDomains() == 1
    second.close()
    with libvirt.open("test:///default") as third:
        assert third.numOfDefinedDomains() == 0


def test_forgotten_connections_close() -> None:
    """A connection that is dropped without close ends the node too."""
    libvirt.open("test:///default").defineXML(DOMAIN)
    gc.collect()
    with libvirt.open("test:///default") as conn:
        assert conn.numOfDefinedDomains() == 0


def test_read_only() -> None:
    """Reads work; changes are refused by the library in libvirt's words, and secrets are not told."""
    with libvirt.openReadOnly("test:///default") as conn:
        dom, net = conn.lookupByName("test"), conn.networkLookupByName("default")
        assert "<name>test</name>" in dom.XMLDesc()
        for change, function, origin in (
                (dom.destroy, "virDomainDestroy", libvirt.VIR_FROM_DOMAIN),
                (lambda: conn.defineXML(DOMAIN), "virDomainDefineXML", libvirt.VIR_FROM_DOMAIN),
                (lambda: conn.defineXMLFlags(DOMAIN, 0), "virDomainDefineXMLFlags", libvirt.VIR_FROM_DOMAIN),
                (net.destroy, "virNetworkDestroy", libvirt.VIR_FROM_NETWORK)):
            with pytest.raises(libvirtError,
                               match=f"^operation forbidden: read only access prevents {function}$") as error:
                change()
            assert code_of(error) == (libvirt.VIR_ERR_OPERATION_DENIED, origin)
        with pytest.raises(libvirtError, match=r"^operation forbidden: virDomainGetXMLDesc with secure flag$"):
            dom.XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE)
        assert dom.isActive() == 1


def test_open_auth() -> None:
    """The credentials' list is checked; VIR_CONNECT_RO makes it read-only; unknown flags are refused."""
    auth: list[object] = [[libvirt.VIR_CRED_AUTHNAME], lambda credentials, data: 0, None]
    with libvirt.openAuth("test:///default", auth, libvirt.VIR_CONNECT_RO) as conn, pytest.raises(libvirtError):
        conn.lookupByName("test").suspend()
    with pytest.raises(TypeError):
        libvirt.openAuth("test:///default", [1, 2, 3])
    with pytest.raises(libvirtError, match="unsupported flags"):
        libvirt.openAuth("test:///default", auth, 1 << 20)


def test_default_uri(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a name, LIBVIRT_DEFAULT_URI says where to."""
    monkeypatch.setenv("LIBVIRT_DEFAULT_URI", "test:///default")
    with libvirt.open() as conn:
        assert conn.getURI() == "test:///default"


@pytest.mark.parametrize(("uri", "code", "words"), [
    ("::::", libvirt.VIR_ERR_INTERNAL_ERROR, "Unable to parse URI"),
    ("qemu:///system", libvirt.VIR_ERR_NO_CONNECT, r"qemu\+amqp://NODE/system"),
    ("test:///default?timeout=0", libvirt.VIR_ERR_INVALID_ARG, "timeout '0'"),
    ("test:///default?timeout=soon", libvirt.VIR_ERR_INVALID_ARG, "timeout 'soon'"),
    ("test+tcp://node/default", libvirt.VIR_ERR_INVALID_ARG, "transport"),
])
def test_uris_that_do_not_open(uri: str, code: int, words: str) -> None:
    """What is wrong is named, and what would work where that is known."""
    with pytest.raises(libvirtError, match=words) as error:
        libvirt.open(uri)
    assert error.value.get_error_code() == code


def test_a_failed_open_keeps_no_node() -> None:
    """An open that is refused is no user of the node: its state still ends with its last connection."""
    with pytest.raises(libvirtError):
        libvirt.open("test:///default?timeout=soon")
    with libvirt.open("test:///default") as conn:
        conn.lookupByName("test").destroy()
    del conn
    with libvirt.open("test:///default") as conn:
        assert conn.numOfDomains() == 1


def test_a_file_describes_a_node_of_its_own(tmp_path: Path) -> None:
    """test:///path/file.xml is the node of one connection and shares nothing."""
    file = tmp_path / "node.xml"
    file.write_text(f"<node>{DOMAIN}</node>")
    with libvirt.open(f"test://{file}") as first, libvirt.open(f"test://{file}") as second:
        assert [dom.name() for dom in first.listAllDomains()] == ["d"]
        first.lookupByName("d").destroy()
        assert [second.numOfDomains(), first.numOfDomains()] == [1, 0]


def test_keep_alive_and_close_callback() -> None:
    """In-process there is nothing to keep alive (code 3, as libvirt's test driver), and nothing closes by itself."""
    with libvirt.open("test:///default") as conn:
        with pytest.raises(libvirtError, match="virConnectSetKeepAlive") as error:
            conn.setKeepAlive(5, 3)
        assert code_of(error) == (libvirt.VIR_ERR_NO_SUPPORT, libvirt.VIR_FROM_DOMAIN)
        with pytest.raises(TypeError):
            conn.setKeepAlive("x", 3)  # type: ignore[arg-type]
        assert conn.registerCloseCallback(lambda c, reason, opaque: None, None) == 0
        conn.unregisterCloseCallback()


def test_what_is_missing_says_so() -> None:
    """Methods and classes of libvirt-python that virtbus lacks exist; calls answer code 3."""
    with libvirt.open("test:///default") as conn:
        for call in ("listAllSecrets", "newStream", "getSEVInfo"):
            with pytest.raises(libvirtError) as error:
                getattr(conn, call)()
            assert error.value.get_error_code() == libvirt.VIR_ERR_NO_SUPPORT
    assert hasattr(libvirt.virDomainSnapshot, "delete")
    assert not isinstance(conn, libvirt.virStream)


def test_connections_are_not_equal() -> None:
    """Objects define no equality: each look-up gives a new one."""
    with libvirt.open("test:///default") as conn:
        assert isinstance(conn, virConnect)
        assert conn.lookupByName("test") != conn.lookupByName("test")


def test_outcome_of_a_request_nobody_made() -> None:
    """An id that no service has seen had no effect: unknown."""
    with libvirt.open("test:///default") as conn:
        assert conn.requestOutcome("nobody") == libvirt.Outcome("nobody", "unknown")
        with pytest.raises(libvirtError):
            conn.requestOutcome("x" * 1000)
