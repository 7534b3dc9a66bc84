"""What the guest reads about its machine: SMBIOS tables and files of the firmware's configuration device."""

from __future__ import annotations

from collections.abc import Iterable

from virtbus_domain.drivers.qemu.command.arguments import Arguments
from virtbus_domain.drivers.qemu.command.setup import Setup
from virtbus_domain.xml.sysinfo import Sysinfo, SysinfoEntry
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError


def append_sysinfo(arguments: Arguments, setup: Setup) -> None:
    """``-smbios`` for each table and ``-fw_cfg`` for each file."""
    os = setup.domain.os
    mode = os.smbios_mode if os else None
    if mode == "host":
        if setup.host_sysinfo is None:
            raise LibvirtError(c.VIR_ERR_CONFIG_UNSUPPORTED, "Host SMBIOS information is not available",
                               domain=c.VIR_FROM_QEMU)
        _smbios(arguments, setup.host_sysinfo)
    for info in setup.domain.sysinfos:
        if info.type == "fwcfg":
            for entry in info.entries:
                arguments.keyed("-fw_cfg", name=entry.name, string=None if entry.file else entry.value,
                                file=entry.file)
        elif mode == "sysinfo":
            _smbios(arguments, info)


def _smbios(arguments: Arguments, info: Sysinfo) -> None:
    """Types as in the DMTF's specification of SMBIOS: 0 firmware, 1 system, 2 board, 3 chassis, 11 strings."""
    _table(arguments, 0, info.bios)
    _table(arguments, 1, info.system)
    for board in info.base_boards:
        _table(arguments, 2, board.entries)
    _table(arguments, 3, info.chassis)
    if info.oem_strings:
        arguments.pairs("-smbios", [("type", 11), *(("value", text) for text in info.oem_strings)])


def _table(arguments: Arguments, number: int, entries: Iterable[SysinfoEntry]) -> None:
    values = [(str(entry.name), entry.value) for entry in entries]
    if values:
        arguments.pairs("-smbios", [("type", number), *values])
