"""The node device documents: libvirt's names and order, for each capability we describe."""

from __future__ import annotations

import pytest

from virtbus_nodedev.xml import (
    DevNode,
    IdName,
    IommuGroup,
    NetCapability,
    NodeDevice,
    PciAddress,
    PciCapability,
    PciLink,
    PciSubCapability,
    RemovableMedia,
    StorageCapability,
    SystemCapability,
    format_device,
    parse_device,
)
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.xml_lines import Element


def _address(function: int) -> PciAddress:
    return PciAddress(domain=0, bus=2, slot=16, function=function)


# Capability -> the lines libvirt writes for it (node_device_conf.c of 9.0.0).
CAPABILITIES: dict[str, tuple[Element, str]] = {
    "system": (SystemCapability(
        product="Standard PC & co", hardware_vendor="QEMU", hardware_version="1", hardware_serial="s",
        hardware_uuid="6695eb01-f6a4-8304-79aa-97f2502e193f", firmware_vendor="SeaBIOS", firmware_version="2",
        firmware_release_date="04/01/2014"), """\
  <capability type='system'>
    <product>Standard PC &amp; co</product>
    <hardware>
      <vendor>QEMU</vendor>
      <version>1</version>
      <serial>s</serial>
      <uuid>6695eb01-f6a4-8304-79aa-97f2502e193f</uuid>
    </hardware>
    <firmware>
      <vendor>SeaBIOS</vendor>
      <version>2</version>
      <release_date>04/01/2014</release_date>
    </firmware>
  </capability>
"""),
    "pci": (PciCapability(
        class_code=0x020000, domain=0, bus=2, slot=16, function=7, product=IdName(id=0x10CA, name="82576"),
        vendor=IdName(id=0x8086), capabilities=[
            PciSubCapability(type="phys_function", addresses=[_address(1)]),
            PciSubCapability(type="virt_functions", max_count=7, addresses=[_address(2), _address(3)])],
        iommu_group=IommuGroup(number=12, addresses=[_address(7)]), numa_node=0, links=[
            PciLink(validity="cap", port=1, speed="2.5", width=4), PciLink(validity="sta", width=0)]), """\
  <capability type='pci'>
    <class>0x020000</class>
    <domain>0</domain>
    <bus>2</bus>
    <slot>16</slot>
    <function>7</function>
    <product id='0x10ca'>82576</product>
    <vendor id='0x8086'/>
    <capability type='phys_function'>
      <address domain='0x0000' bus='0x02' slot='0x10' function='0x1'/>
    </capability>
    <capability type='virt_functions' maxCount='7'>
      <address domain='0x0000' bus='0x02' slot='0x10' function='0x2'/>
      <address domain='0x0000' bus='0x02' slot='0x10' function='0x3'/>
    </capability>
    <iommuGroup number='12'>
      <address domain='0x0000' bus='0x02' slot='0x10' function='0x7'/>
    </iommuGroup>
    <numa node='0'/>
    <pci-express>
      <link validity='cap' port='1' speed='2.5' width='4'/>
      <link validity='sta' width='0'/>
    </pci-express>
  </capability>
"""),
    "net": (NetCapability(interface="eth0", address="52:54:00:0a:0b:0c", link_speed=1000, link_state="up",
                          features=["rx", "tso"], subtype="80203"), """\
  <capability type='net'>
    <interface>eth0</interface>
    <address>52:54:00:0a:0b:0c</address>
    <link speed='1000' state='up'/>
    <feature name='rx'/>
    <feature name='tso'/>
    <capability type='80203'/>
  </capability>
"""),
    "disk": (StorageCapability(block="/dev/sda", bus="scsi", drive_type="disk", model="m", vendor="v", serial="s",
                               size=1024, logical_block_size=512, num_blocks=2), """\
  <capability type='storage'>
    <block>/dev/sda</block>
    <bus>scsi</bus>
    <drive_type>disk</drive_type>
    <model>m</model>
    <vendor>v</vendor>
    <serial>s</serial>
    <size>1024</size>
    <logical_block_size>512</logical_block_size>
    <num_blocks>2</num_blocks>
  </capability>
"""),
    "cd": (StorageCapability(block="/dev/sr0", bus="scsi", drive_type="cdrom", removable=RemovableMedia(
        available=1, size=2048, label="DVD", logical_block_size=2048, num_blocks=1)), """\
  <capability type='storage'>
    <block>/dev/sr0</block>
    <bus>scsi</bus>
    <drive_type>cdrom</drive_type>
    <capability type='removable'>
      <media_available>1</media_available>
      <media_size>2048</media_size>
      <media_label>DVD</media_label>
      <logical_block_size>2048</logical_block_size>
      <num_blocks>1</num_blocks>
    </capability>
  </capability>
"""),
}


@pytest.mark.parametrize("name", CAPABILITIES)
def test_capability_is_written_as_by_libvirt(name: str) -> None:
    """A device with this capability gives libvirt's lines, and the lines give the device."""
    capability, lines = CAPABILITIES[name]
    device = NodeDevice(name="n", path="/sys/devices/n", parent="computer", driver="d", capability=capability,
                        devnodes=[DevNode(type="dev", path="/dev/n"), DevNode(type="link", path="/dev/disk/n")])
    document = f"""\
<device>
  <name>n</name>
  <path>/sys/devices/n</path>
  <devnode type='dev'>/dev/n</devnode>
  <devnode type='link'>/dev/disk/n</devnode>
  <parent>computer</parent>
  <driver>
    <name>d</name>
  </driver>
{lines}</device>
"""
    assert format_device(device) == document
    assert parse_device(document) == device


def test_unmodelled_capability_is_kept() -> None:
    """A capability without a model comes back as it was written."""
    document = ("<device>\n  <name>scsi_0_0_0_0</name>\n  <capability type='scsi'>\n    <host>0</host>\n"
                "    <type>disk</type>\n  </capability>\n</device>\n")
    assert format_device(parse_device(document)) == document


def test_unknown_capability_is_refused() -> None:
    """A capability that libvirt does not know is named with its place."""
    with pytest.raises(LibvirtError, match=r"'type' in element 'capability': 'foo'. \(at /device/capability\)"):
        parse_device("<device><capability type='foo'/></device>")
