"""``virDomain`` and the calls that find domains: shapes, arguments, numbers, and what is refused how."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest

import virtbus as libvirt
from virtbus import libvirtError, virConnect, virDomain

UUID = "11111111-2222-3333-4444-555555555555"
XML = f"""<domain type='test'><name>d</name><uuid>{UUID}</uuid><memory>65536</memory><vcpu>2</vcpu>
<os><type>hvm</type></os></domain>"""


@pytest.fixture
def conn() -> Iterator[virConnect]:
    """A node of its own: nobody else in this process has it open."""
    with libvirt.open("test:///default") as found:
        yield found


def test_life(conn: virConnect) -> None:
    """Actions answer 0, facts have libvirt's shapes, predicates are ints and not bools."""
    dom = conn.defineXML(XML)
    assert (dom.name(), dom.UUIDString(), dom.UUID(), dom.ID()) == ("d", UUID, uuid.UUID(UUID).bytes, -1)
    assert dom.create() == 0
    for fact in (dom.isActive(), dom.isPersistent()):
        assert fact == 1
        assert type(fact) is int
    assert dom.state() == [libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_BOOTED]
    assert dom.info()[:4] == [libvirt.VIR_DOMAIN_RUNNING, 65536, 65536, 2]
    assert (dom.maxMemory(), dom.maxVcpus(), dom.vcpusFlags(), dom.OSType()) == (65536, 2, 2, "linux")
    assert [dom.suspend(), dom.resume(), dom.reboot(), dom.reset()] == [0, 0, 0, 0]
    assert [dom.setAutostart(1), dom.autostart(), dom.setAutostart(0), dom.autostart()] == [0, 1, 0, 0]
    assert type(dom.autostart()) is int
    assert dom.isUpdated() == 0
    assert "<name>d</name>" in dom.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    assert [dom.destroy(), dom.undefine()] == [0, 0]
    with pytest.raises(libvirtError) as error:
        dom.isActive()
    assert error.value.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN


def test_plain_and_flags_forms(conn: virConnect) -> None:
    """The calls that exist with and without flags do the same."""
    for start, stop, forget in (
            (virDomain.create, virDomain.shutdown, virDomain.undefine),
            (virDomain.createWithFlags, virDomain.shutdownFlags, virDomain.undefineFlags)):
        dom = conn.defineXMLFlags(XML)
        assert [start(dom), stop(dom), forget(dom)] == [0, 0, 0]
    dom = conn.createXML(XML)
    assert dom.destroyFlags() == 0
    assert conn.createLinux(XML, 0).destroy() == 0


def test_number_is_what_the_last_call_told(conn: virConnect) -> None:
    """ID() changes with what this object did, not with what others did; a shut-down guest has none."""
    dom = conn.defineXML(XML)
    other = conn.lookupByName("d")
    dom.create()
    first = dom.ID()
    assert first > 0
    assert other.ID() == -1
    dom.destroy()
    assert dom.ID() == -1
    dom.create()
    assert dom.ID() > first
    dom.shutdown()
    assert dom.ID() == -1
    transient = conn.createXML(XML.replace(">d<", ">t<").replace(UUID, UUID[:-1] + "6"))
    transient.shutdown()
    assert transient.ID() == -1


def test_lists_and_counts(conn: virConnect) -> None:
    """Every list and count follows from the flags."""
    conn.defineXML(XML)
    assert (conn.numOfDomains(), conn.numOfDefinedDomains()) == (1, 1)
    assert (conn.listDomainsID(), conn.listDefinedDomains()) == ([1], ["d"])
    assert sorted(dom.name() for dom in conn.listAllDomains()) == ["d", "test"]
    assert [dom.name() for dom in conn.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_INACTIVE)] == ["d"]
    assert sorted(dom.name() for dom in conn.listAllDomains(1 << 32)) == ["d", "test"], "flags are 32 bits wide"


def test_look_ups(conn: virConnect) -> None:
    """By name, number, UUID in bytes and UUID in any text that libvirt reads."""
    conn.defineXML(XML)
    assert conn.lookupByName("d").UUIDString() == UUID
    assert conn.lookupByID(1).name() == "test"
    assert conn.lookupByUUID(uuid.UUID(UUID).bytes).name() == "d"
    for text in (UUID, UUID.upper(), UUID.replace("-", ""), f" {UUID}\n"):
        assert conn.lookupByUUIDString(text).name() == "d"


@pytest.mark.parametrize(("call", "error"), [
    (lambda c: c.lookupByName(5), TypeError), (lambda c: c.lookupByName(b"test"), TypeError),
    (lambda c: c.lookupByName("a\0b"), ValueError), (lambda c: c.lookupByName("\udc80"), UnicodeEncodeError),
    (lambda c: c.lookupByID("1"), TypeError), (lambda c: c.lookupByID(1.5), TypeError),
    (lambda c: c.lookupByID(2**31), OverflowError), (lambda c: c.lookupByUUID(bytearray(16)), TypeError),
    (lambda c: c.listAllDomains("x"), TypeError), (lambda c: c.listAllDomains(None), TypeError),
    (lambda c: c.defineXML(5), TypeError), (lambda c: c.getMaxVcpus(3), TypeError),
    (lambda c: c.lookupByName("test").setAutostart(None), TypeError),
    (lambda c: c.lookupByName("test").XMLDesc(1.5), TypeError), (lambda c: c.domainListGetStats([1]), TypeError),
])
def test_wrong_types(conn: virConnect, call: Callable[[virConnect], object], error: type[Exception]) -> None:
    """Ill-typed arguments are Python's errors, not libvirt's."""
    with pytest.raises(error):
        call(conn)


@pytest.mark.parametrize(("call", "message"), [
    (lambda c: c.lookupByName(None), "name in virDomainLookupByName must not be NULL"),
    (lambda c: c.lookupByUUIDString("no"), "Invalid UUID"),
    (lambda c: c.lookupByID(-1), "id in virDomainLookupByID must be zero or greater"),
    (lambda c: c.defineXML(None), "xml in virDomainDefineXML must not be NULL"),
    (lambda c: c.createXML(None), "xmlDesc in virDomainCreateXML must not be NULL"),
    (lambda c: c.domainXMLToNative(None, XML), "nativeFormat in virConnectDomainXMLToNative must not be NULL"),
    (lambda c: c.domainXMLToNative("qemu-argv", None), "domainXml in virConnectDomainXMLToNative must not be NULL"),
    (lambda c: c.domainXMLFromNative(None, ""), "nativeFormat in virConnectDomainXMLFromNative must not be NULL"),
    (lambda c: c.domainXMLFromNative("qemu-argv", None),
     "nativeConfig in virConnectDomainXMLFromNative must not be NULL"),
    (lambda c: c.domainListGetStats([]),
     "invalid argument: doms array in virDomainListGetStats must contain at least one domain"),
    (lambda c: c.defineXML("x" * (16 * 1024 * 1024 + 1)),
     "invalid argument: virDomainDefineXML: 16777217 characters; at most 16777216 are accepted"),
])
def test_bad_values(conn: virConnect, call: Callable[[virConnect], object], message: str) -> None:
    """What libvirt's library refuses before it calls is refused with code 8, its words and its origin."""
    with pytest.raises(libvirtError) as error:
        call(conn)
    assert (error.value.get_error_code(), error.value.get_error_domain()) == (
        libvirt.VIR_ERR_INVALID_ARG, libvirt.VIR_FROM_DOMAIN)
    assert str(error.value) == message


@pytest.mark.parametrize("method", ["domainXMLToNative", "domainXMLFromNative"])
def test_the_test_driver_converts_nothing(conn: virConnect, method: str) -> None:
    """Code 3, as libvirt's; a connection that may only read is told that first."""
    with pytest.raises(libvirtError) as error:
        getattr(conn, method)("qemu-argv", XML, 0)
    function = f"virConnect{method[0].upper()}{method[1:]}"
    assert error.value.get_error_code() == libvirt.VIR_ERR_NO_SUPPORT
    assert str(error.value) == f"this function is not supported by the connection driver: {function}"
    with libvirt.openReadOnly("test:///default") as reader:
        with pytest.raises(libvirtError) as error:
            getattr(reader, method)("qemu-argv", XML)
    assert error.value.get_error_code() == libvirt.VIR_ERR_OPERATION_DENIED
    assert str(error.value) == f"operation forbidden: read only access prevents {function}"


def test_uuid_of_another_length(conn: virConnect) -> None:
    """Bytes that are no UUID fail without fields, as in libvirt-python."""
    with pytest.raises(libvirtError, match=r"virDomainLookupByUUID\(\) failed") as error:
        conn.lookupByUUID(b"short")
    assert error.value.err is None


def test_statistics(conn: virConnect) -> None:
    """Lists of (domain, dict); of chosen domains, of all; a domain of another connection is refused."""
    dom = conn.defineXML(XML)
    everything = {found.name(): fields for found, fields in conn.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE)}
    assert everything["d"]["state.state"] == libvirt.VIR_DOMAIN_SHUTOFF
    assert set(everything) == {"d", "test"}
    assert {field for fields in everything.values() for field in fields} == {"state.state", "state.reason"}
    ((found, fields),) = conn.domainListGetStats([dom], libvirt.VIR_DOMAIN_STATS_STATE)
    assert isinstance(found, virDomain)
    assert fields["state.state"] == libvirt.VIR_DOMAIN_SHUTOFF
    with libvirt.open("test:///default") as other, pytest.raises(libvirtError, match="single connection"):
        conn.domainListGetStats([other.lookupByName("d")])


def test_long_names(conn: virConnect) -> None:
    """A name longer than what goes along with a UUID still works in every call."""
    dom = conn.defineXML(XML.replace(">d<", f">{'n' * 3000}<"))
    assert dom.create() == 0
    assert len(conn.lookupByUUIDString(UUID).name()) == 3000
