"""Who a domain is: its name, its UUID, its generation; and what a document may not claim about a running one."""

from __future__ import annotations

import uuid

from virtbus_domain.normalise.context import Context, xml_error
from virtbus_domain.xml.domain import Domain
from virtbus_domain.xml.sysinfo import (
    BASE_BOARD_ENTRIES,
    BIOS_ENTRIES,
    CHASSIS_ENTRIES,
    SYSTEM_ENTRIES,
    SysinfoEntry,
)
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


_TABLES = {"bios": BIOS_ENTRIES, "system": SYSTEM_ENTRIES, "chassis": CHASSIS_ENTRIES}


def complete_sysinfo(domain: Domain, context: Context) -> None:
    """The entries that a table has a place for, in its order; empty ones, empty boards and empty tables vanish."""
    del context
    for info in domain.sysinfos:
        if info.type != "smbios":
            continue
        for name, known in _TABLES.items():
            setattr(info, name, _ordered(getattr(info, name), known))
        for board in info.base_boards:
            board.entries = _ordered(board.entries, BASE_BOARD_ENTRIES)
        info.base_boards = [board for board in info.base_boards if board.entries]
        for entry in info.system:
            if entry.name == "uuid":
                entry.value = (entry.value or "").lower()


def _ordered(entries: list[SysinfoEntry], known: tuple[str, ...]) -> list[SysinfoEntry]:
    by_name = {entry.name: entry for entry in reversed(entries) if entry.value}
    return [by_name[name] for name in known if name in by_name]


def give_uuid(domain: Domain, context: Context) -> None:
    """A domain without a UUID takes that of its system table, or gets a new one; the two agree."""
    system = next((entry.value for info in domain.sysinfos if info.type == "smbios"
                   for entry in info.system if entry.name == "uuid"), None)
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


