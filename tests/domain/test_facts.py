"""What is known of domains without asking a hypervisor: sizes, states, numbers, statistics."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.support.local import TEST_UUID, Local, local_node
from tests.support.service import domain_xml
from virtbus_shared import constants as c
from virtbus_shared.api import domain as api


@pytest.fixture
def node() -> Iterator[Local]:
    """A fresh node with one more domain, which is not running."""
    with local_node() as node:
        node.define(domain_xml("off").replace("<memory>", "<vcpu current='2'>4</vcpu><memory>"))
        yield node


def off(node: Local) -> str:
    """UUID of the domain that is not running."""
    return node(api.LOOKUP_BY_NAME, name="off").uuid


def test_the_default_domain_is_libvirts(node: Local) -> None:
    """The facts that every test written against test:///default relies on."""
    info = node(api.GET_INFO, uuid=TEST_UUID)
    assert (info.state, info.max_memory, info.memory, info.vcpus) == (c.VIR_DOMAIN_RUNNING, 8388608, 2097152, 2)
    assert node(api.GET_OS_TYPE, uuid=TEST_UUID).value == "linux"
    assert node(api.GET_MAX_MEMORY, uuid=TEST_UUID).value == 8388608
    assert node(api.IS_ACTIVE, uuid=TEST_UUID).value
    assert node(api.IS_PERSISTENT, uuid=TEST_UUID).value
    assert not node(api.IS_UPDATED, uuid=TEST_UUID).value


def test_the_connection_says_what_it_is(node: Local) -> None:
    """Type and version of the driver, most CPUs, guests that it could run."""
    assert node(api.OPEN) == api.OpenResult(type="TEST", version=2)
    assert node(api.GET_MAX_VCPUS, type="anything").value == 32
    xml = node(api.GET_CAPABILITIES).xml
    assert xml.count("<guest>") == 2
    assert "<os_type>xen</os_type>" in xml


@pytest.mark.parametrize(("flags", "of_test", "of_off"), [
    ("", 2, 2), ("VCPU_MAXIMUM", 2, 4), ("AFFECT_CONFIG", 2, 2), ("AFFECT_CONFIG VCPU_MAXIMUM", 2, 4),
    ("AFFECT_LIVE", 2, None), ("AFFECT_LIVE VCPU_MAXIMUM", 2, None),
])
def test_virtual_cpus_of_the_running_domain_and_of_its_definition(node: Local, flags: str, of_test: int,
                                                                  of_off: int | None) -> None:
    """Current and maximum; a domain that does not run has no live number."""
    bits = sum(getattr(c, f"VIR_DOMAIN_{flag}") for flag in flags.split())
    assert node(api.GET_VCPUS_FLAGS, uuid=TEST_UUID, flags=bits).value == of_test
    if of_off is None:
        error = node.error(api.GET_VCPUS_FLAGS, uuid=off(node), flags=bits)
        assert (error.code, error.str2) == (c.VIR_ERR_OPERATION_INVALID, "domain is not running")
    else:
        assert node(api.GET_VCPUS_FLAGS, uuid=off(node), flags=bits).value == of_off


def test_virtual_cpus_of_a_new_definition(node: Local) -> None:
    """While a domain runs as it was, its definition may say otherwise; a transient one has none."""
    node.define(domain_xml("test", TEST_UUID).replace("<memory>", "<vcpu>7</vcpu><memory>"))
    assert node(api.GET_VCPUS_FLAGS, uuid=TEST_UUID).value == 2
    assert node(api.GET_VCPUS_FLAGS, uuid=TEST_UUID, flags=c.VIR_DOMAIN_AFFECT_CONFIG).value == 7
    node(api.UNDEFINE, uuid=TEST_UUID)
    error = node.error(api.GET_VCPUS_FLAGS, uuid=TEST_UUID, flags=c.VIR_DOMAIN_AFFECT_CONFIG)
    assert error.str2 == "transient domains do not have any persistent config"


def test_cpu_time_grows_and_never_runs_backwards(node: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing while off; more and more while running; not negative when somebody sets the clock back."""
    assert node(api.GET_INFO, uuid=off(node)).cpu_time == 0
    first = node(api.GET_INFO, uuid=TEST_UUID).cpu_time
    assert node(api.GET_INFO, uuid=TEST_UUID).cpu_time >= first >= 0
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 86400)
    assert node(api.GET_INFO, uuid=TEST_UUID).cpu_time >= 0


def test_statistics_of_all_domains_in_one_call(node: Local) -> None:
    """libvirt's field names; what is not known is left out."""
    stats = {s.domain.name: s.params for s in node(api.GET_ALL_STATS).stats}
    assert set(stats) == {"test", "off"}
    assert stats["test"]["state.state"] == c.VIR_DOMAIN_RUNNING
    assert stats["test"]["balloon.maximum"] == 8388608
    assert (stats["test"]["vcpu.current"], stats["off"]["vcpu.maximum"]) == (2, 4)
    assert "cpu.time" in stats["test"]
    assert "cpu.time" not in stats["off"]


def test_statistics_of_chosen_groups_and_domains(node: Local) -> None:
    """Groups by bits, domains by UUID, by filter, or both; nothing matches, nothing is answered."""
    only = node(api.GET_ALL_STATS, stats=c.VIR_DOMAIN_STATS_STATE, uuids=[TEST_UUID]).stats
    assert [(s.domain.name, set(s.params)) for s in only] == [("test", {"state.state", "state.reason"})]
    inactive = node(api.GET_ALL_STATS, flags=c.VIR_CONNECT_LIST_DOMAINS_INACTIVE).stats
    assert [s.domain.name for s in inactive] == ["off"]
    assert node(api.GET_ALL_STATS, uuids=[TEST_UUID], flags=c.VIR_CONNECT_LIST_DOMAINS_INACTIVE).stats == []


def test_statistics_that_are_demanded_but_not_kept(node: Local) -> None:
    """Left out by default, refused when the caller insists."""
    assert node(api.GET_ALL_STATS, stats=1 << 20).stats
    error = node.error(api.GET_ALL_STATS, stats=1 << 20,
                       flags=c.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ENFORCE_STATS)
    assert error.code == c.VIR_ERR_ARGUMENT_UNSUPPORTED
    assert "0x100000" in error.message
