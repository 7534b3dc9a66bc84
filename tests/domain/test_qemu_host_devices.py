"""Host devices at start: which USB device is meant, and what can be handed over, told from a tree like the kernel's."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.live_guest import domain_of, setup_of, x86_capabilities
from virtbus_domain.drivers.qemu import host_devices
from virtbus_domain.drivers.qemu.command.devices import device_parts
from virtbus_domain.drivers.qemu.host_devices import find_host_devices
from virtbus_domain.drivers.qemu.names import assign_names
from virtbus_domain.xml import format_domain
from virtbus_domain.xml.domain import Domain
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

# Two of one product, one of another on a hub, a root hub, an interface of a device.
USB = {"usb1": ("1d6b", "0002", 1, 1), "1-1": ("1234", "5678", 1, 2), "1-2": ("1234", "5678", 1, 3),
       "2-1.4": ("aaaa", "bbbb", 2, 7)}


@pytest.fixture
def sysfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host with USB, an IOMMU, VFIO, and two PCI functions: one for VFIO's driver, one with its own."""
    for name, (vendor, product, bus, device) in USB.items():
        entry = tmp_path / "bus/usb/devices" / name
        entry.mkdir(parents=True)
        for file, text in (("idVendor", vendor), ("idProduct", product), ("busnum", bus), ("devnum", device)):
            (entry / file).write_text(f"{text}\n")
    (tmp_path / "bus/usb/devices/1-1:1.0").mkdir()
    (tmp_path / "kernel/iommu_groups/3").mkdir(parents=True)
    for name, driver in (("0000:01:00.0", "vfio-pci"), ("0000:01:00.1", "e1000e")):
        (tmp_path / "bus/pci/devices" / name).mkdir(parents=True)
        (tmp_path / "bus/pci/drivers" / driver).mkdir(parents=True)
        (tmp_path / "bus/pci/devices" / name / "driver").symlink_to(tmp_path / "bus/pci/drivers" / driver)
    (tmp_path / "vfio").touch()
    monkeypatch.setattr(host_devices, "_VFIO", tmp_path / "vfio")
    return tmp_path


def usb(inner: str, attributes: str = "") -> Domain:
    """A domain with a USB device of the host."""
    return domain_of(x86_capabilities(), (
        "<controller type='usb' model='qemu-xhci'/>"
        f"<hostdev mode='subsystem' type='usb'><source{attributes}>{inner}</source></hostdev>"))


def pci(function: int, attributes: str = "") -> Domain:
    """A domain with a PCI function of the host."""
    return domain_of(x86_capabilities(), (
        f"<hostdev mode='subsystem' type='pci'{attributes}><source>"
        f"<address domain='0' bus='1' slot='0' function='{function}'/></source></hostdev>"))


def find(domain: Domain, sysfs: Path) -> None:
    """Look for a domain's devices."""
    assert domain.devices is not None
    assign_names(domain.devices, q35=True)
    find_host_devices(domain.devices, sysfs)


def devices_of(domain: Domain) -> dict[str, dict[str, Any]]:
    """What QEMU is told of the host's devices, by name."""
    assert domain.devices is not None
    assign_names(domain.devices, q35=True)
    parts = device_parts(setup_of(domain, x86_capabilities()))
    return {part.name: json.loads(json.dumps(dict(part.properties))) for part in parts
            if part.name.startswith("hostdev")}


def refusal(domain: Domain, sysfs: Path) -> tuple[int, int, str]:
    """How a domain's devices are refused."""
    with pytest.raises(LibvirtError) as error:
        find(domain, sysfs)
    return error.value.code, error.value.domain, error.value.message


PRODUCT, TWICE = "<vendor id='0xaaaa'/><product id='0xbbbb'/>", "<vendor id='0x1234'/><product id='0x5678'/>"
NONE = "<vendor id='0x1234'/><product id='0x9999'/>"


class TestUsb:
    """By product, by place, or by both."""

    def test_by_product(self, sysfs: Path) -> None:
        """The device is looked for; the live document shows where it is, and QEMU is told that place."""
        domain = usb(PRODUCT)
        find(domain, sysfs)
        live = format_domain(domain, live=True)
        assert "<vendor id='0xaaaa'/>" in live
        assert "<address bus='2' device='7'/>" in live
        assert devices_of(domain)["hostdev0"]["hostdevice"] == "/dev/bus/usb/002/007"

    @pytest.mark.parametrize("inner", [f"{TWICE}<address bus='1' device='3'/>", "<address bus='1' device='3'/>"])
    def test_by_place(self, sysfs: Path, inner: str) -> None:
        """A place tells devices of one product apart."""
        domain = usb(inner)
        find(domain, sysfs)
        assert devices_of(domain)["hostdev0"]["hostdevice"] == "/dev/bus/usb/001/003"

    @pytest.mark.parametrize(("inner", "code", "text"), [
        (NONE, c.VIR_ERR_INTERNAL_ERROR, "internal error: Did not find USB device 1234:9999"),
        ("<address bus='9' device='2'/>", c.VIR_ERR_INTERNAL_ERROR,
         "internal error: Did not find USB device bus:9 device:2"),
        (f"{TWICE}<address bus='9' device='2'/>", c.VIR_ERR_INTERNAL_ERROR,
         "internal error: Did not find USB device 1234:5678 bus:9 device:2"),
        (TWICE, c.VIR_ERR_OPERATION_FAILED,
         "operation failed: Multiple USB devices for 1234:5678, use <address> to specify one")])
    def test_refused(self, sysfs: Path, inner: str, code: int, text: str) -> None:
        """None, or more than one, in libvirt's words."""
        assert refusal(usb(inner), sysfs) == (code, c.VIR_FROM_NONE, text)

    def test_optional(self, sysfs: Path) -> None:
        """A device that may be missing is marked as such, and QEMU gets none in its place."""
        domain = usb(NONE, " startupPolicy='optional'")
        find(domain, sysfs)
        assert "startupPolicy='optional' missing='yes'" in format_domain(domain, live=True)
        assert "missing" not in format_domain(domain, live=False)
        assert devices_of(domain) == {}
        assert refusal(usb(NONE, " startupPolicy='requisite'"), sysfs)[0] == c.VIR_ERR_INTERNAL_ERROR

    def test_no_usb(self, tmp_path: Path) -> None:
        """A host without USB says so."""
        assert refusal(usb(PRODUCT), tmp_path) == (
            c.VIR_ERR_SYSTEM_ERROR, c.VIR_FROM_NONE,
            f"cannot open directory '{tmp_path}/bus/usb/devices': No such file or directory")

    def test_nobody_has_looked(self) -> None:
        """Shown without a start, the device is named by its product."""
        assert devices_of(usb(PRODUCT))["hostdev0"].items() >= {"vendorid": 0xAAAA, "productid": 0xBBBB}.items()

    @pytest.mark.parametrize(("word", "resets"), [
        ("on", {"guest_reset": True, "guest_resets_all": True}), ("off", {"guest_reset": False}),
        ("uninitialized", {"guest_reset": True, "guest_resets_all": False})])
    def test_resets(self, word: str, resets: dict[str, bool]) -> None:
        """When the guest may reset the device, as libvirt says it."""
        device = devices_of(usb("<address bus='1' device='3'/>", f" guestReset='{word}'"))["hostdev0"]
        assert {name: value for name, value in device.items() if name.startswith("guest_")} == resets


class TestPci:
    """Functions, mediated devices, and cards that are functions."""

    def test_bound(self, sysfs: Path) -> None:
        """A function with VFIO's driver can be had, whoever bound it."""
        for attributes in ("", " managed='yes'"):
            find(pci(0, attributes), sysfs)

    @pytest.mark.parametrize(("function", "attributes", "code", "text"), [
        (1, "", c.VIR_ERR_OPERATION_INVALID,
         "Unmanaged PCI device 0000:01:00.1 must be manually detached from the host"),
        (1, " managed='yes'", c.VIR_ERR_CONFIG_UNSUPPORTED,
         "PCI device 0000:01:00.1 is with driver 'e1000e' and cannot be taken from it yet"),
        (5, "", c.VIR_ERR_SYSTEM_ERROR, "Device 0000:01:00.5 not found: could not access")])
    def test_refused(self, sysfs: Path, function: int, attributes: str, code: int, text: str) -> None:
        """One with another driver, and one that is not there."""
        found = refusal(pci(function, attributes), sysfs)
        assert (found[0], text in found[2]) == (code, True)

    @pytest.mark.parametrize("lacks", ["vfio", "kernel"])
    def test_no_vfio(self, sysfs: Path, lacks: str) -> None:
        """Without VFIO or an IOMMU nothing is handed over, in libvirt's words."""
        path = sysfs / lacks
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
        assert refusal(pci(0), sysfs) == (
            c.VIR_ERR_CONFIG_UNSUPPORTED, c.VIR_FROM_QEMU,
            "unsupported configuration: host doesn't support passthrough of host PCI devices")
        mediated = domain_of(x86_capabilities(), (
            "<hostdev mode='subsystem' type='mdev' model='vfio-pci'><source>"
            "<address uuid='6c5a17aa-bccb-4c32-824d-b1e4536d8726'/></source></hostdev>"))
        assert refusal(mediated, sysfs)[2].endswith("Mediated host device assignment requires VFIO support")

    CARD = ("<interface type='hostdev' managed='yes'><mac address='52:54:00:01:02:03'/><source>"
            "<address type='pci' domain='0' bus='1' slot='0' function='{}'/></source>{}</interface>")

    def test_card(self) -> None:
        """A card that is a function of the host's is a host device, and is named as one."""
        domain = domain_of(x86_capabilities(), (
            self.CARD.format(0, "<boot order='2'/><rom bar='off'/>") + "<interface type='user'><model type='virtio'/>"
            "</interface>" + "<hostdev mode='subsystem' type='pci'><source><address domain='0' bus='1' slot='0' "
            "function='1'/></source></hostdev>"))
        found = devices_of(domain)
        assert domain.devices is not None
        assert [card.alias for card in domain.devices.interfaces] == ["hostdev0", "net0"]
        assert {name: device["host"] for name, device in found.items()} == {
            "hostdev0": "0000:01:00.0", "hostdev1": "0000:01:00.1"}
        assert (found["hostdev0"]["driver"], found["hostdev0"]["rombar"]) == ("vfio-pci", 0)

    def test_card_is_refused(self, sysfs: Path) -> None:
        """It is not started: the guest would come up with an address that is not the card's."""
        assert refusal(domain_of(x86_capabilities(), self.CARD.format(7, "")), sysfs)[0] == c.VIR_ERR_SYSTEM_ERROR
        assert refusal(domain_of(x86_capabilities(), self.CARD.format(0, "")), sysfs) == (
            c.VIR_ERR_CONFIG_UNSUPPORTED, c.VIR_FROM_QEMU,
            "unsupported configuration: the address '52:54:00:01:02:03' of 'hostdev0' cannot be given to a function of "
            "the host's card yet")
