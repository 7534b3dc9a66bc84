"""What the host's own firmware says of the host, for guests that are to say the same of themselves."""

from __future__ import annotations

from pathlib import Path

from virtbus_domain.xml.sysinfo import BaseBoard, Sysinfo, SysinfoEntry

_DMI = Path("/sys/class/dmi/id")
# The entries of each table and the kernel's files for them. The UUID is the guest's own.
_BIOS = {"vendor": "bios_vendor", "version": "bios_version", "date": "bios_date", "release": "bios_release"}
_SYSTEM = {"manufacturer": "sys_vendor", "product": "product_name", "version": "product_version",
           "serial": "product_serial", "sku": "product_sku", "family": "product_family"}
_BOARD = {"manufacturer": "board_vendor", "product": "board_name", "version": "board_version",
          "serial": "board_serial", "asset": "board_asset_tag"}
_CHASSIS = {"manufacturer": "chassis_vendor", "version": "chassis_version", "serial": "chassis_serial",
            "asset": "chassis_asset_tag"}


def read_host_sysinfo(directory: Path = _DMI) -> Sysinfo | None:
    """The host's tables; None where there are none. It blocks."""
    if not directory.exists():
        return None
    board = _entries(directory, _BOARD)
    return Sysinfo(type="smbios", bios=_entries(directory, _BIOS), system=_entries(directory, _SYSTEM),
                   base_boards=[BaseBoard(entries=board)] if board else [], chassis=_entries(directory, _CHASSIS))


def _entries(directory: Path, files: dict[str, str]) -> list[SysinfoEntry]:
    found = []
    for name, file in files.items():
        try:
            value = (directory / file).read_text().strip()
        except OSError:
            continue
        if value:
            found.append(SysinfoEntry(name=name, value=value))
    return found
