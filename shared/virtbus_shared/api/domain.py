"""Rows of the domain service: virtual machines and containers, on any hypervisor.

Sources: libvirt 9.0.0, ``libvirt-domain.h`` and ``libvirt-host.h`` (names, flags, states, events).
"""

from __future__ import annotations

from typing import TypeVar

from pydantic import Field

from virtbus_shared import constants as c
from virtbus_shared.api.common import Document, Flag, ListFlags, Number, String
from virtbus_shared.procedure import (
    TABLE,
    Event,
    Flags,
    NoParams,
    Nothing,
    Params,
    Priority,
    Procedure,
    Result,
    Text,
    Uuid,
)

P = TypeVar("P", bound=Params)
R = TypeVar("R", bound=Result)


class Domain(Result):
    """A reference to a domain: what libvirt's wire calls a domain, and all that a client holds."""

    name: str = Field(description="Name, unique on the connection.")
    uuid: str = Field(description="UUID in canonical text form.")
    id: int = Field(description="Number of the running instance; -1 when inactive.")


class DomainRef(Params):
    """Which domain."""

    uuid: Uuid
    name: str = Field(default="", max_length=1024, description="Its name as the caller knows it, for messages only.")


class DomainFlags(DomainRef):
    """Which domain, and how."""

    flags: Flags = 0


class DomainXML(Params):
    """A domain described by a document."""

    xml: Text = Field(description="A <domain> document.")
    flags: Flags = 0


class NativeText(Params):
    """A configuration to translate."""

    format: str = Field(description="Whose configuration it is: qemu-argv, the arguments of QEMU.")
    config: Text = Field(description="The configuration, or the document to make it from.")
    flags: Flags = 0


class DomainName(Params):
    """A domain by its name."""

    name: str = Field(description="Name of the domain.")


class DomainID(Params):
    """A domain by its number."""

    id: int = Field(description="Number of the running instance.", ge=-(2**31), lt=2**31)


class Domains(Result):
    """A list of domains."""

    domains: list[Domain] = Field(description="The domains that match.")


class OpenResult(Result):
    """What a connection is."""

    type: str = Field(description="Name of the hypervisor driver, as virConnectGetType gives it.")
    version: int = Field(description="Version of the hypervisor: major * 1000000 + minor * 1000 + release; 0 unknown.")


class DomainInfo(Result):
    """virDomainInfo."""

    state: int = Field(description="A VIR_DOMAIN_* state.")
    max_memory: int = Field(description="Maximum memory, KiB.")
    memory: int = Field(description="Memory in use, KiB.")
    vcpus: int = Field(description="Number of virtual CPUs.")
    cpu_time: int = Field(description="CPU time used, nanoseconds.")


class DomainState(Result):
    """State and reason."""

    state: int = Field(description="A VIR_DOMAIN_* state.")
    reason: int = Field(description="The reason, from the enumeration that belongs to the state.")


class SetAutostart(DomainRef):
    """Whether a domain starts with its node."""

    autostart: bool = Field(description="True: start it when the service starts on a booted node.")


class VcpusFlags(DomainFlags):
    """Which number of virtual CPUs: VIR_DOMAIN_VCPU_* flags."""


class MaxVcpus(Params):
    """For which kind of virtualization."""

    type: str = Field(default="", max_length=64, description="Domain type, such as kvm; empty for the default.")


class StatsRequest(Params):
    """Which statistics of which domains."""

    stats: Flags = Field(default=0, description="VIR_DOMAIN_STATS_* bits; 0 for all.")
    flags: Flags = Field(default=0, description="VIR_CONNECT_GET_ALL_DOMAINS_STATS_* bits: filters.")
    uuids: list[Uuid] = Field(default=[], description="Only these domains; empty for all.")


class DomainStats(Result):
    """Statistics of one domain."""

    domain: Domain = Field(description="The domain.")
    params: dict[str, int | str | bool | float] = Field(description="libvirt's field names, such as state.state.")


class AllStats(Result):
    """Statistics of many domains."""

    stats: list[DomainStats] = Field(description="One entry a domain.")


class LifecycleBody(Result):
    """virConnectDomainEventCallback."""

    domain: Domain = Field(description="The domain, with its number at the time of the event.")
    event: int = Field(description="A VIR_DOMAIN_EVENT_* type.")
    detail: int = Field(description="The detail, from the enumeration that belongs to the type.")


class RebootBody(Result):
    """An event that says nothing more than its domain."""

    domain: Domain = Field(description="The domain.")


def _read(name: str, serves: str, params: type[P], result: type[R], summary: str, acl: str = "domain:read",
          errors: tuple[int, ...] = (c.VIR_ERR_NO_DOMAIN,)) -> Procedure[P, R]:
    """A row that is answered from memory and allowed on a read-only connection."""
    return TABLE.procedure(Procedure(
        name=f"domain.{name}", summary=summary, params=params, result=result, acl=acl, read_only=True,
        priority=Priority.HIGH, serves=tuple(serves.split()), errors=errors, since="0.1"))


def _change(name: str, serves: str, params: type[P], result: type[R], summary: str, acl: str,
            errors: tuple[int, ...] = (c.VIR_ERR_NO_DOMAIN, c.VIR_ERR_OPERATION_INVALID)) -> Procedure[P, R]:
    """A row that changes state."""
    return TABLE.procedure(Procedure(
        name=f"domain.{name}", summary=summary, params=params, result=result, acl=acl, changes=True,
        serves=tuple(serves.split()), errors=errors, since="0.1"))


_XML = (c.VIR_ERR_XML_ERROR, c.VIR_ERR_XML_DETAIL, c.VIR_ERR_OPERATION_FAILED, c.VIR_ERR_CONFIG_UNSUPPORTED,
        c.VIR_ERR_XML_INVALID_SCHEMA)

# The connection
OPEN = _read("open", "virConnectOpen virConnectGetType virConnectGetVersion", NoParams, OpenResult,
             "Check that the URI's driver and path exist here.", "connect:getattr", (c.VIR_ERR_NO_CONNECT,))
GET_CAPABILITIES = TABLE.procedure(Procedure(
    name="domain.get_capabilities", params=NoParams, result=Document, acl="connect:read", read_only=True,
    summary="The <guest> elements of the capabilities; the <host> is nodedev.get_capabilities.",
    serves=("virConnectGetCapabilities",), since="0.1"))
GET_MAX_VCPUS = _read("get_node_max_vcpus", "virConnectGetMaxVcpus", MaxVcpus, Number,
                      "Most virtual CPUs that a domain of a type may have.", "connect:read", (c.VIR_ERR_INVALID_ARG,))
# Finding domains
LIST_ALL = _read("list_all", "virConnectListAllDomains virConnectListDomains virConnectNumOfDomains "
                 "virConnectListDefinedDomains virConnectNumOfDefinedDomains", ListFlags, Domains,
                 "All domains that match VIR_CONNECT_LIST_DOMAINS_* flags.", "connect:search_domains", ())
LOOKUP_BY_NAME = _read("lookup_by_name", "virDomainLookupByName", DomainName, Domain, "The domain of a name.")
LOOKUP_BY_UUID = _read("lookup_by_uuid", "virDomainLookupByUUID virDomainLookupByUUIDString", DomainRef, Domain,
                       "The domain of a UUID.")
LOOKUP_BY_ID = _read("lookup_by_id", "virDomainLookupByID", DomainID, Domain, "The running domain of a number.")
# Definitions
DEFINE_XML = _change("define_xml", "virDomainDefineXML virDomainDefineXMLFlags", DomainXML, Domain,
                     "Define a persistent domain, or change its definition.", "domain:write", _XML)
UNDEFINE = _change("undefine", "virDomainUndefine virDomainUndefineFlags", DomainFlags, Nothing,
                   "Forget a definition; a running domain becomes transient.", "domain:delete")
GET_XML_DESC = _read("get_xml_desc", "virDomainGetXMLDesc", DomainFlags, Document,
                     "The domain as XML: live, inactive, secure or migratable by VIR_DOMAIN_XML_* flags.")
GET_AUTOSTART = _read("get_autostart", "virDomainGetAutostart", DomainRef, Flag, "Whether it starts with the node.")
SET_AUTOSTART = _change("set_autostart", "virDomainSetAutostart", SetAutostart, Nothing,
                        "Say whether it starts with the node.", "domain:write")
XML_TO_NATIVE = TABLE.procedure(Procedure(
    name="domain.xml_to_native", params=NativeText, result=String, acl="connect:write", read_only=True,
    summary="The hypervisor's own configuration for a document; refused on a read-only connection.",
    serves=("virConnectDomainXMLToNative",), errors=(c.VIR_ERR_INVALID_ARG, *_XML), since="0.2"))
XML_FROM_NATIVE = TABLE.procedure(Procedure(
    name="domain.xml_from_native", params=NativeText, result=Document, acl="connect:write", read_only=True,
    summary="The document for a hypervisor's own configuration; refused on a read-only connection.",
    serves=("virConnectDomainXMLFromNative",), errors=(c.VIR_ERR_INVALID_ARG, c.VIR_ERR_CONFIG_UNSUPPORTED),
    since="0.2"))
# Life cycle
CREATE = _change("create", "virDomainCreate virDomainCreateWithFlags", DomainFlags, Domain,
                 "Start a defined domain.", "domain:start")
CREATE_XML = _change("create_xml", "virDomainCreateXML", DomainXML, Domain,
                     "Start a transient domain from a document.", "domain:start", _XML)
SHUTDOWN = _change("shutdown", "virDomainShutdown virDomainShutdownFlags", DomainFlags, Nothing,
                   "Ask the guest to shut down; returns at once.", "domain:init_control")
REBOOT = _change("reboot", "virDomainReboot", DomainFlags, Nothing, "Ask the guest to reboot; returns at once.",
                 "domain:init_control")
RESET = _change("reset", "virDomainReset", DomainFlags, Nothing, "Reset the machine, as its button would.",
                "domain:reset")
DESTROY = _change("destroy", "virDomainDestroy virDomainDestroyFlags", DomainFlags, Nothing,
                  "Stop the domain at once.", "domain:stop")
SUSPEND = _change("suspend", "virDomainSuspend", DomainRef, Nothing, "Stop the virtual CPUs.", "domain:suspend")
RESUME = _change("resume", "virDomainResume", DomainRef, Nothing, "Let the virtual CPUs run again.", "domain:suspend")
# Facts
GET_INFO = _read("get_info", "virDomainGetInfo", DomainRef, DomainInfo, "State, memory, CPUs and CPU time.")
GET_STATE = _read("get_state", "virDomainGetState", DomainFlags, DomainState, "State and its reason.")
IS_ACTIVE = _read("is_active", "virDomainIsActive", DomainRef, Flag, "Whether it runs.")
IS_PERSISTENT = _read("is_persistent", "virDomainIsPersistent", DomainRef, Flag, "Whether it is defined.")
IS_UPDATED = _read("is_updated", "virDomainIsUpdated", DomainRef, Flag, "Whether its definition changed while it ran.")
GET_OS_TYPE = _read("get_os_type", "virDomainGetOSType", DomainRef, String, "hvm, exe, ...")
GET_MAX_MEMORY = _read("get_max_memory", "virDomainGetMaxMemory", DomainRef, Number, "Maximum memory, KiB.")
GET_VCPUS_FLAGS = _read("get_vcpus_flags", "virDomainGetVcpusFlags virDomainGetMaxVcpus", VcpusFlags, Number,
                        "Number of virtual CPUs, current or maximum, live or defined.")
GET_ALL_STATS = _read("get_all_stats", "virConnectGetAllDomainStats virDomainListGetStats", StatsRequest, AllStats,
                      "Statistics of many domains in one call.", "connect:search_domains", ())

LIFECYCLE = TABLE.event(Event(
    name="domain.lifecycle", summary="A domain was defined, started, suspended, resumed, stopped, ...",
    body=LifecycleBody, id=c.VIR_DOMAIN_EVENT_ID_LIFECYCLE, since="0.1"))
REBOOTED = TABLE.event(Event(
    name="domain.reboot", summary="The guest rebooted.", body=RebootBody, id=c.VIR_DOMAIN_EVENT_ID_REBOOT, since="0.1"))
