"""How a guest starts: its architecture and machine type, its firmware and the order of devices, or a kernel or program
given directly."""

from __future__ import annotations

from virtbus_domain.xml.lenient import unless
from virtbus_domain.xml.platform_values import blank, unsupported, xml_error
from virtbus_domain.xml.storage_source import DiskSource
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.xml import attr, each, element, sub, subs, text
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import INT, UINT, YESNO, Kind, words

OS_TYPES = ("hvm", "xen", "linux", "exe", "uml", "xenpvh")
ARCHES = ("alpha", "armv6l", "armv7l", "armv7b", "aarch64", "cris", "i686", "ia64", "lm32", "loongarch64", "m68k",
          "microblaze", "microblazeel", "mips", "mipsel", "mips64", "mips64el", "openrisc", "parisc", "parisc64",
          "ppc", "ppc64", "ppc64le", "ppcemb", "riscv32", "riscv64", "s390", "s390x", "sh4", "sh4eb", "sparc",
          "sparc64", "unicore32", "x86_64", "xtensa", "xtensaeb")
SMBIOS = unless(blank(words("none", "emulate", "host", "sysinfo")), "none")


def _read_reboot_timeout(text: str) -> int:
    assert INT.read
    timeout = INT.read(text)
    if not -1 <= timeout <= 65535:
        raise LibvirtError(*unsupported("invalid value for rebootTimeout, must be in range [-1,65535]"),
                           domain=c.VIR_FROM_DOMAIN)
    return timeout


REBOOT_TIMEOUT: Kind[int] = Kind(_read_reboot_timeout, str)
# Anything but a yes is a no.
USE_SERIAL: Kind[bool] = Kind(lambda text: text == "yes", YESNO.write)
_BAD_MAPPING = xml_error("invalid idmap start/target/count settings")


@element
class FirmwareFeature(Element):
    """What a firmware that is looked for must have (or, with ``enabled`` no, must not)."""

    enabled: bool | None = attr("@enabled", YESNO, required=True)
    name: str | None = attr("@name", words("enrolled-keys", "secure-boot"), required=True)


@element
class Loader(Element):
    """The firmware's image: ``path`` on the host, mapped as ROM or as flash."""

    readonly: bool | None = attr("@readonly", YESNO)
    secure: bool | None = attr("@secure", YESNO)
    type: str | None = attr("@type", words("rom", "pflash"))
    stateless: bool | None = attr("@stateless", YESNO)
    format: str | None = attr("@format")
    path: str | None = text(".")


@element
class Nvram(Element):
    """Where the firmware keeps its variables: in a file named directly (``path``), or in a ``source`` as of disks,
    whose kind is ``type``; made from ``template`` when it is missing."""

    template: str | None = attr("@template")
    template_format: str | None = attr("@templateFormat")
    type: str | None = attr("@type", words("file", "block", "dir", "network", "volume", "nvme", "vhostuser"))
    format: str | None = attr("@format")
    path: str | None = text(".")
    source: DiskSource | None = sub("source", DiskSource)


@element
class InitEnv(Element):
    """A variable in the environment of a container's first program."""

    name: str | None = attr("@name", required=xml_error("No name supplied for <initenv> element"))
    value: str | None = text(".")


@element
class AcpiTable(Element):
    """A table that the guest finds among its ACPI tables, from a file of the host."""

    type: str | None = attr("@type", words("slic"), error=xml_error("Unknown acpi table type: {value}"),
                            required=xml_error("Missing acpi table type"))
    path: str | None = text(".")


@element
class Os(Element):
    """How the guest boots: from firmware, from a kernel given directly, or (a container) from a first program.

    ``bootmenu_timeout`` is in milliseconds, ``bios_reboot_timeout`` too, with -1 for never.
    """

    firmware_auto: str | None = attr("@firmware", blank(words("bios", "efi")),
                                     error=xml_error("unknown firmware value {value}"))
    arch: str | None = attr("type/@arch", blank(words(*ARCHES)), error=unsupported("Unknown architecture {value}"))
    machine: str | None = attr("type/@machine")
    type: str | None = text("type/.", words(*OS_TYPES), error=unsupported("unknown OS type '{value}'"))
    firmware_features: list[FirmwareFeature] = subs("firmware/feature", FirmwareFeature)
    init: str | None = text("init")
    initarg: list[str] = each("initarg")
    initenv: list[InitEnv] = subs("initenv", InitEnv)
    initdir: str | None = text("initdir")
    inituser: str | None = text("inituser")
    initgroup: str | None = text("initgroup")
    loader: Loader | None = sub("loader", Loader)
    nvram: Nvram | None = sub("nvram", Nvram)
    kernel: str | None = text("kernel")
    initrd: str | None = text("initrd")
    cmdline: str | None = text("cmdline")
    dtb: str | None = text("dtb")
    root: str | None = text("root")
    acpi_tables: list[AcpiTable] = subs("acpi/table", AcpiTable)
    boot: list[str] = each("boot/@dev", words("fd", "hd", "cdrom", "network"))
    bootmenu_enable: bool | None = attr("bootmenu/@enable", YESNO)
    bootmenu_timeout: int | None = attr("bootmenu/@timeout", UINT)
    bios_useserial: bool | None = attr("bios/@useserial", USE_SERIAL)
    bios_reboot_timeout: int | None = attr("bios/@rebootTimeout", REBOOT_TIMEOUT)
    smbios_mode: str | None = attr("smbios/@mode", SMBIOS,
                                  error=unsupported("unknown smbios mode '{value}'"))


@element
class IdMapping(Element):
    """``count`` users or groups from ``start`` on inside are those from ``target`` on outside."""

    start: int | None = attr("@start", UINT, error=_BAD_MAPPING, required=_BAD_MAPPING)
    target: int | None = attr("@target", UINT, error=_BAD_MAPPING, required=_BAD_MAPPING)
    count: int | None = attr("@count", UINT, error=_BAD_MAPPING, required=_BAD_MAPPING)


@element
class Idmap(Element):
    """Who the users and groups of a container are on the host."""

    uids: list[IdMapping] = subs("uid", IdMapping)
    gids: list[IdMapping] = subs("gid", IdMapping)
