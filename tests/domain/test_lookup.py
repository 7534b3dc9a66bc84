"""Finding domains: libvirt's filters in all their groups, and look-ups by name, UUID and number."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.local import TEST_UUID, Local, local_node
from tests.support.service import domain_xml
from virtbus_shared import constants as c
from virtbus_shared.api import domain as api

LIST = "VIR_CONNECT_LIST_DOMAINS_"


@pytest.fixture
def node() -> Iterator[Local]:
    """Domains of every kind: defined, running, paused, transient, started with the node."""
    with local_node() as node:
        for name in ("defined", "paused", "automatic"):
            node.define(domain_xml(name))
        paused = node(api.LOOKUP_BY_NAME, name="paused")
        node(api.CREATE, uuid=paused.uuid)
        node(api.SUSPEND, uuid=paused.uuid)
        node(api.SET_AUTOSTART, uuid=node(api.LOOKUP_BY_NAME, name="automatic").uuid, autostart=True)
        node(api.CREATE_XML, xml=domain_xml("transient"))
        yield node


@pytest.mark.parametrize(("names", "expected"), [
    ("", "test defined paused automatic transient"),
    ("ACTIVE", "test paused transient"),
    ("INACTIVE", "defined automatic"),
    ("ACTIVE INACTIVE", "test defined paused automatic transient"),
    ("PERSISTENT", "test defined paused automatic"),
    ("TRANSIENT", "transient"),
    ("RUNNING", "test transient"),
    ("PAUSED", "paused"),
    ("SHUTOFF", "defined automatic"),
    ("OTHER", ""),
    ("RUNNING SHUTOFF", "test defined automatic transient"),
    ("AUTOSTART", "automatic"),
    ("NO_AUTOSTART", "test defined paused transient"),
    ("ACTIVE PERSISTENT RUNNING", "test"),
    ("INACTIVE AUTOSTART", "automatic"),
    ("ACTIVE AUTOSTART", ""),
    ("MANAGEDSAVE", ""), ("NO_MANAGEDSAVE TRANSIENT", "transient"),
    ("HAS_SNAPSHOT", ""), ("NO_SNAPSHOT PAUSED", "paused"),
    ("HAS_CHECKPOINT", ""), ("NO_CHECKPOINT PAUSED", "paused"),
])
def test_filters_are_alternatives_within_a_group(node: Local, names: str, expected: str) -> None:
    """Bits of one group add domains, another group takes away."""
    flags = sum(getattr(c, LIST + name) for name in names.split())
    assert {d.name for d in node(api.LIST_ALL, flags=flags).domains} == set(expected.split())


def test_an_unknown_filter_is_refused(node: Local) -> None:
    """libvirt's words for a bit that the call does not know."""
    error = node.error(api.LIST_ALL, flags=1 << 20)
    assert (error.code, error.message) == (
        c.VIR_ERR_INVALID_ARG, "unsupported flags (0x100000) in function testConnectListAllDomains")


def test_a_domain_is_found_by_each_of_its_names(node: Local) -> None:
    """Name, UUID and number give the same reference."""
    expected = api.Domain(name="test", uuid=TEST_UUID, id=1)
    assert node(api.LOOKUP_BY_NAME, name="test") == expected
    assert node(api.LOOKUP_BY_UUID, uuid=TEST_UUID) == expected
    assert node(api.LOOKUP_BY_ID, id=1) == expected


@pytest.mark.parametrize(("row", "args"), [
    (api.LOOKUP_BY_NAME, {"name": "nobody"}), (api.LOOKUP_BY_NAME, {"name": ""}),
    (api.LOOKUP_BY_NAME, {"name": "Test"}), (api.LOOKUP_BY_NAME, {"name": "test\0"}),
    (api.LOOKUP_BY_UUID, {"uuid": TEST_UUID.replace("6", "7")}),
    (api.LOOKUP_BY_ID, {"id": 99}), (api.LOOKUP_BY_ID, {"id": -1}), (api.LOOKUP_BY_ID, {"id": 0}),
], ids=str)
def test_what_is_not_there_is_not_found(node: Local, row: object, args: dict[str, object]) -> None:
    """The test driver says no more than this; an inactive domain has no number, not even -1."""
    error = node.error(row, **args)  # type: ignore[arg-type]
    assert (error.code, error.domain, error.message) == (c.VIR_ERR_NO_DOMAIN, c.VIR_FROM_TEST, "Domain not found")


def test_names_may_be_of_any_script(node: Local) -> None:
    """A name is text: it is found as it was given."""
    for name in ("машина", "仮想", "a b", "ünïcode-🖥"):
        assert node.define(domain_xml(name)).name == name
        assert node(api.LOOKUP_BY_NAME, name=name).name == name


def test_numbers_are_not_used_again(node: Local) -> None:
    """A domain that was stopped and started has a new number, and the old one finds nobody."""
    node(api.DESTROY, uuid=TEST_UUID)
    again = node(api.CREATE, uuid=TEST_UUID)
    assert again.id > 1
    assert node.error(api.LOOKUP_BY_ID, id=1).code == c.VIR_ERR_NO_DOMAIN
