"""What the guest reads about its machine: the SMBIOS tables, and files handed over by the firmware's configuration
device."""

from __future__ import annotations

from virtbus_shared.service.xml import attr, each, element, subs, text
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import words

# The entries of each table that have a place there, in the order in which libvirt writes them.
BIOS_ENTRIES = ("vendor", "version", "date", "release")
SYSTEM_ENTRIES = ("manufacturer", "product", "version", "serial", "uuid", "sku", "family")
BASE_BOARD_ENTRIES = ("manufacturer", "product", "version", "serial", "asset", "location")
CHASSIS_ENTRIES = ("manufacturer", "version", "serial", "asset", "sku")


@element
class SysinfoEntry(Element):
    """A field of a table by its name, or (fwcfg) a file of the firmware's configuration: its text or the host's file
    it comes from."""

    name: str | None = attr("@name")
    file: str | None = attr("@file")
    value: str | None = text(".")


@element
class BaseBoard(Element):
    """One board of the machine."""

    entries: list[SysinfoEntry] = subs("entry", SysinfoEntry)


@element
class Sysinfo(Element):
    """The tables of one ``type``: smbios has the named ones, fwcfg has ``entries``."""

    type: str | None = attr("@type", words("smbios", "fwcfg"), required=True)
    bios: list[SysinfoEntry] = subs("bios/entry", SysinfoEntry)
    system: list[SysinfoEntry] = subs("system/entry", SysinfoEntry)
    base_boards: list[BaseBoard] = subs("baseBoard", BaseBoard)
    chassis: list[SysinfoEntry] = subs("chassis/entry", SysinfoEntry)
    oem_strings: list[str] = each("oemStrings/entry")
    entries: list[SysinfoEntry] = subs("entry", SysinfoEntry)
