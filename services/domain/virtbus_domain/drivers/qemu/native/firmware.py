"""How the guest starts, read back: firmware, a kernel given directly, the boot menu; and what it reads of itself."""

from __future__ import annotations

from virtbus_domain.drivers.qemu.native.options import members, refusal
from virtbus_domain.drivers.qemu.native.sources import SOURCES
from virtbus_domain.drivers.qemu.native.values import Command, Values
from virtbus_domain.xml.boot import AcpiTable, Loader, Nvram, Os
from virtbus_domain.xml.domain import Domain
from virtbus_domain.xml.storage_source import DiskSource
from virtbus_domain.xml.sysinfo import BaseBoard, Sysinfo, SysinfoEntry

# What only code in system management mode may write to, as ``-global`` says it.
SECURE_FLASH = [("driver", "cfi.pflash01"), ("property", "secure"), ("value", "on")]


def read_boot(command: Command, domain: Domain) -> None:
    """``-boot`` and what is loaded without firmware's help."""
    os = _os(domain)
    boot = command.one("-boot")
    if boot is not None:
        boot.expect("strict", True)
        os.bootmenu_enable = boot.flag("menu")
        os.bootmenu_timeout, os.bios_reboot_timeout = boot.number("splash-time"), boot.number("reboot-timeout")
    os.kernel, os.initrd = command.word("-kernel"), command.word("-initrd")
    os.cmdline, os.dtb = command.word("-append"), command.word("-dtb")
    os.acpi_tables = [AcpiTable(type=table.required_text("sig").lower(), path=table.required_text("file"))
                      for table in command.all("-acpitable")]


def _os(domain: Domain) -> Os:
    assert domain.os is not None
    return domain.os


def read_firmware(command: Command, domain: Domain) -> None:
    """A ROM, or the images under the two flash chips."""
    os = _os(domain)
    rom = command.word("-bios")
    if rom is not None:
        os.loader = Loader(type="rom", path=rom)
    machine = next(command.all("-machine"))
    code, variables = machine.text("pflash0"), machine.text("pflash1")
    if code is not None:
        secure = any(members(text) == SECURE_FLASH for text in command.plain.get("-global", []))
        image = command.named("-blockdev", code)
        kind, source = _source(command, image)
        if kind != "file":
            raise refusal(image.what)
        fixed = image.flag("read-only") is True
        os.loader = Loader(readonly=fixed or None, type="pflash", secure=secure or None, path=source.file,
                           format=_format(image), stateless=True if fixed and variables is None else None)
    if variables is not None:
        image = command.named("-blockdev", variables)
        image.expect("read-only", False)
        kind, source = _source(command, image)
        os.nvram = Nvram(path=source.file, format=_format(image)) if kind == "file" else Nvram(
            type=kind, source=source, format=_format(image))


def _format(image: Values) -> str | None:
    return None if image.kind == "raw" else image.kind


def _source(command: Command, image: Values) -> tuple[str, DiskSource]:
    storage = command.named("-blockdev", image.required_text("file"))
    if storage.kind not in SOURCES:
        raise refusal(storage.what)
    storage.expect("auto-read-only", True)
    storage.expect("discard", "unmap")
    return SOURCES[storage.kind](storage)


def read_guest_data(command: Command, domain: Domain) -> None:
    """The tables of SMBIOS, and the files of the firmware's configuration device."""
    info = Sysinfo(type="smbios")
    for table in command.all("-smbios"):
        number = table.required_number("type")
        if number == 11:  # strings of the maker's, by the standard
            info.oem_strings = table.texts("value")
            continue
        entries = [SysinfoEntry(name=name, value=table.text(name)) for name in table.names if name != "type"]
        match number:
            case 0:
                info.bios = entries
            case 1:
                info.system = entries
            case 2:
                info.base_boards.append(BaseBoard(entries=entries))
            case 3:
                info.chassis = entries
            case _:
                raise table.wrong("type")
    if info != Sysinfo(type="smbios"):
        domain.sysinfos.append(info)
        _os(domain).smbios_mode = "sysinfo"
    files = [SysinfoEntry(name=file.required_text("name"), value=file.text("string"), file=file.text("file"))
             for file in command.all("-fw_cfg")]
    if files:
        domain.sysinfos.append(Sysinfo(type="fwcfg", entries=files))
