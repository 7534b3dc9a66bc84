"""The guest's firmware: what is left out of it, where it keeps its variables, and what cannot be said together."""

from __future__ import annotations

from virtbus_domain.normalise.context import Context, qemu_unsupported, xml_detail
from virtbus_domain.xml.boot import Loader, Nvram, Os
from virtbus_domain.xml.domain import Domain

_NO_LOADER, _NO_NVRAM = Loader(), Nvram()
_X86 = ("x86_64", "i686")


def read_firmware(domain: Domain, context: Context) -> None:
    """An image is a ROM unless said otherwise; of what is said twice of a feature, the last counts."""
    assert domain.os
    os = domain.os
    if os.loader is not None and os.loader.path and os.loader.type is None:
        os.loader.type = "rom"
    if os.firmware_features:
        last = {feature.name: feature for feature in os.firmware_features}
        os.firmware_features = [last[name] for name in sorted(last, key=str)]
        if os.firmware_auto is None and not context.qemu:
            os.firmware_features = []
    if os.nvram is not None and os.loader is None:
        os.loader = Loader()


def complete_firmware(domain: Domain, context: Context) -> None:
    """A guest with firmware in flash has a file of its own for what the firmware remembers."""
    assert domain.os
    os = domain.os
    if os.loader is None or not context.qemu or os.firmware_auto is not None:
        return
    if os.loader.type == "pflash" and os.loader.readonly and os.loader.path and os.loader.stateless is not True:
        if os.nvram is None:
            os.nvram = Nvram()
        if not os.nvram.path and os.nvram.source is None:
            os.nvram.path = f"{context.nvram_dir}/{domain.name}_VARS.fd"


def check_flash(domain: Domain, context: Context) -> None:
    """UEFI finds what it boots by ACPI's tables; what is to be secure needs a mode of the CPU that only q35 has."""
    assert domain.os
    loader = domain.os.loader
    if not context.qemu or (loader is None and domain.os.firmware_auto is None):
        return
    features = domain.features
    uefi = domain.os.firmware_auto == "efi" or (loader is not None and loader.type == "pflash")
    if uefi and domain.os.arch in _X86 and not (features and features.acpi):
        raise qemu_unsupported("UEFI requires ACPI on this architecture")
    if loader is not None and loader.secure:
        if not (domain.os.machine or "").startswith("pc-q35"):
            raise qemu_unsupported("Secure boot is supported with q35 machine types only")
        if domain.os.firmware_auto is None and not (features and features.smm and features.smm.state):
            raise qemu_unsupported("Secure boot requires SMM feature enabled")


def check_firmware(domain: Domain, context: Context) -> None:
    """Firmware is either named, or described and looked for; what is empty then vanishes."""
    del context
    assert domain.os
    os = domain.os
    if os.firmware_features:
        _check_features(os)
    if os.loader is not None:
        _check_loader(os, os.loader)
        if os.loader == _NO_LOADER:
            os.loader = None
        if os.nvram is not None and os.nvram == _NO_NVRAM:
            os.nvram = None


def _check_features(os: Os) -> None:
    states = {feature.name: feature.enabled for feature in os.firmware_features}
    if states.get("enrolled-keys") and states.get("secure-boot") is False:
        raise xml_detail("firmware feature 'enrolled-keys' cannot be enabled when firmware feature 'secure-boot' is "
                         "disabled")
    if os.firmware_auto is None:
        raise xml_detail("cannot use feature-based firmware autoselection when firmware autoselection is disabled")


def _check_loader(os: Os, loader: Loader) -> None:
    if os.firmware_auto is not None:
        for attribute in ("readonly", "type"):
            if getattr(loader, attribute) not in (None, False):
                raise _not_automatic(f"loader attribute '{attribute}'")
        if loader.secure is False:
            raise _not_automatic("loader attribute 'secure'")
        if os.nvram and os.nvram.template:
            raise _not_automatic("nvram attribute 'template'")
    elif not loader.path:
        raise xml_detail("no loader path specified and firmware auto selection disabled")
    if loader.stateless and os.nvram:
        if os.nvram.template:
            raise xml_detail("NVRAM template is not permitted when loader is stateless")
        if os.nvram.path or os.nvram.source:
            raise xml_detail("NVRAM is not permitted when loader is stateless")
    elif loader.stateless is False and os.firmware_auto is None and loader.type != "pflash":
        raise xml_detail("Only pflash loader type permits NVRAM")
    elif loader.stateless is False and os.firmware_auto not in (None, "efi"):
        raise xml_detail("Only EFI firmware permits NVRAM")


def _not_automatic(what: str) -> Exception:
    return xml_detail(f"{what} cannot be specified when firmware autoselection is enabled")
