"""Disks on the command line: the block graph under each, how its nodes are named, and the drive on top."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from tests.support.command_line import command, domain_xml, objects, parts, written
from virtbus_domain.drivers.qemu.command.parts import Kind
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

UUID = "0cbd3a4e-6d1c-4dd1-9d2e-0a8a7b3f5c11"


def disk(inside: str = "", *, source: str = "<source file='/a,b'/>", driver: str = "type='raw'", bus: str = "virtio",
         dev: str = "vda", device: str = "disk", kind: str = "file") -> str:
    """A disk."""
    return (f"<disk type='{kind}' device='{device}'><driver name='qemu' {driver}/>{source}"
            f"<target dev='{dev}' bus='{bus}'/>{inside}</disk>")


def drive(document: str, name: str, machine: str = "q35", top: str = "") -> dict[str, Any]:
    """The device of a disk."""
    return objects(command(domain_xml(document, machine=machine, top=top)), "-device")[name]


def nodes(document: str, top: str = "") -> dict[str, dict[str, Any]]:
    """The block nodes by name."""
    return objects(command(domain_xml(document, top=top)), "-blockdev")


class TestGraph:
    """A protocol node under a format node, filters on top."""

    def test_plain(self) -> None:
        """Two nodes; the drive uses the upper one."""
        assert nodes(disk()) == {
            "libvirt-1-storage": {"driver": "file", "filename": "/a,b", "auto-read-only": True, "discard": "unmap"},
            "libvirt-1-format": {"driver": "raw", "read-only": False, "file": "libvirt-1-storage"}}
        assert drive(disk(), "virtio-disk0")["drive"] == "libvirt-1-format"

    def test_options(self) -> None:
        """What the driver element says goes to the node, or the drive, that it is about."""
        options_ = "type='qcow2' cache='none' io='native' discard='unmap' detect_zeroes='on' error_policy='enospace' " \
                   "rerror_policy='ignore'"
        document = disk("<readonly/>", driver=options_).replace(
            "/><source", "><metadata_cache><max_size unit='MiB'>2</max_size></metadata_cache></driver><source", 1)
        found = nodes(document)
        assert found["libvirt-1-storage"]["aio"] == "native"
        cache = {"direct": True, "no-flush": False}
        assert (found["libvirt-1-storage"]["cache"], found["libvirt-1-format"]["cache"]) == (cache, cache)
        upper = found["libvirt-1-format"]
        assert (upper["driver"], upper["read-only"], upper["discard"], upper["detect-zeroes"], upper["cache-size"]) == (
            "qcow2", True, "unmap", "on", 2 << 20)
        device = drive(document, "virtio-disk0")
        assert (device["write-cache"], device["werror"], device["rerror"]) == ("on", "enospc", "ignore")

    @pytest.mark.parametrize(("mode", "direct", "no_flush", "write_cache"), [
        ("none", True, False, "on"), ("writeback", False, False, "on"), ("writethrough", False, False, "off"),
        ("directsync", True, False, "off"), ("unsafe", False, True, "on")])
    def test_cache(self, mode: str, direct: bool, no_flush: bool, write_cache: str) -> None:
        """Each mode is two switches of the nodes and one of the drive: qemu(1), -drive cache=."""
        document = disk(driver=f"type='raw' cache='{mode}'")
        assert nodes(document)["libvirt-1-format"]["cache"] == {"direct": direct, "no-flush": no_flush}
        assert drive(document, "virtio-disk0")["write-cache"] == write_cache

    def test_chain(self) -> None:
        """Layers are numbered from the top, built from the bottom, and only read below the top."""
        below = ("<backingStore type='file'><format type='qcow2'/><source file='/mid'/><backingStore type='block'>"
                 "<format type='raw'/><source dev='/dev/base'/><backingStore/></backingStore></backingStore>")
        found = nodes(disk(below, driver="type='qcow2'"))
        assert list(found) == [f"libvirt-{number}-{layer}" for number in (3, 2, 1) for layer in ("storage", "format")]
        assert [found[f"libvirt-{number}-format"].get("backing", "") for number in (1, 2, 3)] == [
            "libvirt-2-format", "libvirt-3-format", ""]
        assert [found[f"libvirt-{number}-format"]["read-only"] for number in (1, 2, 3)] == [False, True, True]
        assert found["libvirt-3-storage"]["driver"] == "host_device"

    def test_end_of_a_chain(self) -> None:
        """A chain that ends by the document ends for QEMU, which would otherwise look into the image."""
        assert nodes(disk("<backingStore/>", driver="type='qcow2'"))["libvirt-1-format"]["backing"] is None
        assert "backing" not in nodes(disk("<backingStore/>", driver="type='raw'"))["libvirt-1-format"]

    def test_numbers(self) -> None:
        """The last disk has the first numbers, as in libvirt; an empty drive uses one up."""
        document = disk() + disk(source="", device="cdrom", bus="sata", dev="sda") + disk(dev="vdb")
        assert set(nodes(document)) == {f"libvirt-{number}-{layer}" for number in (2, 3)
                                        for layer in ("storage", "format")}
        assert drive(document, "virtio-disk0")["drive"] == "libvirt-3-format"
        assert "drive" not in drive(document, "sata0-0-0")

    def test_filters(self) -> None:
        """A limit sits on the format node, copy on read on the limit, the drive on the topmost."""
        document = disk("<iotune><total_bytes_sec>9</total_bytes_sec><read_iops_sec_max>8</read_iops_sec_max>"
                        "<size_iops_sec>7</size_iops_sec></iotune>".replace("total_bytes", "read_bytes").replace(
                            "<read_iops_sec_max>", "<read_iops_sec>4</read_iops_sec><read_iops_sec_max>"),
                        driver="type='qcow2' copy_on_read='on'")
        argv = command(domain_xml(document))
        found = objects(argv, "-blockdev")
        assert objects(argv, "-object")["throttle-virtio-disk0"] == {
            "qom-type": "throttle-group", "limits": {"bps-read": 9, "iops-read": 4, "iops-read-max": 8, "iops-size": 7}}
        assert found["libvirt-1-throttle"] == {"driver": "throttle", "throttle-group": "throttle-virtio-disk0",
                                               "file": "libvirt-1-format"}
        assert found["libvirt-CoR-vda"] == {"driver": "copy-on-read", "file": "libvirt-1-throttle"}
        assert objects(argv, "-device")["virtio-disk0"]["drive"] == "libvirt-CoR-vda"

    def test_shared_limits(self) -> None:
        """Disks that share a group share one object, made before the first of them."""
        limits = "<iotune><total_iops_sec>5</total_iops_sec><group_name>slow,x</group_name></iotune>"
        document = disk() + disk(limits, dev="vdb") + disk(limits, dev="vdc")
        argv = command(domain_xml(document))
        groups = [name for name in objects(argv, "-object") if name == "slow,x"]
        assert groups == ["slow,x"]
        throttles = [node for node in objects(argv, "-blockdev").values() if node["driver"] == "throttle"]
        assert [node["throttle-group"] for node in throttles] == ["slow,x", "slow,x"]
        order = [value for value in argv if '"slow,x"' in value]
        assert ["qom-type" in value for value in order] == [True, False, False]

    def test_part_of_a_file(self) -> None:
        """A slice is where the image lies in its file."""
        source = "<source file='/a'><slices><slice type='storage' offset='512' size='1024'/></slices></source>"
        upper = nodes(disk(source=source))["libvirt-1-format"]
        assert (upper["offset"], upper["size"]) == (512, 1024)

    @pytest.mark.parametrize(("image", "place"), [("raw", "disk"), ("raw", "source"), ("qcow2", "disk"),
                                                  ("qcow2", "source")])
    def test_encryption(self, image: str, place: str) -> None:
        """The key is in a file that only QEMU reads; old documents say it of the disk."""
        inside = f"<encryption format='luks'><secret type='passphrase' uuid='{UUID}'/></encryption>"
        document = disk(inside, driver=f"type='{image}'") if place == "disk" else disk(
            source=f"<source file='/a'>{inside}</source>", driver=f"type='{image}'")
        argv = command(domain_xml(document))
        secret = "libvirt-1-format-encryption-secret0"
        assert objects(argv, "-object")[secret] == {"qom-type": "secret", "format": "raw", "file": f"/run/x/{secret}"}
        upper = objects(argv, "-blockdev")["libvirt-1-format"]
        if image == "raw":
            assert (upper["driver"], upper["key-secret"]) == ("luks", secret)
        else:
            assert (upper["driver"], upper["encrypt"]) == ("qcow2", {"format": "luks", "key-secret": secret})

    def test_secret_that_is_not_known(self) -> None:
        """Without the value there is no command."""
        inside = f"<encryption format='luks'><secret type='passphrase' uuid='{UUID}'/></encryption>"
        with pytest.raises(LibvirtError) as error:
            command(domain_xml(disk(inside)), secrets={})
        assert error.value.code == c.VIR_ERR_NO_SECRET


class TestSources:
    """Where the bytes come from."""

    SOURCES: ClassVar[list[tuple[str, str, dict[str, Any]]]] = [
        ("block", "<source dev='/dev/x'/>", {"driver": "host_device", "filename": "/dev/x"}),
        ("network", "<source protocol='nbd' name='a,b'><host name='::1'/></source>",
         {"driver": "nbd", "server": {"type": "inet", "host": "::1", "port": "10809"}, "export": "a,b"}),
        ("network", "<source protocol='nbd'><host transport='unix' socket='/s'/></source>",
         {"driver": "nbd", "server": {"type": "unix", "path": "/s"}}),
        ("network", "<source protocol='rbd' name='pool/space/image'><host name='m' port='3300'/><host name='n'/>"
         "<snapshot name='s'/><config file='/c'/></source>",
         {"driver": "rbd", "pool": "pool", "namespace": "space", "image": "image", "snapshot": "s", "conf": "/c",
          "server": [{"host": "m", "port": "3300"}, {"host": "n", "port": "0"}]}),
        ("network", "<source protocol='iscsi' name='iqn.2024-01.example:t/2'><host name='::1'/><initiator>"
         "<iqn name='iqn.2024-01.example:c'/></initiator></source>",
         {"driver": "iscsi", "portal": "[::1]:3260", "target": "iqn.2024-01.example:t", "lun": 2, "transport": "tcp",
          "initiator-name": "iqn.2024-01.example:c"}),
        ("network", "<source protocol='https' name='i/l.iso' query='a=b&amp;c'><host name='h'/><ssl verify='no'/>"
         "<readahead size='9'/><timeout seconds='8'/></source>",
         {"driver": "https", "url": "https://h:443/i/l.iso?a=b&c", "sslverify": False, "readahead": 9, "timeout": 8}),
        ("network", "<source protocol='ssh' name='/i'><host name='h'/></source>",
         {"driver": "ssh", "path": "/i", "server": {"host": "h", "port": "22"}}),
        ("network", "<source protocol='gluster' name='v/d/i'><host name='h'/><host transport='unix' socket='/s'/>"
         "</source>", {"driver": "gluster", "volume": "v", "path": "d/i", "debug": 4, "server": [
             {"type": "inet", "host": "h", "port": "24007"}, {"type": "unix", "path": "/s"}]}),
        ("network", "<source protocol='nfs' name='/e/i'><host name='h'/><identity user='root' group='+7'/></source>",
         {"driver": "nfs", "server": {"type": "inet", "host": "h"}, "path": "/e/i", "user": 0, "group": 7}),
    ]

    @pytest.mark.parametrize(("kind", "source", "expected"), SOURCES)
    def test_protocol(self, kind: str, source: str, expected: dict[str, Any]) -> None:
        """The options of each protocol."""
        lower = nodes(disk(source=source, kind=kind))["libvirt-1-storage"]
        assert {key: value for key, value in lower.items() if key not in ("auto-read-only", "discard")} == expected

    def test_directory(self) -> None:
        """A directory as a FAT file system."""
        lower = nodes(disk(source="<source dir='/d'/>", kind="dir", driver="type='fat'", inside="<readonly/>"))
        assert lower["libvirt-1-storage"]["driver"] == "vvfat"
        assert lower["libvirt-1-storage"]["dir"] == "/d"

    @pytest.mark.parametrize("place", ["disk", "source"])
    def test_user(self, place: str) -> None:
        """Who logs in with which secret; old documents say it of the disk."""
        auth = f"<auth username='u,v'><secret type='ceph' uuid='{UUID}'/></auth>"
        source = "<source protocol='rbd' name='p/i'><host name='m'/>{}</source>"
        document = disk(auth, source=source.format(""), kind="network") if place == "disk" else disk(
            source=source.format(auth), kind="network")
        argv = command(domain_xml(document))
        lower = objects(argv, "-blockdev")["libvirt-1-storage"]
        assert (lower["user"], lower["key-secret"], lower["auth-client-required"]) == (
            "u,v", "libvirt-1-storage-auth-secret0", ["cephx", "none"])
        assert "libvirt-1-storage-auth-secret0" in objects(argv, "-object")

    def test_cookies(self) -> None:
        """Cookies are secrets."""
        source = ("<source protocol='http' name='i'><host name='h'/><cookies><cookie name='a'>b</cookie></cookies>"
                  "</source>")
        made = parts(domain_xml(disk(source=source, kind="network")), "disks")
        assert made[0].kind is Kind.OBJECT
        assert made[1].properties["cookie_secret"] == made[0].name == "libvirt-1-storage-httpcookie-secret0"

    def test_drive_of_the_host(self) -> None:
        """A CD-ROM drive of the host is one for the guest; other block devices in such a drive are devices."""
        document = disk(source="<source dev='/dev/sr0'/>", kind="block", device="cdrom", bus="sata", dev="sda")
        for drives, driver in (((), "host_device"), (("/dev/sr0",), "host_cdrom")):
            argv = command(domain_xml(document), optical_drives=drives)
            assert objects(argv, "-blockdev")["libvirt-1-storage"]["driver"] == driver
        assert objects(command(domain_xml(document.replace("'cdrom'", "'disk'")), optical_drives=("/dev/sr0",)),
                       "-blockdev")["libvirt-1-storage"]["driver"] == "host_device"


class TestDrives:
    """The device, by the bus it sits on."""

    DRIVES: ClassVar[list[tuple[str, str, str, str, dict[str, Any]]]] = [
        ("q35", disk("<serial>A-1</serial><blockio logical_block_size='512' physical_block_size='4096'/>"
                     "<boot order='3'/>",
                     driver="type='raw' queues='4' queue_size='256' event_idx='off' ioeventfd='on' iothread='1' "
                            "iommu='on' ats='on' packed='off' page_per_vq='on'"),
         "virtio-disk0", "<iothreads>1</iothreads>",
         {"driver": "virtio-blk-pci", "serial": "A-1", "logical_block_size": 512, "physical_block_size": 4096,
          "bootindex": 3, "num-queues": 4, "queue-size": 256, "event_idx": False, "ioeventfd": True,
          "iothread": "iothread1", "iommu_platform": True, "ats": True, "packed": False, "page-per-vq": True}),
        ("q35", disk(bus="usb", dev="sda").replace("bus='usb'", "bus='usb' removable='on'"), "usb-disk0", "",
         {"driver": "usb-storage", "removable": True, "bus": "usb.0", "port": "1"}),
        ("q35", disk(bus="sata", dev="sdb", device="cdrom"), "sata0-0-1", "", {"driver": "ide-cd", "bus": "ide.1"}),
        ("pc", disk(bus="sata", dev="sdb"), "sata0-0-1", "", {"driver": "ide-hd", "bus": "sata0.1"}),
        ("pc", disk(bus="ide", dev="hdd"), "ide0-1-1", "", {"driver": "ide-hd", "bus": "ide.1", "unit": 1}),
        ("pc", disk(bus="fdc", dev="fdb", device="floppy"), "fdc0-0-1", "", {"driver": "floppy", "unit": 1}),
        ("q35", disk(bus="fdc", dev="fda", device="floppy"), "fdc0-0-0", "",
         {"driver": "floppy", "bus": "fdc0.0", "unit": 0}),
        ("q35", "<controller type='scsi' index='0' model='virtio-scsi'/>" + disk(
            "<shareable/><vendor>ACME</vendor><product>DISK</product><wwn>5000c50015ea71ad</wwn>"
            "<address type='drive' controller='0' bus='0' target='2' unit='3'/>", bus="scsi", dev="sda"),
         "scsi0-0-2-3", "",
         {"driver": "scsi-hd", "bus": "scsi0.0", "channel": 0, "scsi-id": 2, "lun": 3, "vendor": "ACME",
          "product": "DISK", "wwn": 0x5000C50015EA71AD, "share-rw": True, "device_id": "drive-scsi0-0-2-3"}),
        ("pc", "<controller type='scsi' index='0' model='lsilogic'/>" + disk(bus="scsi", dev="sdb", device="cdrom"),
         "scsi0-0-1", "", {"driver": "scsi-cd", "bus": "scsi0.0", "scsi-id": 1}),
        ("q35", "<controller type='scsi' index='0' model='virtio-scsi'/>" + disk(
            bus="scsi", dev="sda", device="lun", kind="block", source="<source dev='/dev/x'/>"), "scsi0-0-0-0", "",
         {"driver": "scsi-block", "bus": "scsi0.0"}),
        ("pc", disk("<geometry cyls='16' heads='15' secs='63'/>", bus="ide", dev="hda"), "ide0-0-0", "",
         {"cyls": 16, "heads": 15, "secs": 63}),
    ]

    @pytest.mark.parametrize(("machine", "document", "name", "top", "expected"), DRIVES, ids=range(len(DRIVES)))
    def test_drive(self, machine: str, document: str, name: str, top: str, expected: dict[str, Any]) -> None:
        """Name, driver, place and properties."""
        device = drive(document, name, machine, top)
        assert {key: device.get(key) for key in expected} == expected

    def test_transitional(self) -> None:
        """The flavours of virtio."""
        for model in ("virtio-transitional", "virtio-non-transitional"):
            document = disk().replace("device='disk'", f"device='disk' model='{model}'")
            assert drive(document, "virtio-disk0")["driver"] == model.replace("virtio", "virtio-blk-pci")

    def test_odd_serial(self) -> None:
        """A serial number is what it is."""
        assert drive(disk("<serial>A:1 (x)</serial>"), "virtio-disk0")["serial"] == "A:1 (x)"

    def test_order(self) -> None:
        """Each node is there before the one that uses it, and the drive is last."""
        values = written(domain_xml(disk("<iotune><total_iops_sec>5</total_iops_sec></iotune>")), "disks")
        assert [value.get("node-name") or value["id"] for value in values] == [
            "libvirt-1-storage", "libvirt-1-format", "throttle-virtio-disk0", "libvirt-1-throttle", "virtio-disk0"]


@pytest.mark.parametrize(("document", "words"), [
    (disk(source="<source protocol='sheepdog' name='x'/>", kind="network"), "sheepdog"),
    (disk(source="<source protocol='nbd' tls='yes'><host name='h'/></source>", kind="network"), "TLS"),
    (disk(source="<source protocol='iscsi' name='iqn.x:y/1'><host name='h'/><host name='i'/></source>", kind="network"),
     "hosts"),
    (disk(source="<source file='/a'><slices><slice type='storage' offset='1' size='2'/></slices></source>",
          driver="type='vmdk'"), "slice"),
    (disk(bus="xen", dev="xvda"), "xen"),
    (disk(source="<source type='unix' path='/s'/>", kind="vhostuser"), "vhostuser"),
])
def test_refused(document: str, words: str) -> None:
    """What we cannot do is refused, by us or already by the definition."""
    top = "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>"
    with pytest.raises(LibvirtError) as error:
        command(domain_xml(document, top=top if "vhostuser" in document else ""))
    assert words in error.value.message
