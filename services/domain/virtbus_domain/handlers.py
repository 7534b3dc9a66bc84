"""The handlers of the domain service, and what nearly all of them do first: find their domain."""

from __future__ import annotations

from virtbus_domain.driver import DomainDriver
from virtbus_domain.object import DomainObject
from virtbus_shared import constants as c
from virtbus_shared.api import domain as api
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.handlers import Context, Handlers

handlers: Handlers[DomainDriver] = Handlers("domain")

Ctx = Context[DomainDriver]


def find(ctx: Ctx, ref: api.DomainRef) -> DomainObject:
    """The domain of a reference. Raises ``VIR_ERR_NO_DOMAIN``, in libvirt's words."""
    domain = ctx.driver.domains.by_uuid(ref.uuid)
    if domain is None:
        raise LibvirtError(c.VIR_ERR_NO_DOMAIN, f"no domain with matching uuid '{ref.uuid}' ({ref.name})",
                           domain=ctx.driver.error_domain)
    return domain
