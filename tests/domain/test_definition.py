"""Documents of domains: defining, changing, forgetting, reading back; what contradicts itself is refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.local import TEST_UUID, Local, local_node
from tests.support.service import domain_xml
from virtbus_shared import constants as c
from virtbus_shared.api import domain as api

UUID = "aaaaaaaa-0000-4000-8000-000000000001"
OTHER = "aaaaaaaa-0000-4000-8000-000000000002"
ADDED = (c.VIR_DOMAIN_EVENT_DEFINED, c.VIR_DOMAIN_EVENT_DEFINED_ADDED)
UPDATED = (c.VIR_DOMAIN_EVENT_DEFINED, c.VIR_DOMAIN_EVENT_DEFINED_UPDATED)
REMOVED = (c.VIR_DOMAIN_EVENT_UNDEFINED, c.VIR_DOMAIN_EVENT_UNDEFINED_REMOVED)


@pytest.fixture
def node() -> Iterator[Local]:
    """A fresh node."""
    with local_node() as node:
        yield node


def xml_of(node: Local, uuid: str, flags: int = 0) -> str:
    """A domain's document."""
    return node(api.GET_XML_DESC, uuid=uuid, flags=flags).xml


def test_a_definition_is_added_changed_and_removed(node: Local) -> None:
    """The same name and UUID mean the same domain; each step is an event, and the last leaves nothing."""
    assert node.define(domain_xml("x", UUID)) == api.Domain(name="x", uuid=UUID, id=-1)
    node.define(domain_xml("x", UUID).replace("1024", "2048"))
    assert "<memory unit='KiB'>2048</memory>" in xml_of(node, UUID)
    assert node(api.IS_PERSISTENT, uuid=UUID).value
    node(api.UNDEFINE, uuid=UUID)
    assert node.error(api.GET_XML_DESC, uuid=UUID).code == c.VIR_ERR_NO_DOMAIN
    assert node.events(3) == [("x", *ADDED), ("x", *UPDATED), ("x", *REMOVED)]


def test_a_document_without_uuid_gets_one_and_keeps_none_of_the_others(node: Local) -> None:
    """Two such definitions of one name would be two domains of that name: the second is refused."""
    first = node.define(domain_xml("x"))
    assert len(first.uuid) == 36
    error = node.error(api.DEFINE_XML, xml=domain_xml("x"))
    assert error.code == c.VIR_ERR_OPERATION_FAILED
    assert error.message == f"operation failed: domain 'x' already exists with uuid {first.uuid}"


def test_name_and_uuid_belong_together(node: Local) -> None:
    """A UUID that has another name is refused, for a definition and for a start alike, and nothing is left behind."""
    node.define(domain_xml("x", UUID))
    for row in (api.DEFINE_XML, api.CREATE_XML):
        error = node.error(row, xml=domain_xml("y", UUID))
        assert error.message == f"operation failed: domain 'x' is already defined with uuid {UUID}"
    assert {d.name for d in node(api.LIST_ALL).domains} == {"test", "x"}


def test_a_running_domain_keeps_running_as_it_is(node: Local) -> None:
    """A new definition is for the next start: the live document, the facts and the state stay until then."""
    node.define(domain_xml("test", TEST_UUID))
    assert node(api.IS_UPDATED, uuid=TEST_UUID).value
    assert "<memory unit='KiB'>8388608</memory>" in xml_of(node, TEST_UUID)
    assert "<memory unit='KiB'>1024</memory>" in xml_of(node, TEST_UUID, c.VIR_DOMAIN_XML_INACTIVE)
    assert node(api.GET_MAX_MEMORY, uuid=TEST_UUID).value == 8388608
    node(api.DESTROY, uuid=TEST_UUID)
    assert "<memory unit='KiB'>1024</memory>" in xml_of(node, TEST_UUID)
    assert not node(api.IS_UPDATED, uuid=TEST_UUID).value
    node(api.CREATE, uuid=TEST_UUID)
    assert node(api.GET_MAX_MEMORY, uuid=TEST_UUID).value == 1024


def test_facts_follow_the_definition_that_counts(node: Local) -> None:
    """After a running domain with a new definition has stopped, its sizes are those of the definition."""
    node.define(domain_xml("test", TEST_UUID))
    node(api.DESTROY, uuid=TEST_UUID)
    assert node(api.GET_MAX_MEMORY, uuid=TEST_UUID).value == 1024
    assert node(api.GET_INFO, uuid=TEST_UUID).max_memory == 1024


def test_a_running_domain_that_is_undefined_becomes_transient(node: Local) -> None:
    """It goes on, does not start with the node any more, and is gone when it ends."""
    node(api.SET_AUTOSTART, uuid=TEST_UUID, autostart=True)
    node(api.UNDEFINE, uuid=TEST_UUID)
    assert node(api.IS_ACTIVE, uuid=TEST_UUID).value
    assert not node(api.IS_PERSISTENT, uuid=TEST_UUID).value
    assert not node(api.GET_AUTOSTART, uuid=TEST_UUID).value
    node(api.DESTROY, uuid=TEST_UUID)
    assert node.error(api.GET_STATE, uuid=TEST_UUID).code == c.VIR_ERR_NO_DOMAIN
    assert node.events(2) == [("test", *REMOVED), ("test", c.VIR_DOMAIN_EVENT_STOPPED,
                                                   c.VIR_DOMAIN_EVENT_STOPPED_DESTROYED)]


def test_a_transient_domain_may_be_defined(node: Local) -> None:
    """It then stays when it ends."""
    running = node(api.CREATE_XML, xml=domain_xml("x", UUID))
    assert running.id > 0
    node.define(domain_xml("x", UUID))
    node(api.DESTROY, uuid=UUID)
    assert not node(api.IS_ACTIVE, uuid=UUID).value
    assert node(api.IS_PERSISTENT, uuid=UUID).value


def test_autostart_is_kept_and_given_back(node: Local) -> None:
    """On and off."""
    for value in (True, False):
        node(api.SET_AUTOSTART, uuid=TEST_UUID, autostart=value)
        assert node(api.GET_AUTOSTART, uuid=TEST_UUID).value is value


@pytest.mark.parametrize(("xml", "code"), [
    ("", c.VIR_ERR_XML_DETAIL), ("<domain", c.VIR_ERR_XML_DETAIL), ("<domain/>", c.VIR_ERR_NO_NAME),
    ("<network/>", c.VIR_ERR_XML_ERROR), ("nonsense", c.VIR_ERR_XML_DETAIL),
    ("<!DOCTYPE d [<!ENTITY a 'b'>]><domain type='test'><name>&a;</name></domain>", None),
    (domain_xml("x").replace("<name>x</name>", ""), None),
    (domain_xml("x", "no-uuid"), None), (domain_xml("x").replace("1024", "much"), None),
])
def test_a_bad_document_changes_nothing(node: Local, xml: str, code: int | None) -> None:
    """Refused with an error about the document, by define and create alike; the list is what it was, no event."""
    for row in (api.DEFINE_XML, api.CREATE_XML):
        error = node.error(row, xml=xml)
        assert error.code in ((code,) if code else (c.VIR_ERR_XML_ERROR, c.VIR_ERR_XML_DETAIL, c.VIR_ERR_INTERNAL_ERROR,
                                                    c.VIR_ERR_NO_NAME, c.VIR_ERR_INVALID_ARG,
                                                    c.VIR_ERR_CONFIG_UNSUPPORTED)), error.message
        assert "Error:" not in error.message  # no Python exception shows through
    assert {d.name for d in node(api.LIST_ALL).domains} == {"test"}
    assert node.quiet()


def test_secrets_need_a_connection_that_may_write(node: Local) -> None:
    """The secure document is refused on a read-only connection, the plain one is not."""
    error = node.error(api.GET_XML_DESC, uuid=TEST_UUID, flags=c.VIR_DOMAIN_XML_SECURE, read_only=True)
    assert error.code == c.VIR_ERR_OPERATION_DENIED
    assert node(api.GET_XML_DESC, uuid=TEST_UUID, read_only=True).xml == xml_of(node, TEST_UUID)
    assert xml_of(node, TEST_UUID, c.VIR_DOMAIN_XML_SECURE)


def test_what_is_written_can_be_read(node: Local) -> None:
    """A document given back can be defined again, and gives the same document."""
    xml = xml_of(node, TEST_UUID, c.VIR_DOMAIN_XML_INACTIVE)
    copied = xml.replace(TEST_UUID, OTHER).replace("<name>test</name>", "<name>copy</name>")
    node.define(copied)
    assert xml_of(node, OTHER) == copied
