"""Who a domain is: its name, its UUID, its generation; and what a document may not claim about a running one."""

from __future__ import annotations

import re
import uuid

from virtbus_domain.normalise.context import Context, internal_error, xml_detail, xml_error
from virtbus_domain.xml.domain import Domain
from virtbus_domain.xml.sysinfo import (
    BASE_BOARD_ENTRIES,
    BIOS_ENTRIES,
    CHASSIS_ENTRIES,
    SYSTEM_ENTRIES,
    Sysinfo,
    SysinfoEntry,
)
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.xml_values import UUID


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
        raise internal_error("missing domain type attribute")


_TABLES = {"bios": BIOS_ENTRIES, "system": SYSTEM_ENTRIES, "chassis": CHASSIS_ENTRIES}
_DATE = re.compile(r"\s*\+?(\d{1,9})/\s*\+?(\d{1,9})/\s*\+?(\d{1,9})", re.ASCII)


def read_sysinfo(domain: Domain, context: Context) -> None:
    """The entries that a table has a place for, in its order; empty ones, empty boards and empty tables vanish."""
    del context
    for info in domain.sysinfos:
        if info.type == "smbios":
            _read_tables(info)
        else:
            _read_files(info)


def _read_tables(info: Sysinfo) -> None:
    for name, known in _TABLES.items():
        entries = getattr(info, name)
        if entries:
            setattr(info, name, _ordered(entries, known))
    for board in info.base_boards:
        board.entries = _ordered(board.entries, BASE_BOARD_ENTRIES)
    info.base_boards = [board for board in info.base_boards if board.entries]
    for entry in info.bios:
        if entry.name == "date" and not _is_date(entry.value or ""):
            raise xml_detail("Invalid BIOS 'date' format")
    for entry in info.system:
        if entry.name == "uuid":
            entry.value = (entry.value or "").lower()


def _is_date(text: str) -> bool:
    """Month, day and year, which may leave out its century."""
    found = _DATE.fullmatch(text)
    month, day, year = map(int, found.groups()) if found else (0, 0, 0)
    return 1 <= month <= 12 and 1 <= day <= 31 and not 100 <= year < 1900


def _read_files(info: Sysinfo) -> None:
    """What is handed over stands in a file or in the document."""
    for entry in info.entries:
        if entry.name is None:
            raise xml_error("Firmware entry is missing 'name' attribute")
        if entry.file is not None:
            entry.value = None
        elif entry.value is None:
            raise xml_error("Firmware entry must have either value or 'file' attribute")


def _ordered(entries: list[SysinfoEntry], known: tuple[str, ...]) -> list[SysinfoEntry]:
    by_name = {entry.name: entry for entry in reversed(entries) if entry.value}
    return [by_name[name] for name in known if name in by_name]


def give_uuid(domain: Domain, context: Context) -> None:
    """A domain without a UUID takes that of its system table, or gets a new one; the two agree."""
    system = next((entry.value for info in domain.sysinfos if info.type == "smbios"
                   for entry in info.system if entry.name == "uuid"), None)
    if system is not None:
        assert UUID.read
        try:
            given = UUID.read(system)
        except ValueError:
            raise xml_detail("malformed <sysinfo> uuid element") from None
        if domain.uuid is None:
            domain.uuid = given
        elif domain.uuid != given:
            raise xml_detail("UUID mismatch between <uuid> and <sysinfo>")
    if domain.uuid is None:
        domain.uuid = str(uuid.UUID(bytes=context.randbytes(16), version=4))
    if domain.genid == "":
        domain.genid = str(uuid.UUID(bytes=context.randbytes(16), version=4))


