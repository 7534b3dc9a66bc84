"""Volumes of a ``dir`` pool: made by the real qemu-img or the kernel, and looked at again as a client would."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
from collections.abc import Coroutine
from pathlib import Path
from typing import TypeVar

import pytest

from tests.support.components import require, require_program, require_root
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError
from virtbus_storage import creation
from virtbus_storage.directory import Contents, Directory
from virtbus_storage.xml import Volume, complete_volume, parse_volume

T = TypeVar("T")
MIB = 2**20


def model(name: str, kind: str = "raw", rest: str = "<allocation>0</allocation>", target: str = "",
          capacity: int = MIB) -> Volume:
    """A volume as a client describes it, completed."""
    volume = parse_volume(f"<volume><name>{name}</name><capacity>{capacity}</capacity>{rest}"
                          f"<target><format type='{kind}'/>{target}</target></volume>")
    complete_volume(volume)
    return volume


def run(coroutine: Coroutine[None, None, T]) -> T:
    """Run on a loop of its own."""
    return asyncio.run(coroutine)


@pytest.fixture
def pool(tmp_path: Path) -> Directory:
    """A pool on an empty directory."""
    folder = tmp_path / "pool"
    folder.mkdir()
    return Directory(str(folder))


def names(pool: Directory) -> list[str]:
    """Everything that is in the directory, hidden or not, once the pool's thread has nothing left to do."""
    run(pool.scan())
    return sorted(os.listdir(pool.path))


def info(path: str) -> dict[str, object]:
    """What qemu-img itself says of an image."""
    done = subprocess.run(["qemu-img", "info", "--output=json", path], capture_output=True, check=True)
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def refused(pool: Directory, volume: Volume, *, preallocate_metadata: bool = False) -> LibvirtError:
    """The error that creating this volume gives; nothing may be left of it."""
    before = names(pool)
    with pytest.raises(LibvirtError) as caught:
        run(pool.create(volume, preallocate_metadata=preallocate_metadata))
    assert names(pool) == before
    assert caught.value.domain == c.VIR_FROM_STORAGE
    return caught.value


@pytest.mark.parametrize(("allocation", "allocated"), [(0, 0), (MIB // 2, MIB // 2), (MIB, MIB), (4 * MIB, MIB)])
def test_raw(pool: Directory, allocation: int, allocated: int) -> None:
    """A raw volume has its capacity, exactly the wanted space, mode 0600, and its path as key."""
    volume = run(pool.create(model("a.img", rest=f"<allocation>{allocation}</allocation>")))
    assert (volume.type, volume.capacity, volume.allocation) == ("file", MIB, allocated)
    assert volume.target is not None
    assert volume.target.permissions is not None
    assert (volume.key, volume.target.path) == (f"{pool.path}/a.img", f"{pool.path}/a.img")
    assert (volume.target.format, volume.target.permissions.mode) == ("raw", 0o600)
    assert names(pool) == ["a.img"]


@pytest.mark.parametrize("kind", ["qcow2", "qcow", "qed", "vmdk", "vdi", "vpc", "raw"])
def test_formats_are_recognised(pool: Directory, kind: str) -> None:
    """Each format that qemu-img can make is told by its own name, with the size that qemu-img tells."""
    require_program("qemu-img")
    volume = run(pool.create(model("disk", kind, capacity=504 * 1008 * 512)))  # whole cylinders, as VHD needs
    assert volume.target is not None
    said = info(f"{pool.path}/disk")
    assert (volume.target.format, volume.capacity) == (said["format"], said["virtual-size"])
    assert run(pool.scan()).volumes["disk"].capacity == volume.capacity


def test_qcow2_features(pool: Directory) -> None:
    """Compatibility level, cluster size and features are what was asked for, and are read back from the file."""
    require_program("qemu-img")
    volume = run(pool.create(model("a.qcow2", "qcow2", target=(
        "<compat>1.1</compat><clusterSize unit='KiB'>128</clusterSize>"
        "<features><lazy_refcounts/><extended_l2/></features>"))))
    assert volume.target is not None
    assert (volume.target.compat, volume.target.cluster_size) == ("1.1", 128 * 1024)
    assert (volume.target.lazy_refcounts, volume.target.extended_l2) == (True, True)
    old = run(pool.create(model("b.qcow2", "qcow2")))
    assert old.target is not None
    assert (old.target.compat, old.target.cluster_size, old.target.lazy_refcounts) == (None, 65536, False)


@pytest.mark.parametrize(("rest", "least"), [("", MIB), ("<allocation>0</allocation>", 0)])
def test_metadata_preallocation(pool: Directory, rest: str, least: int) -> None:
    """With the flag, a fully allocated qcow2 volume gets its space, and a sparse one only its metadata."""
    require_program("qemu-img")
    plain = run(pool.create(model("plain", "qcow2", capacity=64 * MIB)))
    volume = run(pool.create(model("a.qcow2", "qcow2", rest, capacity=64 * MIB), preallocate_metadata=True))
    assert (volume.physical or 0) > 64 * MIB > (plain.physical or 0)
    assert (volume.allocation or 0) >= least * 64


@pytest.mark.parametrize("where", ["base.qcow2", "{pool}/base.qcow2", "od:d,na=me.qcow2"])
def test_backing_file(pool: Directory, where: str) -> None:
    """An overlay names its backing file as asked; it is told as an absolute path with format and owner."""
    require_program("qemu-img")
    base = os.path.basename(where)
    run(pool.create(model(base, "qcow2")))
    path = where.format(pool=pool.path)
    volume = run(pool.create(model("top", "qcow2", (
        f"<allocation>0</allocation><backingStore><path>{path}</path><format type='qcow2'/></backingStore>"))))
    assert volume.backing_store is not None
    assert (volume.backing_store.path, volume.backing_store.format) == (f"{pool.path}/{base}", "qcow2")
    assert volume.backing_store.permissions is not None
    assert volume.backing_store.permissions.mode == 0o600
    assert info(f"{pool.path}/top")["full-backing-filename"] in (f"{pool.path}/{base}", f"{pool.path}/./{base}")


@pytest.mark.parametrize("name", ["a,b=c.qcow2", "--help", " ", "json:{}", "nbd:x", "x" * 255, "ünïcødé", "%s", "-"])
def test_awkward_names(pool: Directory, name: str) -> None:
    """A name means itself to every tool: commas, options and protocols in it have no effect."""
    require_program("qemu-img")
    wanted = model("placeholder", "qcow2")
    wanted.name = name
    volume = run(pool.create(wanted))
    assert (volume.name, names(pool)) == (name, [name])
    assert volume.capacity == MIB
    run(pool.delete(volume))
    assert names(pool) == []


def test_directory_volume(pool: Directory) -> None:
    """A volume of format dir is a directory; only an empty one can be deleted."""
    volume = run(pool.create(model("d", "dir", target="<permissions><mode>0750</mode></permissions>")))
    assert (volume.type, volume.capacity, volume.allocation, volume.physical) == ("dir", 0, 0, None)
    assert Path(pool.path, "d").stat().st_mode & 0o777 == 0o750
    Path(pool.path, "d", "file").touch()
    with pytest.raises(LibvirtError, match=r"cannot remove directory '.*/d': Directory not empty"):
        run(pool.delete(volume))
    Path(pool.path, "d", "file").unlink()
    run(pool.delete(volume))
    assert names(pool) == []


def test_permissions(pool: Directory) -> None:
    """Mode, owner and group are as asked."""
    require_root()
    volume = run(pool.create(model("a", target=(
        "<permissions><mode>0640</mode><owner>5</owner><group>6</group></permissions>"))))
    facts = Path(pool.path, "a").stat()
    assert (facts.st_mode & 0o777, facts.st_uid, facts.st_gid) == (0o640, 5, 6)
    assert volume.target is not None
    assert volume.target.permissions is not None
    assert (volume.target.permissions.owner, volume.target.permissions.group) == (5, 6)


@pytest.mark.parametrize(("name", "code", "text"), [
    ("a/b", c.VIR_ERR_OPERATION_INVALID, "volume name 'a/b' cannot contain '/'"),
    ("../b", c.VIR_ERR_OPERATION_INVALID, "cannot contain '/'"),
    ("a\nb", c.VIR_ERR_OPERATION_INVALID, "cannot contain"),
    ("..", c.VIR_ERR_OPERATION_INVALID, "already exists"),
    (".", c.VIR_ERR_OPERATION_INVALID, "already exists"),
    ("taken", c.VIR_ERR_OPERATION_INVALID, "volume target path '.*/taken' already exists"),
    ("x" * 256, c.VIR_ERR_SYSTEM_ERROR, "File name too long"),
    (".virtbus-0-1-2-3", c.VIR_ERR_OPERATION_INVALID, "is kept for volumes in the making"),
])
@pytest.mark.parametrize("kind", ["raw", "qcow2", "dir"])
def test_refused_names(pool: Directory, kind: str, name: str, code: int, text: str) -> None:
    """A name that is no file name of this directory, or is taken, is refused with libvirt's code."""
    require_program("qemu-img")
    Path(pool.path, "taken").symlink_to("nowhere")
    volume = model("placeholder", kind)
    volume.name = name
    error = refused(pool, volume)
    assert error.code == code
    assert re.search(text, error.message)


@pytest.mark.parametrize(("volume", "code", "text"), [
    (model("a", "qcow2", target="<compat>7.7</compat>"), c.VIR_ERR_INTERNAL_ERROR, "does not accept value '7.7'"),
    (model("a", "qcow2", target="<clusterSize>777</clusterSize>"), c.VIR_ERR_INTERNAL_ERROR, "power of two"),
    (model("a", "bochs"), c.VIR_ERR_INTERNAL_ERROR, "Format driver 'bochs' does not support image creation"),
    (model("a", "qcow2", capacity=2**62), c.VIR_ERR_INTERNAL_ERROR, "too large"),
    (model("a", "raw", capacity=2**62), c.VIR_ERR_SYSTEM_ERROR, "File too large"),
    (model("a", "raw", capacity=2**64 - 1), c.VIR_ERR_SYSTEM_ERROR, "File too large"),
    (model("a", "raw", "<backingStore><path>/b</path></backingStore>"), c.VIR_ERR_NO_SUPPORT, "backing storage"),
    (model("a", "qcow2", "<backingStore><path>/none/b</path></backingStore>"), c.VIR_ERR_SYSTEM_ERROR,
     "inaccessible backing store volume /none/b: No such file or directory"),
    (model("a", "qcow2", "<backingStore><path>nbd://h/x</path></backingStore>"), c.VIR_ERR_SYSTEM_ERROR,
     "inaccessible"),
    (model("a", "qcow2", target="<encryption format='luks'/>"), c.VIR_ERR_CONFIG_UNSUPPORTED, "<encryption>"),
    (model("a", "raw", target="<nocow/>"), c.VIR_ERR_CONFIG_UNSUPPORTED, "<nocow>"),
])
def test_refused_volumes(pool: Directory, volume: Volume, code: int, text: str) -> None:
    """What cannot be made is refused in the words of whoever knows why, and leaves nothing behind."""
    require_program("qemu-img")
    error = refused(pool, volume)
    assert error.code == code
    assert text in error.message
    assert ".virtbus-" not in error.message


def test_metadata_preallocation_of_raw(pool: Directory) -> None:
    """A raw volume has no metadata to allocate."""
    assert refused(pool, model("a"), preallocate_metadata=True).code == c.VIR_ERR_CONFIG_UNSUPPORTED


def test_full_file_system(tmp_path: Path) -> None:
    """A volume that does not fit is refused, and the space that it had taken is given back."""
    require_root()
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(folder)], check=False)
    require("tmpfs", mounted.returncode == 0, "cannot be mounted here")
    try:
        pool = Directory(str(folder))
        error = refused(pool, model("big", rest="", capacity=64 * MIB))
        assert (error.code, error.message.endswith("No space left on device")) == (c.VIR_ERR_SYSTEM_ERROR, True)
        assert run(pool.scan()).available == 8 * MIB
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_two_at_once(pool: Directory) -> None:
    """Of two requests for one name, one makes the volume and the other is told that it exists; neither overwrites."""
    require_program("qemu-img")

    async def both() -> list[Volume | BaseException]:
        return await asyncio.gather(*(pool.create(model("same", "qcow2", capacity=n * MIB)) for n in (1, 2)),
                                    return_exceptions=True)

    results = run(both())
    [made] = [result for result in results if isinstance(result, Volume)]
    [error] = [result for result in results if isinstance(result, LibvirtError)]
    assert error.code == c.VIR_ERR_STORAGE_VOL_EXIST
    assert error.message == "storage volume 'same' exists already"
    assert (names(pool), run(pool.scan()).volumes["same"].capacity) == (["same"], made.capacity)


@pytest.mark.parametrize("turns", range(0, 40, 3))
def test_cancelled_at_any_point(pool: Directory, turns: int) -> None:
    """However far a request has come when it is cancelled, no file of it remains and no qemu-img runs on."""
    require_program("qemu-img")

    async def cancel() -> bool:
        task = asyncio.create_task(pool.create(model("a.qcow2", "qcow2")))
        for _ in range(turns):
            await asyncio.sleep(0.001)
        task.cancel()
        done = await asyncio.gather(task, return_exceptions=True)
        return isinstance(done[0], Volume)

    finished = run(cancel())
    assert names(pool) == (["a.qcow2"] if finished else [])


def test_left_over_of_a_dead_service(pool: Directory) -> None:
    """An unfinished file whose maker has died is removed at the next look; one of a living maker is hidden only."""
    mine, started = creation.temporary_name(), creation.temporary_name().split("-")[-2]
    dead = mine.replace(f"-{started}-", f"-{int(started) + 1}-")
    elsewhere = ".virtbus-0123456789abcdef-1-1-0"
    for name in (mine, dead, elsewhere):
        Path(pool.path, name).touch()
    contents: Contents = run(pool.scan())
    assert contents.volumes == {}
    assert sorted(os.listdir(pool.path)) == sorted([mine, elsewhere])
