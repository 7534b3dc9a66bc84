"""Node devices of the real host, and of prepared PCI functions for hardware that few test machines have."""

from __future__ import annotations

import glob
import subprocess
from pathlib import Path

import pytest
from lxml import etree

from tests.support.components import require, require_root
from tests.support.netns import NetworkNamespace
from tests.support.nodedev_run import run_inside
from tests.support.this_host import this_host
from virtbus_nodedev import sysfs
from virtbus_nodedev.udev import device_name, enumerate_devices
from virtbus_nodedev.xml import (
    NetCapability,
    NodeDevice,
    PciAddress,
    PciCapability,
    StorageCapability,
    SystemCapability,
    format_device,
    parse_device,
)

SCHEMA = Path("/usr/share/libvirt/schemas/nodedev.rng")


@pytest.fixture(scope="module")
def devices() -> dict[str, NodeDevice]:
    """What the host lists, by name."""
    return {str(device.name): device for device in enumerate_devices(this_host())}


def test_every_pci_function_is_listed(devices: dict[str, NodeDevice]) -> None:
    """Each PCI function of the host is a device with the ids that sysfs tells."""
    functions = [Path(path) for path in glob.glob("/sys/bus/pci/devices/*")]
    require("PCI", bool(functions), "the host has no PCI bus")
    for path in functions:
        capability = devices[device_name("pci", path.name)].capability
        assert isinstance(capability, PciCapability)
        assert capability.vendor is not None
        assert capability.vendor.id == int((path / "vendor").read_text(), 16)
        assert capability.class_code == int((path / "class").read_text(), 16)


def test_interfaces_are_listed(devices: dict[str, NodeDevice]) -> None:
    """The loopback interface is listed by libvirt's name, under the computer, with its address and link state."""
    loopback = devices["net_lo_00_00_00_00_00_00"]
    capability = loopback.capability
    assert isinstance(capability, NetCapability)
    assert (loopback.parent, loopback.path) == ("computer", "/sys/devices/virtual/net/lo")
    assert (capability.interface, capability.address, capability.subtype) == ("lo", "00:00:00:00:00:00", "80203")


def test_disks_are_listed_and_nothing_else_of_the_block_layer(devices: dict[str, NodeDevice]) -> None:
    """A disk is listed with its size in bytes; loop devices, RAM disks, partitions and mapped devices are not."""
    blocks = {str(capability.block): capability for device in devices.values()
              if isinstance(capability := device.capability, StorageCapability)}
    assert not [block for block in blocks if block.startswith(("/dev/loop", "/dev/ram", "/dev/zram", "/dev/dm"))]
    disks = [path for path in glob.glob("/sys/block/*") if Path(path).name.startswith(("vd", "sd", "nvme"))]
    require("disk", bool(disks), "the host has no disk of its own")
    for path in disks:
        capability = blocks[f"/dev/{Path(path).name}"]
        assert capability.drive_type == "disk"
        assert capability.removable is not None or capability.size == int(Path(path, "size").read_text()) * 512


def test_a_parent_is_the_nearest_listed_ancestor(devices: dict[str, NodeDevice]) -> None:
    """Each device hangs on the nearest device above it in sysfs that is listed, or on the computer."""
    by_path = {device.path: name for name, device in devices.items() if device.path}
    for name, device in devices.items():
        if name == "computer":
            assert device.parent is None
            continue
        above = [by_path[str(path)] for path in Path(str(device.path)).parents if str(path) in by_path]
        assert device.parent == (above[0] if above else "computer")


def test_the_computer_comes_first(devices: dict[str, NodeDevice]) -> None:
    """The root is called "computer" and carries the host's UUID."""
    name, first = next(iter(devices.items()))
    assert name == "computer"
    assert isinstance(first.capability, SystemCapability)
    assert first.capability.hardware_uuid == this_host().uuid()


def test_documents_are_valid(devices: dict[str, NodeDevice]) -> None:
    """Each device's document satisfies libvirt's own schema and reads back with its capability."""
    require("libvirt's schemas", SCHEMA.exists(), "package libvirt0 is not installed")
    schema = etree.RelaxNG(etree.parse(SCHEMA))
    for device in devices.values():
        document = format_device(device)
        assert schema.validate(etree.fromstring(document)), f"{schema.error_log}\n{document}"
        assert type(parse_device(document).capability) is type(device.capability)


def test_bridges_are_not_node_devices(netns: NetworkNamespace) -> None:
    """In a namespace a veth is listed with its offloads, and a bridge, which libvirt never listed, is not."""
    netns.run(["ip", "link", "add", "va", "address", "52:54:00:00:00:0a", "type", "veth", "peer", "vb"])
    netns.run(["ip", "link", "add", "br9", "type", "bridge"])
    output = run_inside(netns, """
        for device in enumerate_devices(this_host()):
            print(device.name, getattr(device.capability, "features", None))
    """)
    lines = dict(line.split(" ", 1) for line in output.splitlines())
    assert "'tx'" in lines["net_va_52_54_00_00_00_0a"]
    assert not [name for name in lines if name.startswith("net_br9")]


def test_loop_device_in_use_is_not_listed(tmp_path: Path) -> None:
    """A loop device that holds an image is still no node device."""
    require_root()
    image = tmp_path / "image"
    image.write_bytes(bytes(1 << 20))
    made = subprocess.run(["losetup", "--find", "--show", str(image)], capture_output=True, text=True, check=False)
    require("loop device", made.returncode == 0, made.stderr)
    loop = made.stdout.strip()
    try:
        blocks = [capability.block for device in enumerate_devices(this_host())
                  if isinstance(capability := device.capability, StorageCapability)]
        assert loop not in blocks
    finally:
        subprocess.run(["losetup", "--detach", loop], check=True)


def function(folder: Path, name: str, config: bytes = b"") -> Path:
    """A prepared PCI function."""
    path = folder / name
    path.mkdir(parents=True)
    (path / "config").write_bytes(config)
    return path


def test_sriov_functions(tmp_path: Path) -> None:
    """A physical function tells its virtual ones in number order and how many it could have; they tell it."""
    physical = function(tmp_path, "0000:02:00.0")
    (physical / "sriov_totalvfs").write_text("63\n")
    for number, slot in enumerate(("10.0", "10.2", "10.4")):
        virtual = function(tmp_path, f"0000:02:{slot}")
        (physical / f"virtfn{number}").symlink_to(virtual)
        (virtual / "physfn").symlink_to(physical)
    [virtual_functions] = sysfs.pci_sub_capabilities(physical)
    assert (virtual_functions.type, virtual_functions.max_count) == ("virt_functions", 63)
    assert [(a.slot, a.function) for a in virtual_functions.addresses] == [(0x10, 0), (0x10, 2), (0x10, 4)]
    [physical_function] = sysfs.pci_sub_capabilities(tmp_path / "0000:02:10.2")
    assert physical_function.addresses == [PciAddress(domain=0, bus=2, slot=0, function=0)]


def test_iommu_group(tmp_path: Path) -> None:
    """The IOMMU group of a function is told with every function that shares it."""
    one, two = function(tmp_path, "0000:00:1f.0"), function(tmp_path, "0000:00:1f.2")
    group = tmp_path / "iommu_groups" / "7"
    (group / "devices").mkdir(parents=True)
    for device in (one, two):
        (group / "devices" / device.name).symlink_to(device)
    (one / "iommu_group").symlink_to(group)
    found = sysfs.pci_iommu_group(one)
    assert found is not None
    assert (found.number, [a.function for a in found.addresses]) == (7, [0, 2])
    assert sysfs.pci_iommu_group(two) is None


def test_pci_express_link(tmp_path: Path) -> None:
    """The link of an express function is read from its configuration space: capable of 8 GT/s x4, running 5 GT/s x1."""
    config = bytearray(256)
    config[0x34], config[0x40:0x42], config[0x50:0x54] = 0x40, bytes((0x01, 0x50)), bytes((0x10, 0x00, 0x02, 0x00))
    config[0x5C:0x60] = (3 | 4 << 4 | 9 << 24).to_bytes(4, "little")
    config[0x62:0x64] = (2 | 1 << 4).to_bytes(2, "little")
    able, status = sysfs.pci_express_links(function(tmp_path, "0000:03:00.0", bytes(config)))
    assert (able.validity, able.port, able.speed, able.width) == ("cap", 9, "8", 4)
    assert (status.validity, status.port, status.speed, status.width) == ("sta", None, "5", 1)


@pytest.mark.parametrize("config", [b"", bytes(64), bytes([0x40]) * 256])
def test_conventional_or_broken_configuration_space(tmp_path: Path, config: bytes) -> None:
    """No link is told where there is none, nor where capabilities are unreadable or linked into a circle."""
    assert sysfs.pci_express_links(function(tmp_path, "0000:04:00.0", config)) == []
