"""A real Linux guest small enough for every test: Debian's own kernel, busybox, and an init that says what it does.

It boots in two or three seconds without KVM and in 80 MiB, reports each step as a `virtbus-guest:` line on its
serial port, writes to and reads back its first disk, and obeys the ACPI power button. A QEMU that is paused or boots
nothing could not show that a disk, an interface or a shutdown really reaches the system inside.

The kernel comes from /boot or, without root rights, from `apt-get download`. The result is kept in
`$XDG_CACHE_HOME/virtbus` (else ~/.cache/virtbus), made aside and renamed, so that several runs can share it.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.cpio import Archive

Progress = Callable[[str], None]

# Lines of the serial port, in this order; READY means that the power button is being listened to.
BOOTED = "virtbus-guest: booted"
DISK_OK = "virtbus-guest: disk ok"
READY = "virtbus-guest: ready"
POWER_BUTTON = "virtbus-guest: power button"

# Built into some kernels, modules in others; what a kernel has built in is simply not there to load.
_MODULES = (
    "virtio_pci", "virtio_blk", "virtio_net", "virtio_console", "virtio_balloon", "button", "evdev",
)
_APPLETS = ("sh", "mount", "insmod", "cat", "ip", "dd", "cmp", "sync", "acpid", "ls", "grep", "sleep", "poweroff")
_META_PACKAGES = ("linux-image-cloud-amd64", "linux-image-virtual")  # Debian's, Ubuntu's

_INIT = """\
#!/bin/sh
# Everything a test looks for begins with "virtbus-guest: ".
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
exec <>/dev/console >&0 2>&1
echo "virtbus-guest: booting"
for module in $(cat /modules/order); do insmod /modules/$module; done
echo "virtbus-guest: booted"
read -r uptime idle < /proc/uptime
echo "virtbus-guest: $(cat /proc/sys/kernel/ostype) $(cat /proc/sys/kernel/osrelease) after $uptime s"
for word in $(cat /proc/cmdline); do
    case $word in
    vbip=*)
        if ip address add "${word#vbip=}" dev eth0 && ip link set eth0 up
        then echo "virtbus-guest: eth0 ${word#vbip=}"
        else echo "virtbus-guest: eth0 failed"
        fi ;;
    esac
done
if [ -b /dev/vda ]; then
    size=$(($(cat /sys/class/block/vda/size) * 512))
    dd if=/dev/urandom of=/pattern bs=4096 count=16 2>/dev/null
    dd if=/pattern of=/dev/vda bs=4096 conv=fsync 2>/dev/null
    echo 3 > /proc/sys/vm/drop_caches
    dd if=/dev/vda of=/readback bs=4096 count=16 2>/dev/null
    if cmp /pattern /readback
    then echo "virtbus-guest: disk ok $size"
    else echo "virtbus-guest: disk failed $size"
    fi
fi
acpid -f -l /dev/null &
# A button pressed before acpid has opened the input device would be lost.
until ls -l /proc/$!/fd 2>/dev/null | grep -q /dev/input/; do sleep 0.02; done
echo "virtbus-guest: ready"
wait
echo "virtbus-guest: acpid ended"
while true; do sleep 3600; done
"""

# busybox acpid runs this for the power button's key press.
_POWER_BUTTON = """\
#!/bin/sh
echo "virtbus-guest: power button" > /dev/console
sync
poweroff -f
"""


class GuestError(Exception):
    """The guest image could not be made; the text says what is missing and how to get it."""


@dataclass(frozen=True)
class GuestImage:
    """What a domain boots directly: <kernel>, <initrd> and <cmdline>."""

    kernel: Path
    initrd: Path
    cmdline: str = "console=ttyS0 quiet panic=-1"
    memory_mib: int = 96


def guest_image(progress: Progress = lambda _line: None) -> GuestImage:
    """The guest, from the cache or built now (some seconds; the first time with a download of 30 to 60 MB)."""
    busybox = _static_busybox()
    recipe = "\n".join((_INIT, _POWER_BUTTON, *_MODULES, *_APPLETS)).encode() + busybox.read_bytes()
    prefix = f"guest-{hashlib.sha256(recipe).hexdigest()[:12]}"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "virtbus"
    for made in sorted(cache.glob(f"{prefix}-*"), reverse=True):
        return GuestImage(made / "vmlinuz", made / "initrd.gz")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".making-", dir=cache) as scratch:
        root, version = _find_kernel(cache, Path(scratch), progress)
        progress(f"guest: building the image with Linux {version}")
        aside = Path(scratch) / "image"
        aside.mkdir()
        shutil.copyfile(root / "boot" / f"vmlinuz-{version}", aside / "vmlinuz")
        modules = _modules_in_order(root / "lib" / "modules" / version)
        (aside / "initrd.gz").write_bytes(gzip.compress(_initramfs(busybox, modules), compresslevel=6, mtime=0))
        target = cache / f"{prefix}-{version}"
        try:
            aside.rename(target)
        except OSError:
            # Someone else made the same image meanwhile: theirs is as good.
            if not (target / "initrd.gz").exists():
                raise
    return GuestImage(target / "vmlinuz", target / "initrd.gz")


def _initramfs(busybox: Path, modules: list[Path]) -> bytes:
    archive = Archive()
    for folder in ("bin", "dev", "etc", "etc/acpi", "etc/acpi/PWRF", "modules", "proc", "sys", "var", "var/run"):
        archive.folder(folder)
    archive.character_device("dev/console", 5, 1)  # the kernel opens it for init, before devtmpfs is there
    archive.file("bin/busybox", busybox.read_bytes(), 0o755)
    for applet in _APPLETS:
        archive.symlink(f"bin/{applet}", "busybox")
    names = [re.sub(r"\.ko.*", ".ko", module.name) for module in modules]
    for name, module in zip(names, modules, strict=True):
        archive.file(f"modules/{name}", _decompressed(module), 0o644)
    archive.file("modules/order", "\n".join(names).encode(), 0o644)
    archive.file("etc/acpi/PWRF/00000080", _POWER_BUTTON.encode(), 0o755)
    archive.file("init", _INIT.encode(), 0o755)
    return archive.packed()


def _find_kernel(cache: Path, scratch: Path, progress: Progress) -> tuple[Path, str]:
    """A tree with boot/vmlinuz-V and lib/modules/V, and V."""
    for kernel in sorted(Path("/boot").glob("vmlinuz-*"), reverse=True):
        version = kernel.name.removeprefix("vmlinuz-")
        if os.access(kernel, os.R_OK) and (Path("/lib/modules") / version).is_dir():
            return Path("/"), version
    packages = cache / "kernel"
    if not packages.is_dir():
        _download_kernel(packages, scratch, progress)
    root = scratch / "root"
    for package in packages.glob("*.deb"):
        _run(["dpkg-deb", "-x", str(package), str(root)])
    if not (root / "lib").exists():  # merged /usr: newer packages keep modules in usr/lib
        (root / "lib").symlink_to("usr/lib")
    for kernel in (root / "boot").glob("vmlinuz-*"):
        return root, kernel.name.removeprefix("vmlinuz-")
    raise GuestError(f"no boot/vmlinuz-* in the packages in {packages}; remove that folder to fetch them again")


def _download_kernel(packages: Path, scratch: Path, progress: Progress) -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise GuestError(
            "no readable kernel with modules in /boot and /lib/modules, and no apt to fetch one: "
            "install a kernel package, or boot your own guests"
        )
    image = _newest_image_package()
    if image is None and os.geteuid() == 0:
        progress("guest: apt knows no kernel package yet: apt-get update")
        _run(["apt-get", "update"])
        image = _newest_image_package()
    if image is None:
        raise GuestError(f"apt knows none of {', '.join(_META_PACKAGES)}: run `apt-get update` as root")
    aside = scratch / "kernel"
    aside.mkdir()
    names = [image]
    modules = image.replace("linux-image-", "linux-modules-", 1)
    if _run(["apt-cache", "search", "--names-only", f"^{re.escape(modules)}$"]).strip():
        names.append(modules)
    progress(f"guest: downloading {' and '.join(names)}")
    _run(["apt-get", "download", *names], cwd=aside)
    aside.rename(packages)


def _newest_image_package() -> str | None:
    for meta in _META_PACKAGES:
        depends = subprocess.run(["apt-cache", "depends", meta], capture_output=True, text=True, check=False).stdout
        if found := re.search(r"Depends: (linux-image-\d\S*)", depends):
            return found[1]
    return None


def _modules_in_order(folder: Path) -> list[Path]:
    """The modules the guest loads, each after those it depends on."""
    files = {_module_name(path): path for path in folder.rglob("*.ko*")}
    order: list[Path] = []

    def add(name: str) -> None:
        path = files.get(name)
        if path is None or path in order:
            return
        for needed in _depends(_decompressed(path)):
            add(needed)
        order.append(path)

    for name in _MODULES:
        add(name)
    return order


def _module_name(path: Path) -> str:
    return path.name.partition(".ko")[0].replace("-", "_")


def _depends(module: bytes) -> Iterator[str]:
    # A module's .modinfo section is a list of NUL-ended "key=value" texts; Debian's packages hold no modules.dep.
    if found := re.search(rb"\x00depends=([^\x00]*)\x00", module):
        yield from (name.replace("-", "_") for name in found[1].decode().split(",") if name)


def _decompressed(module: Path) -> bytes:
    match module.suffix:
        case ".xz":
            return lzma.decompress(module.read_bytes())
        case ".gz":
            return gzip.decompress(module.read_bytes())
        case ".zst":
            return subprocess.run(["zstd", "-dc", str(module)], capture_output=True, check=True).stdout
        case _:
            return module.read_bytes()


def _static_busybox() -> Path:
    found = shutil.which("busybox")
    if found is None:
        raise GuestError("busybox is not installed (Debian and Ubuntu: apt-get install busybox-static)")
    if _needs_loader(Path(found).read_bytes()):
        raise GuestError(f"{found} needs shared libraries; the guest has none (install busybox-static)")
    return Path(found)


def _needs_loader(elf: bytes) -> bool:
    """Does this 64-bit ELF program name an interpreter (a PT_INTERP header)? See elf(5)."""
    (table,) = struct.unpack_from("<Q", elf, 32)
    size, count = struct.unpack_from("<HH", elf, 54)
    return any(struct.unpack_from("<I", elf, table + index * size)[0] == 3 for index in range(count))


def _run(command: list[str], cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise GuestError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
