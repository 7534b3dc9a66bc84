"""Layers of images: what headers and names in them say, what is refused in libvirt's words, and real guests on them."""

from __future__ import annotations

import asyncio
import os
import random
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.images import make_image
from tests.support.live_guest import LiveGuest, domain_of, live_guest, setup_of, x86_capabilities
from virtbus_domain.drivers.qemu.backing import source_of
from virtbus_domain.drivers.qemu.chains import complete_chain, find_layers
from virtbus_domain.drivers.qemu.command.live_refusals import check_attach
from virtbus_domain.drivers.qemu.discovery import GuestPaths
from virtbus_domain.drivers.qemu.images import Image, UnreadableError, guess_format, read_header, read_image
from virtbus_domain.drivers.qemu.layers import layers
from virtbus_domain.drivers.qemu.overlays import overlay_directory, remove_other_overlays, remove_overlays
from virtbus_domain.drivers.qemu.tools import run_tool
from virtbus_domain.xml import format_domain
from virtbus_domain.xml.disk import BackingStore, Disk, DiskDriver, Transient
from virtbus_domain.xml.domain import Devices
from virtbus_domain.xml.storage_source import DiskSource
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

_FORMAT_EXTENSION = bytes.fromhex("E2792ACA")


class Images:
    """A folder of images that know each other by relative names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> str:
        """Where an image lies."""
        return str(self.folder / name)

    def make(self, name: str, image_format: str = "qcow2", *options: str, below: str | None = None,
             below_format: str = "qcow2") -> str:
        """An image, an overlay of another one without a look at that one."""
        on = [] if below is None else ["-u", "-b", below, "-F", below_format]
        make_image(self.path(name), image_format, "1M", *on, *options)
        return self.path(name)

    def raw(self, name: str) -> str:
        """A raw image."""
        with open(self.path(name), "wb") as file:
            file.truncate(1024 * 1024)
        return self.path(name)

    def forget_format(self, name: str) -> str:
        """Take the record of the format below out of a qcow2 image, as older tools never made it."""
        path = Path(self.path(name))
        header = path.read_bytes()
        assert _FORMAT_EXTENSION in header
        path.write_bytes(header.replace(_FORMAT_EXTENSION, b"\x11\x11\x11\x11", 1))
        return str(path)


@pytest.fixture
def images(tmp_path: Path) -> Images:
    """A folder for images."""
    return Images(tmp_path)


def disk_on(path: str, image_format: str = "qcow2", **more: Any) -> Disk:
    """A disk with this image."""
    return Disk(type="file", device="disk", driver=DiskDriver(name="qemu", type=image_format), target_dev="vda",
                target_bus="virtio", source=DiskSource(file=path), **more)


def chain(disk: Disk) -> list[tuple[str | None, str | None, str | None]]:
    """The layers below the top one: type, format and path; a last one without a source is (None, None, None)."""
    found, layer = [], disk.backing_store
    while layer is not None:
        found.append((layer.type, layer.format, layer.source.path if layer.source else None))
        layer = layer.backing_store
    return found


END = (None, None, None)


def refusal(disk: Disk) -> tuple[int, int, str]:
    """How a disk's chain is refused."""
    with pytest.raises(LibvirtError) as error:
        complete_chain(disk, {})
    return error.value.code, error.value.domain, error.value.message


class TestHeaders:
    """What an image tells of itself."""

    @pytest.mark.parametrize("options", [[], ["-o", "compat=0.10"], ["-o", "cluster_size=512"]])
    def test_qcow2(self, images: Images, options: list[str]) -> None:
        """Both versions of the header, and the name in the smallest cluster."""
        path = images.make("top", "qcow2", *options, below="lower,=\"x\" é.img", below_format="raw")
        assert read_image(read_header(path), "qcow2") == Image("lower,=\"x\" é.img", "raw")

    def test_others(self, images: Images) -> None:
        """Formats that record no format of the image below, or only that it is raw."""
        images.make("base")
        images.raw("raw")
        images.make("base.vmdk", "vmdk")
        for name, made, below, below_format, expected in (
                ("a", "qcow", "base", "qcow2", Image("base")), ("b", "qed", "base", "qcow2", Image("base")),
                ("c", "qed", "raw", "raw", Image("raw", "raw")), ("e", "qed", None, "", Image()),
                ("d", "vmdk", "base.vmdk", "vmdk", Image("base.vmdk")), ("f", "vmdk", None, "", Image())):
            on = [] if below is None else ["-b", images.path(below), "-F", below_format]
            make_image(images.path(name), made, "1M" if below is None else None, *on)
            found = read_image(read_header(images.path(name)), made)
            assert found == (expected if below is None else expected._replace(backing=images.path(below)))

    def test_no_layer(self, images: Images) -> None:
        """An image that is no overlay names none; one in another format than was said names nothing."""
        assert read_image(read_header(images.make("alone")), "qcow2") == Image()
        assert read_image(read_header(images.make("top", below="alone")), "qed") == Image()
        assert read_image(read_header(images.raw("raw")), "qcow2") == Image()

    def test_data_file(self, images: Images) -> None:
        """Data in another file is noticed."""
        path = images.make("split", "qcow2", "-o", f"data_file={images.path('data')}")
        assert read_image(read_header(path), "qcow2").has_data_file

    def test_guesses(self, images: Images) -> None:
        """Each format has its mark, and raw has none."""
        for made, told in (("qcow2", "qcow2"), ("qcow", "qcow"), ("qed", "qed"), ("vmdk", "vmdk"), ("vdi", "vdi"),
                           ("vpc", "vpc")):
            assert guess_format(read_header(images.make(made, made))) == told
        assert guess_format(read_header(images.raw("raw"))) == "raw"
        assert guess_format(b"") == "raw"

    @given(st.data())
    def test_any_bytes(self, data: st.DataObject) -> None:
        """Whatever bytes follow a format's mark, there is an answer or a refusal, never another failure."""
        image_format, mark = data.draw(st.sampled_from([
            ("qcow2", b"QFI\xfb\0\0\0\3"), ("qcow2", b"QFI\xfb\0\0\0\2"), ("qcow", b"QFI\xfb\0\0\0\1"),
            ("qed", b"QED\0"), ("vmdk", b"KDMV")]))
        rest = random.Random(data.draw(st.integers(0, 2**32))).randbytes(data.draw(st.integers(0, 300)))
        small = struct.pack(">QI", data.draw(st.integers(0, 400)), data.draw(st.integers(0, 2000)))
        for header in (mark + rest, mark + small + rest):
            try:
                image = read_image(header, image_format)
            except UnreadableError:
                continue
            assert image.backing is None or len(image.backing.encode()) <= 1023

    def test_no_pipe(self, images: Images) -> None:
        """A pipe in place of an image holds nobody up."""
        os.mkfifo(images.path("pipe"))
        assert "neither a file nor a block device" in refusal(disk_on(images.path("pipe")))[2]


class TestNames:
    """What a name in a header means."""

    @pytest.mark.parametrize(("name", "kind", "source"), [
        ("base.img", "file", DiskSource(file="/img/base.img")),
        ("../a b.img", "file", DiskSource(file="/img/../a b.img")),
        ("/x/y:z", "file", DiskSource(file="/x/y:z")),
        ("./y:z", "file", DiskSource(file="/img/./y:z")),
        ("nbd://host:10/a%20b", "network", {"protocol": "nbd", "name": "a b", "host": ("host", 10, None, None)}),
        ("nbd://[::1]", "network", {"protocol": "nbd", "name": None, "host": ("::1", None, None, None)}),
        ("nbd+unix:///x?socket=/s", "network", {"protocol": "nbd", "name": "x", "host": (None, None, "unix", "/s")}),
        ("nbd:host:10:exportname=x", "network", {"protocol": "nbd", "name": "x", "host": ("host", 10, None, None)}),
        ("nbd:unix:/s", "network", {"protocol": "nbd", "name": None, "host": (None, None, "unix", "/s")}),
        ("https://h/p/q?a=b", "network", {"protocol": "https", "name": "p/q", "query": "a=b",
                                          "host": ("h", None, None, None)}),
        ("iscsi://h:3260/iqn.x/1", "network",
         {"protocol": "iscsi", "name": "iqn.x/1", "host": ("h", 3260, None, None)}),
        ("gluster+rdma://h/v/p", "network", {"protocol": "gluster", "name": "v/p", "host": ("h", None, "rdma", None)}),
        (r"rbd:p/i@s:conf=/c\:d:mon_host=[\:\:1]\:6789", "network", {
            "protocol": "rbd", "name": "p/i", "snapshot": "s", "config_file": "/c:d",
            "host": ("::1", 6789, None, None)}),
        ('json:{"driver":"file","filename":"/f"}', "file", DiskSource(file="/f")),
        ('json:{"file.driver":"host_device","file.filename":"/d"}', "block", DiskSource(dev="/d")),
        ('json:{"driver":"nbd","server.type":"inet","server.host":"h","server.port":"1","export":"e"}', "network",
         {"protocol": "nbd", "name": "e", "host": ("h", 1, None, None)}),
        ('json:{"driver":"nbd","path":"/s"}', "network", {"protocol": "nbd", "name": None,
                                                          "host": (None, None, "unix", "/s")}),
        ('json:{"driver":"iscsi","portal":"h:1","target":"iqn.x","lun":2,"transport":"tcp"}', "network",
         {"protocol": "iscsi", "name": "iqn.x/2", "host": ("h", 1, None, None)}),
        ('json:{"driver":"rbd","pool":"p","image":"i","server":[{"host":"h","port":"6789"}]}', "network",
         {"protocol": "rbd", "name": "p/i", "host": ("h", 6789, None, None)}),
        ('json:{"driver":"http","url":"http://h/p"}', "network", {"protocol": "http", "name": "p",
                                                                  "host": ("h", None, None, None)}),
    ])
    def test_meaning(self, name: str, kind: str, source: DiskSource | dict[str, Any]) -> None:
        """Paths from the image's own folder, URIs, and QEMU's other forms."""
        found = source_of(name, Path("/img"))
        assert found[0] == kind
        if isinstance(source, DiskSource):
            assert found[1] == source
            return
        [host] = found[1].hosts
        assert (host.name, host.port, host.transport, host.socket) == source.pop("host")
        assert {key: getattr(found[1], key) for key in source} == source

    @pytest.mark.parametrize(("name", "code", "detail"), [
        ("file:/x", c.VIR_ERR_INTERNAL_ERROR, "invalid backing protocol 'file'"),
        ("fat:/x", c.VIR_ERR_INTERNAL_ERROR, "invalid backing protocol 'fat'"),
        ('json:{"driver":"qcow2","file":{"driver":"file","filename":"/x"}}', c.VIR_ERR_INTERNAL_ERROR,
         "missing parser implementation for JSON backing volume driver 'qcow2'"),
        ("json:[1]", c.VIR_ERR_INTERNAL_ERROR, "malformed name"),
        ("json:{", c.VIR_ERR_INTERNAL_ERROR, "malformed name"),
        ("json:" + "[" * 1000, c.VIR_ERR_INTERNAL_ERROR, "malformed name"),
        ("nbd:host:port", c.VIR_ERR_INTERNAL_ERROR, "malformed name"),
        ("nbd+unix:///x", c.VIR_ERR_INTERNAL_ERROR, "malformed name"),
        ("https://me:secret@host/x", c.VIR_ERR_CONFIG_UNSUPPORTED, "credentials"),
        ("rbd:p/i:id=me:key=AAA", c.VIR_ERR_CONFIG_UNSUPPORTED, "credentials"),
        ("rbd:p/i:odd=1", c.VIR_ERR_INTERNAL_ERROR, "unknown option 'odd'"),
    ])
    def test_refused(self, name: str, code: int, detail: str) -> None:
        """What cannot be understood is refused, with libvirt's code."""
        with pytest.raises(LibvirtError) as error:
            source_of(name, Path("/img"))
        assert (error.value.code, error.value.domain) == (code, c.VIR_FROM_STORAGE)
        assert detail in error.value.message

    @given(st.text(max_size=60))
    def test_any_text(self, name: str) -> None:
        """Any name is a source or a refusal."""
        for text in (name, f"json:{name}", f"nbd://{name}", f"rbd:{name}"):
            try:
                kind, _ = source_of(text, Path("/img"))
            except LibvirtError:
                continue
            assert kind in ("file", "block", "network")


class TestChains:
    """Layers that no document names."""

    def test_found(self, images: Images) -> None:
        """Every layer down to one that says it is the last; relative names are the images' own."""
        (images.folder / "lower").mkdir()
        images.raw("lower/raw.img")
        images.make("lower/mid", below="raw.img", below_format="raw")
        disk = disk_on(images.make("top", below="lower/mid"))
        complete_chain(disk, {})
        assert chain(disk) == [("file", "qcow2", images.path("lower/mid")),
                               ("file", "raw", images.path("lower/raw.img")), END]

    def test_raw_is_not_looked_into(self, images: Images) -> None:
        """A guest that writes an image's header to its raw disk leads nowhere."""
        images.make("base")
        disk = disk_on(images.make("forged", below="base"), "raw")
        complete_chain(disk, {})
        assert chain(disk) == [END]
        above = disk_on(images.make("above", below="forged", below_format="raw"))
        complete_chain(above, {})
        assert chain(above) == [("file", "raw", images.path("forged")), END]

    def test_what_the_document_says_counts(self, images: Images) -> None:
        """Layers of the document are taken as they are; where it ends without saying so, the images are asked."""
        images.make("base")
        images.make("mid", below="base")
        top = images.make("top", below="elsewhere")
        said = BackingStore(type="file", format="qcow2", source=DiskSource(file=images.path("mid")))
        disk = disk_on(top, backing_store=said)
        complete_chain(disk, {})
        assert chain(disk) == [("file", "qcow2", images.path("mid")), ("file", "qcow2", images.path("base")), END]
        ended = disk_on(top, backing_store=BackingStore())
        complete_chain(ended, {})
        assert chain(ended) == [END]

    def test_on_a_server(self, images: Images) -> None:
        """A layer that another machine holds ends what can be found; its own layers are QEMU's to find."""
        disk = disk_on(images.make("top", below="nbd://host/x"))
        complete_chain(disk, {})
        assert chain(disk) == [("network", "qcow2", None)]

    def test_unrecorded_format(self, images: Images) -> None:
        """A format that was not recorded is guessed only where a wrong guess leads to no other file."""
        images.raw("raw")
        images.make("base")
        for below, guessed in (("raw", "raw"), ("base", "qcow2")):
            images.make(f"on-{below}", below=below)
            disk = disk_on(images.forget_format(f"on-{below}"))
            complete_chain(disk, {})
            assert chain(disk) == [("file", guessed, images.path(below)), END]
        images.make("mid", below="base")
        for below in ("mid", "nbd://host/x"):
            images.make("top", below=below)
            path = images.forget_format("top")
            assert refusal(disk_on(path)) == (
                c.VIR_ERR_OPERATION_INVALID, c.VIR_FROM_STORAGE,
                f"Requested operation is not valid: format of backing image '{below}' of image '{path}' was not "
                "specified in the image metadata (See https://libvirt.org/kbase/backing_chains.html for "
                "troubleshooting)")

    def test_missing(self, images: Images) -> None:
        """A file that is not there is named, with the one that refers to it."""
        path, who = images.make("top", below="gone"), f"(as uid:{os.geteuid()}, gid:{os.getegid()})"
        assert refusal(disk_on(path)) == (
            c.VIR_ERR_SYSTEM_ERROR, c.VIR_FROM_STORAGE,
            f"Cannot access backing file '{images.path('gone')}' of storage file '{path}' {who}: "
            "No such file or directory")
        assert refusal(disk_on("/nowhere", "raw")) == (
            c.VIR_ERR_SYSTEM_ERROR, c.VIR_FROM_STORAGE,
            f"Cannot access storage file '/nowhere' {who}: No such file or directory")

    def test_loop(self, images: Images) -> None:
        """Images that are each other's overlays are refused."""
        images.make("a", below="b")
        images.make("b", below="a")
        assert refusal(disk_on(images.path("a"))) == (
            c.VIR_ERR_INTERNAL_ERROR, c.VIR_FROM_STORAGE,
            f"internal error: backing store for {images.path('a')} is self-referential or too deeply nested")

    def test_depth(self, images: Images) -> None:
        """Two hundred layers are a chain, one more is none."""
        template = Path(images.make("template", below="image-000")).read_bytes()
        Path(images.path("image-000")).write_bytes(Path(images.make("base")).read_bytes())
        for number in range(1, 201):
            content = template.replace(b"image-000", b"image-%03d" % (number - 1))
            Path(images.path(f"image-{number:03}")).write_bytes(content)
        disk = disk_on(images.path("image-199"))
        complete_chain(disk, {})
        assert len(list(layers(disk))) == 200
        assert "self-referential or too deeply nested" in refusal(disk_on(images.path("image-200")))[2]

    def test_data_file(self, images: Images) -> None:
        """An image whose data QEMU would look for by itself is refused."""
        path = images.make("split", "qcow2", "-o", f"data_file={images.path('data')}")
        assert refusal(disk_on(path))[0] == c.VIR_ERR_CONFIG_UNSUPPORTED

    def test_optional_media(self, images: Images) -> None:
        """What may be missing and is: a drive is empty, a disk is not there; what must be there is refused."""
        def missing(device: str, policy: str | None) -> Disk:
            return Disk(type="file", device=device, source=DiskSource(file="/nowhere", startup_policy=policy))

        kept = disk_on(images.raw("raw"), "raw")
        devices = Devices(disks=[kept, missing("cdrom", "optional"), missing("disk", "optional")])
        find_layers(devices, {})
        assert [(disk.device, disk.source is None) for disk in devices.disks] == [("disk", False), ("cdrom", True)]
        for policy in ("mandatory", "requisite", None):
            with pytest.raises(LibvirtError, match="Cannot access storage file '/nowhere'"):
                find_layers(Devices(disks=[missing("cdrom", policy)]), {})


DISK = "<disk type='file' device='disk'><driver name='qemu' type='{kind}'/><source file='{file}'/>" \
       "<target dev='{dev}' bus='virtio'/>{more}</disk>"


async def nodes_of(guest: LiveGuest) -> dict[int, tuple[str, str, bool]]:
    """QEMU's layers by number: format, file, and whether it is only read."""
    nodes = {node["node-name"]: node for node in await guest.ask("query-named-block-nodes", {"flat": True})}
    numbers = [int(name.split("-")[1]) for name in nodes if name.endswith("-format")]
    return {number: (nodes[f"libvirt-{number}-format"]["drv"], nodes[f"libvirt-{number}-storage"]["file"],
                     nodes[f"libvirt-{number}-format"]["ro"]) for number in numbers}


class TestGuests:
    """Real QEMU on such images."""

    def test_chain(self, images: Images) -> None:
        """The live document shows the layers with numbers, and QEMU has the nodes of these names."""
        images.raw("raw")
        images.make("mid", below="raw", below_format="raw")
        top = images.make("top", below="mid")
        domain = domain_of(x86_capabilities(), DISK.format(kind="qcow2", file=top, dev="vda", more=""))

        async def scenario() -> None:
            async with live_guest(domain, x86_capabilities(), images.folder / "run") as guest:
                assert await nodes_of(guest) == {1: ("qcow2", top, False), 2: ("qcow2", images.path("mid"), True),
                                               3: ("raw", images.path("raw"), True)}

        asyncio.run(scenario())
        live = format_domain(domain, live=True)
        assert f"<source file='{top}' index='1'/>" in live
        assert "<backingStore type='file' index='2'>" in live
        assert "<backingStore type='file' index='3'>" in live
        assert domain.devices is not None
        assert chain(domain.devices.disks[0])[-1] == END

    def test_transient(self, images: Images) -> None:
        """The guest's disk is an overlay in QEMU and in the live document, numbered after all layers; images below
        are only read; when it ends nothing of what was written is left."""
        raw, top = images.raw("raw"), images.make("top")
        capabilities, state = x86_capabilities(), images.folder / "run"
        domain = domain_of(capabilities, (
            DISK.format(kind="raw", file=raw, dev="vda", more="<transient/>")
            + DISK.format(kind="qcow2", file=top, dev="vdb", more="<transient shareBacking='yes'/>")))
        overlays = overlay_directory(state, GuestPaths(state, 1, str(domain.uuid)))

        async def scenario() -> None:
            async with live_guest(domain, capabilities, state) as guest:
                assert await nodes_of(guest) == {
                    3: ("qcow2", str(overlays / "virtio-disk0.qcow2"), False), 2: ("raw", raw, True),
                    4: ("qcow2", str(overlays / "virtio-disk1.qcow2"), False), 1: ("qcow2", top, True)}
                assert await guest.top_node(guest.devices.disks[0]) == "libvirt-3-format"
                nodes = await guest.ask("query-named-block-nodes", {"flat": True})
                assert {node["image"]["virtual-size"] for node in nodes if node["drv"] == "qcow2"} == {1024 * 1024}
                remove_other_overlays(state, state / "qemu")
                assert len(list(overlays.iterdir())) == 2

        asyncio.run(scenario())
        live = format_domain(domain, live=True)
        assert f"<source file='{overlays}/virtio-disk0.qcow2' index='3'/>" in live
        assert "<transient shareBacking='yes'/>" in live
        remove_overlays(state, GuestPaths(state, 1, str(domain.uuid)))
        assert not overlays.exists()

    def test_transient_start_fails(self, images: Images) -> None:
        """A start that fails leaves no overlay; those of guests without a run directory are swept."""
        state = images.folder / "run"
        domain = domain_of(x86_capabilities(), (
            DISK.format(kind="raw", file=images.raw("raw"), dev="vda", more="<transient/>")
            + DISK.format(kind="qcow2", file=images.raw("not qcow2"), dev="vdb", more="")))

        async def scenario() -> None:
            with pytest.raises(LibvirtError, match="not in qcow2 format"):
                async with live_guest(domain, x86_capabilities(), state):
                    pass

        asyncio.run(scenario())
        assert list((state / "transient").iterdir()) == []
        left = state / "transient" / "7-of-a-crash"
        left.mkdir()
        (left / "virtio-disk0.qcow2").touch()
        remove_other_overlays(state, state / "qemu")
        assert not left.exists()


def test_not_while_it_runs() -> None:
    """An overlay is made by a start only: a transient disk is not plugged into a guest that runs."""
    disk = disk_on("/x", transient=Transient(), alias="virtio-disk0")
    setup = setup_of(domain_of(x86_capabilities()), x86_capabilities())
    with pytest.raises(LibvirtError, match="transient disk hotplug isn't supported") as error:
        check_attach("disks", disk, setup)
    assert error.value.code == c.VIR_ERR_OPERATION_UNSUPPORTED


def test_tool_that_fails(images: Images) -> None:
    """A program's own words are in the error, and one that is not installed is named."""
    with pytest.raises(LibvirtError, match=r"unexpected exit status 1: .*No such file") as error:
        asyncio.run(run_tool("qemu-img", "info", images.path("gone")))
    assert error.value.code == c.VIR_ERR_INTERNAL_ERROR
    with pytest.raises(LibvirtError, match="Unable to find 'no-such-program' binary"):
        asyncio.run(run_tool("no-such-program"))
