"""The test driver's model of a guest, and the shape that metrics take from a document."""

from __future__ import annotations

from virtbus_domain.drivers.test_model import model_statistics
from virtbus_domain.object import Facts
from virtbus_domain.statistics import Shape, Traffic

XML = """
<domain type='qemu'><name>g</name><memory>1024</memory><vcpu>2</vcpu>
  <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/a'/>
      <target dev='vda' bus='virtio'/><alias name='virtio-disk0'/></disk>
    <disk type='volume'><source pool='p' volume='v'/><target dev='sda' bus='scsi'/></disk>
    <interface type='network'><mac address='52:54:00:00:00:01'/><source network='n'/><target dev='vnet3'/>
      <model type='virtio'/></interface>
    <interface type='user'><alias name='ua-out'/></interface>
    <memballoon model='none'/>
  </devices>
</domain>"""


def test_shape() -> None:
    """Disks are known by their targets, network cards by their aliases, whose names are the same at every start."""
    shape = Shape.of(XML)
    assert (shape.virt_type, shape.os_type, shape.arch, shape.machine) == ("qemu", "hvm", "x86_64", "pc-q35-7.2")
    assert not shape.has_balloon
    assert [(d.target, d.alias, d.bus, d.format, d.type, d.source) for d in shape.disks] == [
        ("vda", "virtio-disk0", "virtio", "qcow2", "file", "/a"), ("sda", None, "scsi", "raw", "volume", "v")]
    assert [(i.name, i.model, i.source_type, i.source, i.host_device) for i in shape.interfaces] == [
        ("net0", "virtio", "network", "n", "vnet3"), ("ua-out", "", "user", "", "")]


def test_model() -> None:
    """Ten seconds after its start a guest has done what the model says, to the byte."""
    found = model_statistics(Shape.of(XML), Facts("hvm", 2048, 1024, 2, 4), 10.9)
    assert found.cpu is not None
    assert (found.cpu.total, found.cpu.user, found.cpu.system) == (10, 7.5, 2.5)
    assert {n: vcpu.time for n, vcpu in found.vcpus.items()} == {0: 5, 1: 5}
    assert found.balloon_bytes == found.resident_bytes == 1024 * 1024
    assert [(name, d.read_bytes, d.writes, d.flushes) for name, d in found.disks.items()] == [
        ("vda", 40960, 5, 1), ("sda", 81920, 10, 2)]
    assert found.interfaces["ua-out"].receive == Traffic(20000, 20, 0, 0)
    assert found.interfaces["ua-out"].transmit == Traffic(10000, 10, 0, 0)
