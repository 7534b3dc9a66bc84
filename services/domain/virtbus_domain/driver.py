"""What a hypervisor driver is to the domain service.

Its methods carry the names of the rows they serve, so one search shows the path of a call. Each does its effect on
the hypervisor and returns the ``Move`` that describes what happened, or None when the guest will tell later (a guest
that was asked to shut down). A method that a driver lacks answers "not supported by the connection driver", code 3.
Which states an operation is allowed in, and how a refusal is worded, is the driver's too: clients know both.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import ClassVar

from virtbus_domain.moves import Move, apply
from virtbus_domain.object import KIND, DomainObject, Facts
from virtbus_domain.statistics import DomainStatistics, Shape
from virtbus_domain.xml import format_domain, parse_domain
from virtbus_domain.xml.domain import Domain
from virtbus_shared import constants as c
from virtbus_shared.api import domain as api
from virtbus_shared.errors import LibvirtError
from virtbus_shared.procedure import AnyProcedure
from virtbus_shared.service.driver import Driver, DriverHost
from virtbus_shared.service.objects import Registry

_TRANSIENT = {
    api.UNDEFINE.name: "cannot undefine transient domain",
    api.SET_AUTOSTART.name: "cannot set autostart for transient domain",
}


class DomainDriver(Driver):
    """One connection to a hypervisor. ``domains`` are the domains on it."""

    type_name: ClassVar[str]  # virConnectGetType
    flags: ClassVar[Mapping[str, int]]  # libvirt function without its prefix -> the flag bits that it knows

    def __init__(self, host: DriverHost) -> None:
        super().__init__(host)
        self.domains: Registry[DomainObject] = Registry()
        self._last_id = 0

    def load(self) -> None:
        """Take in what the store kept."""
        for uuid, record in self.host.load(KIND):
            domain = DomainObject.from_record(uuid, record)
            self.domains.add(domain)
            self._last_id = max(self._last_id, domain.id)

    def next_id(self) -> int:
        """A number for a new running instance."""
        self._last_id += 1
        return self._last_id

    def autostarting(self) -> Iterable[tuple[AnyProcedure, dict[str, str]]]:
        """Marked domains that do not run."""
        return [(api.CREATE, {"uuid": d.uuid, "name": d.name}) for d in self.domains if d.autostart and not d.active]

    async def moved(self, domain: DomainObject, move: Move) -> None:
        """Something happened to a domain by itself: store it and say so. The caller holds the domain's turn."""
        change = self.host.change()
        apply(change, self.domains, domain, move)
        await self.host.commit(change)

    def check(self, row: AnyProcedure, domain: DomainObject) -> None:
        """Refuse an operation that the domain's state forbids. Drivers whose words differ override it."""
        if row is api.CREATE:
            if domain.active:
                raise self.invalid("domain is already running", self.error_domain)
        elif row in (api.UNDEFINE, api.SET_AUTOSTART):
            if not domain.persistent:
                raise self.invalid(_TRANSIENT[row.name], self.error_domain)
        elif not domain.active:
            raise self.invalid("domain is not running", c.VIR_FROM_DOMAIN)

    def require_flags(self, function: str, flags: int) -> None:
        """Refuse flag bits that this driver does not know for a function; see ``flags``."""
        self.check_flags(flags, self.flags.get(function, 0), function)

    @staticmethod
    def invalid(detail: str, domain: int) -> LibvirtError:
        """``VIR_ERR_OPERATION_INVALID``."""
        return LibvirtError(c.VIR_ERR_OPERATION_INVALID, detail, domain=domain)

    @property
    @abstractmethod
    def version(self) -> int:
        """The hypervisor's version as virConnectGetVersion gives it."""

    @abstractmethod
    def max_vcpus(self, domain_type: str) -> int:
        """Most virtual CPUs of a domain of a type; raises ``VIR_ERR_INVALID_ARG`` for a type that is not known."""

    @abstractmethod
    async def capabilities(self) -> str:
        """The ``<guest>`` elements of the capabilities document; may have to try what the hypervisor can do."""

    @abstractmethod
    async def read(self, xml: str) -> Domain:
        """A document, checked and completed for this hypervisor."""

    def describe(self, xml: str, *, live: bool, secure: bool, migratable: bool, domain_id: int) -> str:
        """A stored document as XMLDesc gives it."""
        model = parse_domain(xml)
        model.id = domain_id if live else None
        if migratable:
            self.drop_implicit(model)
        return format_domain(model, live=live, secure=secure, migratable=migratable)

    def drop_implicit(self, model: Domain) -> None:
        """Take from a document for another host what that host adds by itself."""

    def lookup_detail(self, detail: str) -> str | None:
        """The detail of "Domain not found" when a look-up fails."""
        return detail

    @abstractmethod
    def cpu_time(self, domain: DomainObject) -> int:
        """CPU time of a domain in nanoseconds, without asking a monitor."""

    async def statistics(self, domain: DomainObject, shape: Shape) -> DomainStatistics | None:
        """What is measured of a running domain; None when this driver measures nothing.

        Called without the domain's turn, beside whatever is done to it, and not again before it has returned.
        """
        del domain, shape
        return None

    def facts(self, model: Domain) -> Facts:
        """What the calls without XML say of a document."""
        vcpu = model.vcpu or 1
        memory = model.memory or 0
        return Facts((model.os.type if model.os else None) or "hvm", memory, model.current_memory or memory,
                     model.vcpu_current or vcpu, vcpu)

    @abstractmethod
    async def domain_create(self, domain: DomainObject, model: Domain, flags: int) -> Move:
        """Start ``model`` under the domain's new ``id``; ``domain.live`` may be set to what really runs."""

    async def domain_xml_to_native(self, native: str, xml: str, flags: int = 0) -> str:
        """The hypervisor's own configuration for a document; ``native`` is its format."""
        del native, xml, flags
        raise self.unsupported(api.XML_TO_NATIVE)

    async def domain_xml_from_native(self, native: str, config: str, flags: int = 0) -> str:
        """The document for the hypervisor's own configuration."""
        del native, config, flags
        raise self.unsupported(api.XML_FROM_NATIVE)

    async def domain_shutdown(self, domain: DomainObject, flags: int) -> Move | None:
        """Ask the guest to shut down."""
        del domain, flags
        raise self.unsupported(api.SHUTDOWN)

    async def domain_reboot(self, domain: DomainObject, flags: int) -> Move | None:
        """Ask the guest to reboot."""
        del domain, flags
        raise self.unsupported(api.REBOOT)

    async def domain_reset(self, domain: DomainObject, flags: int) -> Move | None:
        """Reset the machine."""
        del domain, flags
        raise self.unsupported(api.RESET)

    def interrupt(self, domain: DomainObject) -> None:
        """A domain is about to be destroyed: what holds its turn need not be waited for. Must not wait itself."""

    @abstractmethod
    async def domain_destroy(self, domain: DomainObject, flags: int) -> Move:
        """End the running instance at once; returns when it is gone."""

    async def domain_suspend(self, domain: DomainObject) -> Move | None:
        """Stop the virtual CPUs."""
        del domain
        raise self.unsupported(api.SUSPEND)

    async def domain_resume(self, domain: DomainObject) -> Move | None:
        """Let the virtual CPUs run again."""
        del domain
        raise self.unsupported(api.RESUME)
