"""The directory of a ``dir`` pool: made, looked at and removed for real."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.components import require_root
from tests.support.images import make_image
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError
from virtbus_storage.directory import Directory
from virtbus_storage.images import read_volume
from virtbus_storage.xml import Permissions


def test_build_makes_parents(tmp_path: Path) -> None:
    """The directory is made with libvirt's default mode, parents included; making it again changes nothing."""
    pool = Directory(str(tmp_path / "a/b/c"))
    asyncio.run(pool.build(None))
    assert (tmp_path / "a/b/c").stat().st_mode & 0o777 == 0o711
    (tmp_path / "a/b/c").chmod(0o700)
    asyncio.run(pool.build(None))
    assert (tmp_path / "a/b/c").stat().st_mode & 0o777 == 0o700


def test_build_with_permissions(tmp_path: Path) -> None:
    """Mode, owner and group are as the pool's document says, for an existing directory too."""
    require_root()
    for _ in range(2):
        pool = Directory(str(tmp_path / "pool"))
        asyncio.run(pool.build(Permissions(mode=0o2750, owner=7, group=8)))
        found = asyncio.run(pool.scan()).permissions
        assert (found.mode, found.owner, found.group) == (0o750, 7, 8)
        (tmp_path / "pool").chmod(0o700)


def test_build_over_a_file(tmp_path: Path) -> None:
    """A file in the place of the directory is an error and stays."""
    (tmp_path / "file").write_text("precious")
    with pytest.raises(LibvirtError, match=r"failed to create directory '.*/file': File exists"):
        asyncio.run(Directory(str(tmp_path / "file")).build(None))
    assert (tmp_path / "file").read_text() == "precious"


def test_missing_directory(tmp_path: Path) -> None:
    """A pool whose directory is missing cannot be looked at; the system says why."""
    with pytest.raises(LibvirtError, match=r"cannot open directory '.*/none': No such file or directory") as caught:
        asyncio.run(Directory(str(tmp_path / "none")).scan())
    assert (caught.value.code, caught.value.domain) == (c.VIR_ERR_SYSTEM_ERROR, c.VIR_FROM_STORAGE)


def test_relative_path() -> None:
    """A path that depends on where the service happens to run is refused."""
    with pytest.raises(LibvirtError, match="target path 'a/b' is not absolute"):
        Directory("a/b")


def test_remove(tmp_path: Path) -> None:
    """Only an empty directory is removed."""
    pool = Directory(str(tmp_path / "pool"))
    asyncio.run(pool.build(None))
    (tmp_path / "pool/file").touch()
    with pytest.raises(LibvirtError, match=r"failed to remove pool '.*/pool': Directory not empty"):
        asyncio.run(pool.remove())
    (tmp_path / "pool/file").unlink()
    asyncio.run(pool.remove())
    assert not (tmp_path / "pool").exists()


def test_sizes(tmp_path: Path) -> None:
    """Capacity, allocation and available are those of the file system, and fit together."""
    contents = asyncio.run(Directory(str(tmp_path)).scan())
    usage = os.statvfs(tmp_path)
    assert contents.capacity == usage.f_blocks * usage.f_frsize == shutil.disk_usage(tmp_path).total
    assert contents.allocation + contents.available == contents.capacity


def test_what_is_a_volume(tmp_path: Path) -> None:
    """Files, directories and links to them are volumes; pipes, sockets, devices and links to nowhere are not."""
    (tmp_path / "file").write_bytes(b"x" * 1000)
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "folder-link").symlink_to("folder")
    (tmp_path / "dangling").symlink_to("none")
    (tmp_path / "device").symlink_to("/dev/null")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
    volumes = asyncio.run(Directory(str(tmp_path)).scan()).volumes
    assert {name: (v.type, v.capacity) for name, v in volumes.items()} == {
        "file": ("file", 1000), "folder": ("dir", 0), "link": ("file", 1000), "folder-link": ("dir", 0)}


def test_backing_files_made_by_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Backing files are told as libvirt does: relative ones resolved, formats probed when unsaid."""
    monkeypatch.chdir(tmp_path)
    make_image("base.qcow2", "qcow2", "1M")
    make_image("relative", "qcow2", "1M", "-b", "base.qcow2", "-F", "qcow2")
    make_image("remote", "qcow2", "1M", "-u", "-b", "nbd://host/x", "-F", "raw")
    make_image("orphan", "qcow2", "1M", "-u", "-b", "gone.qcow2", "-F", "qcow2")
    make_image("unsaid", "qed", "1M", "-b", "base.qcow2", "-F", "qcow2")
    volumes = asyncio.run(Directory(str(tmp_path)).scan()).volumes
    found = {name: (v.backing_store.path, v.backing_store.format) for name, v in volumes.items() if v.backing_store}
    assert found == {
        "relative": (f"{tmp_path}/base.qcow2", "qcow2"), "remote": ("nbd://host/x", "raw"),
        "orphan": (f"{tmp_path}/gone.qcow2", "qcow2"), "unsaid": (f"{tmp_path}/base.qcow2", "qcow2")}


def test_encrypted_image(tmp_path: Path) -> None:
    """An encrypted qcow2 image is told to be one, by the encryption method in its header (bytes 32 to 35).

    It is written into a plain image: qemu-img measures the CPU before it encrypts, and fails where others use it too.
    """
    make_image(tmp_path / "e", "qcow2", "1M")
    header = (tmp_path / "e").read_bytes()
    (tmp_path / "e").write_bytes(header[:32] + struct.pack(">I", 2) + header[36:])
    volume = read_volume(str(tmp_path), "e")
    assert volume is not None
    assert volume.target is not None
    assert [dict(raw.attrs) for raw in volume.target.encryption] == [{"format": "luks"}]


def test_thousand_images(tmp_path: Path) -> None:
    """A pool of a thousand images is read completely, each with the size its own header tells."""
    make_image(tmp_path / "0", "qcow2", "1M")
    header = (tmp_path / "0").read_bytes()[:4096]
    for number in range(1, 1000):
        (tmp_path / str(number)).write_bytes(header[:24] + struct.pack(">Q", number << 20) + header[32:])
    volumes = asyncio.run(Directory(str(tmp_path)).scan()).volumes
    assert [volumes[str(n)].capacity for n in range(1, 1000)] == [n << 20 for n in range(1, 1000)]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(magic=st.sampled_from([b"QFI\xfb\0\0\0\3", b"QFI\xfb\0\0\0\2", b"QFI\xfb\0\0\0\1", b"QED\0", b"KDMV",
                              b"conectix", b""]),
       rest=st.binary(max_size=200), fill=st.sampled_from([b"\0", b"\xff", b"\x01"]), size=st.integers(0, 5000))
def test_hostile_headers(tmp_path: Path, magic: bytes, rest: bytes, fill: bytes, size: int) -> None:
    """Whatever a guest wrote into the start of its disk, the look at the pool goes on and the volume is listed."""
    (tmp_path / "image").write_bytes((magic + rest).ljust(size, fill))
    volume = read_volume(str(tmp_path), "image")
    assert volume is not None
    assert volume.capacity is not None
