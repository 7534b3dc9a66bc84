"""Who a domain is: its name, its UUID, its generation; and what a document may not claim about a running one."""

from __future__ import annotations

import uuid

from virtbus_domain.normalise.context import Context, xml_error
from virtbus_domain.xml.domain import Domain
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError


def check_identity(domain: Domain, context: Context) -> None:
    """A name that can be a file's, and a type."""
    del context
    if not domain.name:
        raise LibvirtError(c.VIR_ERR_NO_NAME, domain=c.VIR_FROM_DOMAIN)
    if "\n" in domain.name:
        raise LibvirtError(c.VIR_ERR_XML_DETAIL, "invalid char in name: \n", domain=c.VIR_FROM_XML)
    if "/" in domain.name:
        raise xml_error(f"name {domain.name} cannot contain '/'")
    if domain.title and "\n" in domain.title:
        raise xml_error("Domain title can't contain newlines")
    if domain.type is None:
        raise LibvirtError(c.VIR_ERR_INTERNAL_ERROR, "missing domain type attribute", domain=c.VIR_FROM_DOMAIN)


def give_uuid(domain: Domain, context: Context) -> None:
    """A domain without a UUID takes that of its system table, or gets a new one; the two agree."""
    system = next((entry.value for info in domain.sysinfos if info.type == "smbios" and info.system
                   for entry in info.system if entry.name == "uuid"), None) if domain.sysinfos else None
    if system is not None:
        try:
            given = str(uuid.UUID(system.strip()))
        except ValueError:
            raise LibvirtError(c.VIR_ERR_XML_DETAIL, "malformed <sysinfo> uuid element",
                               domain=c.VIR_FROM_DOMAIN) from None
        if domain.uuid is None:
            domain.uuid = given
        elif domain.uuid != given:
            raise LibvirtError(c.VIR_ERR_XML_DETAIL, "UUID mismatch between <uuid> and <sysinfo>",
                               domain=c.VIR_FROM_DOMAIN)
    if domain.uuid is None:
        domain.uuid = str(uuid.UUID(bytes=context.randbytes(16), version=4))
    if domain.genid == "":
        domain.genid = str(uuid.UUID(bytes=context.randbytes(16), version=4))


