"""``virDomain``, and what a connection can do with domains: one method per row of the domain service.

Names, argument order and shapes are libvirt-python's. A method says which C function it stands for, because errors
name it; the rest of a call is its row. Methods that libvirt has and virtbus lacks are added by ``complete``.
"""

from __future__ import annotations

from collections.abc import Iterable

from virtbus.arguments import flag_bits, not_negative, number, optional_text, text, uuid_from_bytes, uuid_from_text
from virtbus.errors import api_call
from virtbus.handle import MAX_NAME, Caller, Handle
from virtbus.unsupported import complete, denied
from virtbus_shared import constants as c
from virtbus_shared.api import domain as rows
from virtbus_shared.api.common import ListFlags
from virtbus_shared.errors import LibvirtError, invalid_arg

Stats = dict[str, int | str | bool | float]

SECRET_XML = c.VIR_DOMAIN_XML_SECURE | c.VIR_DOMAIN_XML_MIGRATABLE


@complete
class virDomain(Handle):
    """A virtual machine or container: a name, a UUID, and the number that it had when a call last told it."""

    def __init__(self, parent: Caller, _obj: rows.Domain) -> None:
        super().__init__(parent)
        self._name = _obj.name
        self._uuid = _obj.uuid
        self._id: int | None = _obj.id
        self._reference: rows.DomainRef | None = None  # made once: most calls of an object carry nothing else

    def _ref(self) -> rows.DomainRef:
        if self._reference is None:
            self._reference = rows.DomainRef(uuid=self._uuid, name=self._name[:MAX_NAME])
        return self._reference

    def _flags(self, flags: int) -> rows.DomainFlags:
        return rows.DomainFlags(uuid=self._uuid, name=self._name[:MAX_NAME], flags=flag_bits(flags))

    @api_call
    def name(self) -> str:
        """Its name; no call."""
        return self._name

    @api_call
    def UUID(self) -> bytes:
        """Its UUID as 16 bytes; no call."""
        return bytes.fromhex(self._uuid.replace("-", ""))

    @api_call
    def UUIDString(self) -> str:
        """Its UUID as text; no call."""
        return self._uuid

    @api_call
    def ID(self) -> int:
        """The number of the running instance as far as this object was told, -1 for none; like in libvirt, starts and
        stops made elsewhere are not noticed. After ``shutdown`` and ``reboot`` the service is asked, since those
        return before the guest obeys.
        """
        if self._id is None:
            try:
                return self._call("virDomainGetID", rows.LOOKUP_BY_UUID, self._ref()).id
            except LibvirtError as error:
                if error.code != c.VIR_ERR_NO_DOMAIN:
                    raise
                return -1
        return self._id

    @api_call
    def create(self) -> int:
        """Start it. Code 55 if it runs already."""
        return self._create("virDomainCreate", 0)

    @api_call
    def createWithFlags(self, flags: int = 0) -> int:
        """Start it; ``flags`` are ``VIR_DOMAIN_START_*``."""
        return self._create("virDomainCreateWithFlags", flags)

    def _create(self, function: str, flags: int) -> int:
        self._id = self._call(function, rows.CREATE, self._flags(flags)).id
        return 0

    @api_call
    def shutdown(self) -> int:
        """Ask the guest to shut down; returns at once."""
        return self._shutdown("virDomainShutdown", 0)

    @api_call
    def shutdownFlags(self, flags: int = 0) -> int:
        """Ask the guest to shut down; ``flags`` are ``VIR_DOMAIN_SHUTDOWN_*``."""
        return self._shutdown("virDomainShutdownFlags", flags)

    def _shutdown(self, function: str, flags: int) -> int:
        self._call(function, rows.SHUTDOWN, self._flags(flags))
        self._id = None
        return 0

    @api_call
    def reboot(self, flags: int = 0) -> int:
        """Ask the guest to reboot; ``flags`` are ``VIR_DOMAIN_REBOOT_*``."""
        self._call("virDomainReboot", rows.REBOOT, self._flags(flags))
        self._id = None
        return 0

    @api_call
    def reset(self, flags: int = 0) -> int:
        """Reset the machine, as its button would; ``flags`` must be 0."""
        self._call("virDomainReset", rows.RESET, self._flags(flags))
        return 0

    @api_call
    def destroy(self) -> int:
        """Stop it at once, without asking the guest; a transient domain is gone then."""
        return self._destroy("virDomainDestroy", 0)

    @api_call
    def destroyFlags(self, flags: int = 0) -> int:
        """Stop it at once; ``flags`` are ``VIR_DOMAIN_DESTROY_*``."""
        return self._destroy("virDomainDestroyFlags", flags)

    def _destroy(self, function: str, flags: int) -> int:
        self._call(function, rows.DESTROY, self._flags(flags))
        self._id = -1
        return 0

    @api_call
    def suspend(self) -> int:
        """Stop its virtual CPUs; its memory stays."""
        self._call("virDomainSuspend", rows.SUSPEND, self._ref())
        return 0

    @api_call
    def resume(self) -> int:
        """Let its virtual CPUs run again."""
        self._call("virDomainResume", rows.RESUME, self._ref())
        return 0

    @api_call
    def undefine(self) -> int:
        """Forget its definition; a running domain becomes transient."""
        return self._undefine("virDomainUndefine", 0)

    @api_call
    def undefineFlags(self, flags: int = 0) -> int:
        """Forget its definition; ``flags`` are ``VIR_DOMAIN_UNDEFINE_*``."""
        return self._undefine("virDomainUndefineFlags", flags)

    def _undefine(self, function: str, flags: int) -> int:
        self._call(function, rows.UNDEFINE, self._flags(flags))
        return 0

    @api_call
    def XMLDesc(self, flags: int = 0) -> str:
        """Its description as XML; ``flags`` are ``VIR_DOMAIN_XML_*``. Secrets are not for read-only connections."""
        params = self._flags(flags)
        if params.flags & SECRET_XML and self._open_channel("virDomainGetXMLDesc").read_only:
            raise denied("virDomainGetXMLDesc", "virDomainGetXMLDesc with secure flag")
        return self._call("virDomainGetXMLDesc", rows.GET_XML_DESC, params).xml

    @api_call
    def autostart(self) -> int:
        """1 if it starts with its node, else 0."""
        return int(self._call("virDomainGetAutostart", rows.GET_AUTOSTART, self._ref()).value)

    @api_call
    def setAutostart(self, autostart: int) -> int:
        """Say whether it starts with its node."""
        self._call("virDomainSetAutostart", rows.SET_AUTOSTART, rows.SetAutostart(
            uuid=self._uuid, name=self._name[:MAX_NAME], autostart=bool(number(autostart))))
        return 0

    @api_call
    def info(self) -> list[int]:
        """[state, maximum memory KiB, memory KiB, virtual CPUs, CPU time ns]."""
        info = self._call("virDomainGetInfo", rows.GET_INFO, self._ref())
        return [info.state, info.max_memory, info.memory, info.vcpus, info.cpu_time]

    @api_call
    def state(self, flags: int = 0) -> list[int]:
        """[state, reason]; ``flags`` must be 0."""
        state = self._call("virDomainGetState", rows.GET_STATE, self._flags(flags))
        return [state.state, state.reason]

    @api_call
    def isActive(self) -> int:
        """1 if it runs (or is paused), else 0."""
        return int(self._call("virDomainIsActive", rows.IS_ACTIVE, self._ref()).value)

    @api_call
    def isPersistent(self) -> int:
        """1 if it is defined, 0 if it ends with its run."""
        return int(self._call("virDomainIsPersistent", rows.IS_PERSISTENT, self._ref()).value)

    @api_call
    def isUpdated(self) -> int:
        """1 if its definition was changed while it ran, else 0."""
        return int(self._call("virDomainIsUpdated", rows.IS_UPDATED, self._ref()).value)

    @api_call
    def OSType(self) -> str:
        """Its kind of operating system: hvm, exe, ..."""
        return self._call("virDomainGetOSType", rows.GET_OS_TYPE, self._ref()).value

    @api_call
    def maxMemory(self) -> int:
        """Its maximum memory, KiB."""
        return self._call("virDomainGetMaxMemory", rows.GET_MAX_MEMORY, self._ref()).value

    @api_call
    def maxVcpus(self) -> int:
        """The most virtual CPUs that the running domain may have. Code 55 if it does not run."""
        return self._vcpus("virDomainGetMaxVcpus", c.VIR_DOMAIN_VCPU_LIVE | c.VIR_DOMAIN_VCPU_MAXIMUM)

    @api_call
    def vcpusFlags(self, flags: int = 0) -> int:
        """Its number of virtual CPUs; ``flags`` are ``VIR_DOMAIN_VCPU_*``."""
        return self._vcpus("virDomainGetVcpusFlags", flags)

    def _vcpus(self, function: str, flags: int) -> int:
        return self._call(function, rows.GET_VCPUS_FLAGS, rows.VcpusFlags(
            uuid=self._uuid, name=self._name[:MAX_NAME], flags=flag_bits(flags))).value


class DomainCalls(Caller):
    """The part of ``virConnect`` that finds and makes domains."""

    @api_call
    def listAllDomains(self, flags: int = 0) -> list[virDomain]:
        """All domains that match ``VIR_CONNECT_LIST_DOMAINS_*`` flags; 0 for all."""
        return [virDomain(self, found) for found in self._domains("virConnectListAllDomains", flags)]

    @api_call
    def listDomainsID(self) -> list[int]:
        """Numbers of the active domains."""
        return [d.id for d in self._domains("virConnectListDomains", c.VIR_CONNECT_LIST_DOMAINS_ACTIVE)]

    @api_call
    def numOfDomains(self) -> int:
        """How many domains are active."""
        return len(self._domains("virConnectNumOfDomains", c.VIR_CONNECT_LIST_DOMAINS_ACTIVE))

    @api_call
    def listDefinedDomains(self) -> list[str]:
        """Names of the inactive domains."""
        return [d.name for d in self._domains("virConnectListDefinedDomains", c.VIR_CONNECT_LIST_DOMAINS_INACTIVE)]

    @api_call
    def numOfDefinedDomains(self) -> int:
        """How many domains are inactive."""
        return len(self._domains("virConnectNumOfDefinedDomains", c.VIR_CONNECT_LIST_DOMAINS_INACTIVE))

    def _domains(self, function: str, flags: int) -> list[rows.Domain]:
        return self._call(function, rows.LIST_ALL, ListFlags(flags=flag_bits(flags))).domains

    @api_call
    def lookupByName(self, name: str) -> virDomain:
        """The domain of a name. Code 42 if there is none."""
        function = "virDomainLookupByName"
        return virDomain(self, self._call(function, rows.LOOKUP_BY_NAME,
                                          rows.DomainName(name=text(name, function, "name"))))

    @api_call
    def lookupByUUID(self, uuid: bytes) -> virDomain:
        """The domain of a UUID in 16 bytes. Code 42 if there is none."""
        function = "virDomainLookupByUUID"
        return self._by_uuid(function, uuid_from_bytes(uuid, function))

    @api_call
    def lookupByUUIDString(self, uuidstr: str) -> virDomain:
        """The domain of a UUID in text. Code 42 if there is none."""
        function = "virDomainLookupByUUIDString"
        return self._by_uuid(function, uuid_from_text(uuidstr, function))

    def _by_uuid(self, function: str, uuid: str) -> virDomain:
        return virDomain(self, self._call(function, rows.LOOKUP_BY_UUID, rows.DomainRef(uuid=uuid)))

    @api_call
    def lookupByID(self, id: int) -> virDomain:
        """The active domain of a number. Code 42 if there is none."""
        function = "virDomainLookupByID"
        params = rows.DomainID(id=not_negative(id, function, "id"))
        return virDomain(self, self._call(function, rows.LOOKUP_BY_ID, params))

    @api_call
    def defineXML(self, xml: str) -> virDomain:
        """Define a persistent domain by a ``<domain>`` document, or change its definition."""
        return self._define("virDomainDefineXML", xml, 0)

    @api_call
    def defineXMLFlags(self, xml: str, flags: int = 0) -> virDomain:
        """As ``defineXML``; ``flags`` are ``VIR_DOMAIN_DEFINE_*``."""
        return self._define("virDomainDefineXMLFlags", xml, flags)

    def _define(self, function: str, xml: str, flags: int) -> virDomain:
        params = rows.DomainXML(xml=text(xml, function, "xml"), flags=flag_bits(flags))
        return virDomain(self, self._call(function, rows.DEFINE_XML, params))

    @api_call
    def domainXMLToNative(self, nativeFormat: str, domainXml: str, flags: int = 0) -> str:
        """The hypervisor's own configuration for a document: "qemu-argv" for QEMU's arguments, quoted for a shell."""
        function = "virConnectDomainXMLToNative"
        params = rows.NativeText(format=text(nativeFormat, function, "nativeFormat"),
                                 config=text(domainXml, function, "domainXml"), flags=flag_bits(flags))
        return self._call(function, rows.XML_TO_NATIVE, params).value

    @api_call
    def domainXMLFromNative(self, nativeFormat: str, nativeConfig: str, flags: int = 0) -> str:
        """The document for a configuration that ``domainXMLToNative`` made."""
        function = "virConnectDomainXMLFromNative"
        params = rows.NativeText(format=text(nativeFormat, function, "nativeFormat"),
                                 config=text(nativeConfig, function, "nativeConfig"), flags=flag_bits(flags))
        return self._call(function, rows.XML_FROM_NATIVE, params).xml

    @api_call
    def createXML(self, xmlDesc: str, flags: int = 0) -> virDomain:
        """Start a transient domain from a document; ``flags`` are ``VIR_DOMAIN_START_*``."""
        return self._create_xml("virDomainCreateXML", xmlDesc, flags)

    @api_call
    def createLinux(self, xmlDesc: str, flags: int = 0) -> virDomain:
        """The old name of ``createXML``."""
        return self._create_xml("virDomainCreateLinux", xmlDesc, flags)

    def _create_xml(self, function: str, xml: str, flags: int) -> virDomain:
        params = rows.DomainXML(xml=text(xml, function, "xmlDesc"), flags=flag_bits(flags))
        return virDomain(self, self._call(function, rows.CREATE_XML, params))

    @api_call
    def getMaxVcpus(self, type: str | None) -> int:
        """Most virtual CPUs that a domain of a type (``"kvm"``, None for the default) may have."""
        function = "virConnectGetMaxVcpus"
        params = rows.MaxVcpus(type=optional_text(type, function, limit=64) or "")
        return self._call(function, rows.GET_MAX_VCPUS, params).value

    @api_call
    def getAllDomainStats(self, stats: int = 0, flags: int = 0) -> list[tuple[virDomain, Stats]]:
        """[(domain, {field: value})] of all domains; ``stats`` are ``VIR_DOMAIN_STATS_*`` bits, 0 for all, ``flags``
        are ``VIR_CONNECT_GET_ALL_DOMAINS_STATS_*`` filters.
        """
        return self._stats("virConnectGetAllDomainStats", stats, flags, [])

    @api_call
    def domainListGetStats(self, doms: Iterable[virDomain], stats: int = 0,
                           flags: int = 0) -> list[tuple[virDomain, Stats]]:
        """As ``getAllDomainStats``, for these domains of this connection; one that is gone is left out."""
        function = "virDomainListGetStats"
        uuids = [self._own(dom, function)._uuid for dom in doms]
        if not uuids:
            raise invalid_arg(f"doms array in {function} must contain at least one domain", c.VIR_FROM_DOMAIN)
        return self._stats(function, stats, flags, uuids)

    def _own(self, dom: virDomain, function: str) -> virDomain:
        if not isinstance(dom, virDomain):
            raise TypeError(f"{function}() needs virDomain objects, not {type(dom).__name__}")
        if dom._conn is not self:
            raise invalid_arg(f"domains in 'doms' array must belong to a single connection in {function}",
                              c.VIR_FROM_DOMAIN)
        return dom

    def _stats(self, function: str, stats: int, flags: int, uuids: list[str]) -> list[tuple[virDomain, Stats]]:
        params = rows.StatsRequest(stats=flag_bits(stats), flags=flag_bits(flags), uuids=uuids)
        return [(virDomain(self, entry.domain), entry.params)
                for entry in self._call(function, rows.GET_ALL_STATS, params).stats]
