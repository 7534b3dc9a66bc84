"""Which firmware a guest gets: chosen from the descriptor files that firmware packages install beside their images.

A descriptor (``docs/interop/firmware.json`` in QEMU's source) says for which machines an image is, what it can do, and
from which template its variables start. A domain says ``<os firmware='efi'>``, with wishes, or names an image itself,
which a descriptor then completes. The first descriptor that fits, by file name, is the one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from virtbus_domain.drivers.qemu.capabilities import ARCHITECTURES
from virtbus_domain.xml.boot import Loader, Nvram
from virtbus_domain.xml.domain import Domain
from virtbus_domain.xml.features import Features, Smm
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

# A file in a later directory replaces, or when empty masks, that of the same name in an earlier one. QEMU's document
# also knows one of the user: it is not for guests of the system.
DIRECTORIES = (Path("/usr/share/qemu/firmware"), Path("/etc/qemu/firmware"))

_INTERFACES = {"efi": "uefi", "bios": "bios"}  # os/@firmware -> the descriptor's word
_FLASH_MODES = ("split", "combined", "stateless")
_SEV_ES_POLICY = 1 << 2

# Images that were there before descriptors were, and where each one's variables start from; libvirt's own list.
_TEMPLATES = {f"/usr/share/{package}/{name}_CODE{variant}.fd": f"/usr/share/{package}/{name}_VARS.fd"
              for package, name, variant in (("OVMF", "OVMF", ""), ("OVMF", "OVMF", ".secboot"),
                                             ("AAVMF", "AAVMF", ""), ("AAVMF", "AAVMF32", ""))}


@dataclass(frozen=True)
class Target:
    """Machines that an image is for: names with wildcards, of an architecture in libvirt's words."""

    arch: str
    machines: tuple[str, ...]


@dataclass(frozen=True)
class Descriptor:
    """One descriptor. ``device`` is how the image is mapped: flash, memory (a ROM) or kernel (in place of one).

    In flash, ``mode`` tells where variables are kept: split (a flash of their own, made from ``template``), combined
    (in the image) or stateless (nowhere).
    """

    path: Path
    interfaces: frozenset[str]
    device: str
    image: str
    format: str
    mode: str
    template: str | None
    template_format: str
    targets: tuple[Target, ...]
    features: frozenset[str]


@dataclass(frozen=True)
class Wanted:
    """What a domain wants of its firmware. ``features`` must be there, or must not; ``image`` is one that it names."""

    interface: str
    arch: str
    machine: str
    format: str
    stateless: bool
    features: Mapping[str, bool]
    image: str | None = None

    def accepts(self, descriptor: Descriptor) -> bool:
        """Whether this one will do."""
        if self.image is not None and (descriptor.device, descriptor.image) != ("flash", self.image):
            return False
        mode = "stateless" if self.stateless else "split"
        if descriptor.device == "flash" and (descriptor.mode, descriptor.format) != (mode, self.format):
            return False
        return (self.interface in descriptor.interfaces
                and any(target.arch == self.arch and any(fnmatchcase(self.machine, glob) for glob in target.machines)
                        for target in descriptor.targets)
                and all((feature in descriptor.features) is wish for feature, wish in self.features.items()))


def read_descriptors(directories: Sequence[Path] = DIRECTORIES) -> list[Descriptor]:
    """All descriptors, in the order in which they are tried.

    Those for devices or modes that this version does not know are left out. ``LibvirtError``
    (``VIR_ERR_INTERNAL_ERROR``, as in libvirt) names a file that is none: a guest may have been meant to get it.
    """
    files: dict[str, Path] = {}
    for directory in directories:
        if directory.is_dir():
            files |= {path.name: path for path in directory.iterdir() if not path.name.startswith(".")}
    return [found for _, path in sorted(files.items()) for found in _read(path)]


def complete_firmware(domain: Domain, descriptors: Iterable[Descriptor], nvram_dir: Path) -> None:
    """Write into a domain that is about to start which firmware it gets; its machine type is a canonical one.

    Variables without a place get one in ``nvram_dir``. Raises ``LibvirtError``: ``VIR_ERR_OPERATION_FAILED`` when no
    firmware fits, ``VIR_ERR_OPERATION_INVALID`` when the one that fits needs what the domain turned off.
    """
    wanted = wanted_firmware(domain)
    if wanted is None:
        return
    assert domain.os is not None
    chosen = next(filter(wanted.accepts, descriptors), None)
    if chosen is not None:
        _apply(domain, chosen, nvram_dir)
        domain.os.firmware_auto = None
    elif domain.os.firmware_auto:
        detail = f"Unable to find any firmware to satisfy '{domain.os.firmware_auto}'"
        raise LibvirtError(c.VIR_ERR_OPERATION_FAILED, detail, domain=c.VIR_FROM_QEMU)


def variables_template(domain: Domain) -> str:
    """The file from which a domain's variables are made when they are not there yet.

    ``LibvirtError`` (``VIR_ERR_OPERATION_FAILED``) when there is none.
    """
    assert domain.os is not None
    assert domain.os.loader is not None
    image = domain.os.loader.path or ""
    template = domain.os.nvram.template if domain.os.nvram else None
    if template is None and image not in _TEMPLATES:
        detail = f"unable to find any master var store for loader: {image}"
        raise LibvirtError(c.VIR_ERR_OPERATION_FAILED, detail, domain=c.VIR_FROM_QEMU)
    return template or _TEMPLATES[image]


def wanted_firmware(domain: Domain) -> Wanted | None:
    """What a domain wants; None when it leaves nothing to a descriptor.

    An image that the domain names is completed unless its template is named too. libvirt does so only until the
    variables exist; here a guest has the same firmware at its second start as at its first.
    """
    os, loader = domain.os, domain.os.loader if domain.os else None
    if os is None:
        return None
    named = (loader is not None and loader.type == "pflash" and loader.readonly is True
             and not (os.nvram and os.nvram.template))
    if not os.firmware_auto and not named:
        return None
    return Wanted(
        interface=_INTERFACES[os.firmware_auto or "efi"],
        arch=os.arch or "",
        machine=os.machine or "",
        format=loader.format if loader and loader.format else "raw",
        stateless=loader is not None and loader.stateless is True,
        features=dict(_wishes(domain)),
        image=loader.path if loader else None)


def _wishes(domain: Domain) -> Iterator[tuple[str, bool]]:
    assert domain.os is not None
    for feature in domain.os.firmware_features:
        if feature.name is not None and feature.enabled is not None:
            yield feature.name, feature.enabled
    if domain.os.loader and domain.os.loader.secure:
        yield "requires-smm", True
    if domain.suspend_to_mem:
        yield "acpi-s3", True
    if domain.suspend_to_disk:
        yield "acpi-s4", True
    security = domain.launch_security
    if security and security.type == "sev":
        yield "amd-sev-es" if (security.policy or 0) & _SEV_ES_POLICY else "amd-sev", True


def _apply(domain: Domain, chosen: Descriptor, nvram_dir: Path) -> None:
    os = domain.os
    assert os is not None
    match chosen.device:
        case "kernel":
            os.kernel = chosen.image
        case "memory":
            os.loader = os.loader or Loader()
            os.loader.type, os.loader.path = "rom", chosen.image
        case _:
            os.loader = os.loader or Loader()
            os.loader.type, os.loader.path, os.loader.readonly = "pflash", chosen.image, True
            os.loader.format = _unless_raw(chosen.format)
    if chosen.template is not None:
        os.nvram = os.nvram or Nvram()
        os.nvram.template, os.nvram.template_format = chosen.template, _unless_raw(chosen.template_format)
        if os.nvram.path is None and os.nvram.source is None:
            os.nvram.path = str(nvram_dir / f"{domain.name}_VARS.fd")
        os.nvram.format = os.nvram.format or os.nvram.template_format  # a copy is what it is a copy of
    if "requires-smm" in chosen.features:
        _require_smm(domain)
        if os.loader:
            os.loader.secure = True


def _unless_raw(name: str) -> str | None:
    return None if name == "raw" else name


def _require_smm(domain: Domain) -> None:
    domain.features = domain.features or Features()
    domain.features.smm = domain.features.smm or Smm()
    if domain.features.smm.state is False:
        detail = "domain has SMM turned off but chosen firmware requires it"
        raise LibvirtError(c.VIR_ERR_OPERATION_INVALID, detail, domain=c.VIR_FROM_QEMU)
    domain.features.smm.state = True


def _read(path: Path) -> Iterator[Descriptor]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise LibvirtError(c.VIR_ERR_SYSTEM_ERROR, f"Failed to open file '{path}': {error.strerror}",
                           domain=c.VIR_FROM_QEMU, int1=error.errno or -1) from error
    if not content:
        return  # masked
    try:
        document = json.loads(content)
    except ValueError:
        raise _malformed(f"unable to parse json file '{path}'") from None
    interfaces = _strings(document, "interface-types", path)
    targets = tuple(_target(item, path) for item in _items(document, "targets", path))
    features = _strings(document, "features", path)
    mapping = _object(document, "mapping", path)
    common = (path, frozenset(interfaces))
    match mapping.get("device"):
        case "flash":
            mode = mapping.get("mode", "split")
            if mode not in _FLASH_MODES:
                return
            image, image_format = _file(mapping, "executable", path)
            template, template_format = _file(mapping, "nvram-template", path) if mode == "split" else (None, "raw")
            yield Descriptor(*common, "flash", image, image_format, mode, template, template_format, targets,
                             frozenset(features))
        case "memory" | "kernel" as device:
            yield Descriptor(*common, device, _string(mapping, "filename", path), "raw", "stateless", None, "raw",
                             targets, frozenset(features))


def _target(item: Any, path: Path) -> Target:
    arch = _string(item, "architecture", path)
    return Target(ARCHITECTURES.get(arch, arch), tuple(_strings(item, "machines", path)))


def _file(mapping: Mapping[str, Any], key: str, path: Path) -> tuple[str, str]:
    found = _object(mapping, key, path)
    return _string(found, "filename", path), _string(found, "format", path)


def _object(holder: Any, key: str, path: Path) -> Mapping[str, Any]:
    found = holder.get(key) if isinstance(holder, dict) else None
    if not isinstance(found, dict):
        raise _malformed(f"missing {key} in '{path}'" if key == "mapping" else f"missing '{key}' in '{path}'")
    return found


def _string(holder: Any, key: str, path: Path) -> str:
    found = holder.get(key) if isinstance(holder, dict) else None
    if not isinstance(found, str):
        raise _malformed(f"missing '{key}' in '{path}'")
    return found


def _items(holder: Any, key: str, path: Path) -> list[Any]:
    found = holder.get(key) if isinstance(holder, dict) else None
    if not isinstance(found, list):
        raise _malformed(f"failed to get {key} from '{path}'")
    return found


def _strings(holder: Any, key: str, path: Path) -> list[str]:
    return [item for item in _items(holder, key, path) if isinstance(item, str)]


def _malformed(detail: str) -> LibvirtError:
    return LibvirtError(c.VIR_ERR_INTERNAL_ERROR, detail, domain=c.VIR_FROM_QEMU)
