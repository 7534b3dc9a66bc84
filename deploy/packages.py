"""Installs the system packages a target needs, and says which and why: `python3 -m deploy.packages demo|test`.

Only what is missing is installed, through apt, as root or with sudo; without apt the exact list is printed and the
exit status is 2. Installing Debian's rabbitmq-server or prometheus would also start it as a service of the machine;
nobody who asked for a demo or a test asked for that, so it is held back for the length of the installation.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

POLICY = Path("/usr/sbin/policy-rc.d")
# invoke-rc.d asks this program; 101 is its answer for "not allowed" (Debian Policy 9.3.3.1, invoke-rc.d(8)).
POLICY_TEXT = "#!/bin/sh\n# Made by virtbus for the length of one apt-get install; safe to remove.\nexit 101\n"
SERVICES = {"prometheus", "rabbitmq-server"}  # the package and its service have the same name


@dataclass(frozen=True)
class Package:
    """A Debian package, how to see that what it brings is there, and what for.

    What moved from one package to another between releases has both names, the newer first: ``new|old``.
    """

    name: str
    present: Callable[[], bool]
    purpose: str


def program(name: str) -> Callable[[], bool]:
    """Is this program on the PATH or where the system's own administration programs are?"""
    return lambda: bool(shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin"))


def broker() -> bool:
    """Is a RabbitMQ server here, or another one named for the tests?"""
    real = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
    return bool(os.environ.get("VIRTBUS_TEST_BROKER")) or real.exists() or program("rabbitmq-server")()


def system_libvirt() -> bool:
    """Can the system's own Python import libvirt? Its binding is built for that interpreter only."""
    command = ["/usr/bin/python3", "-c", "import libvirt"]
    return Path(command[0]).exists() and subprocess.run(command, capture_output=True, check=False).returncode == 0


def libvirt_driver(name: str) -> Callable[[], bool]:
    """Is this driver of libvirt's where a process that opens its URI loads it from?"""
    return lambda: any(Path("/usr/lib").glob(f"*/libvirt/connection-driver/libvirt_driver_{name}.so"))


def spice() -> bool:
    """Can QEMU load its SPICE server?"""
    return any(Path("/usr/lib").glob("*/qemu/ui-spice-core.so"))


def virtiofsd() -> bool:
    """Is the program here that serves directories to guests?"""
    return Path("/usr/lib/qemu/virtiofsd").exists() or Path("/usr/libexec/virtiofsd").exists()


def firmware() -> bool:
    """Are there UEFI images, and the descriptor files by which they are chosen?"""
    descriptors = Path("/usr/share/qemu/firmware").glob("*.json")
    return Path("/usr/share/OVMF/OVMF_CODE_4M.fd").exists() and any(descriptors)


DEMO = (
    Package("rabbitmq-server", broker, "the message broker: one of our own is started for each run"),
    Package("qemu-system-x86", program("qemu-system-x86_64"), "runs the guests"),
    Package("qemu-utils", program("qemu-img"), "makes volumes"),
    Package("busybox-static", program("busybox"), "all of the test guest's user space"),
    Package("iproute2", program("ip"), "looks at bridges and makes network namespaces"),
)
TEST = (
    *DEMO,
    Package("python3-libvirt", system_libvirt, "libvirt itself, which the same scripts are compared with"),
    Package("libvirt-daemon-driver-qemu", libvirt_driver("qemu"), "libvirt's QEMU driver, asked inside a test process"),
    Package("libvirt-daemon-driver-secret|libvirt-daemon", libvirt_driver("secret"),
            "its secret driver, for disks with a password"),
    Package("libvirt-clients", program("virsh"), "virsh, whose output our commands are compared with"),
    Package("ovmf", firmware, "UEFI for guests"),
    Package("qemu-system-modules-spice|qemu-system-common", spice, "SPICE for guests"),
    Package("virtiofsd|qemu-system-common", virtiofsd, "directories shared with guests"),
    Package("swtpm", program("swtpm"), "TPM for guests"),
    Package("swtpm-tools", program("swtpm_setup"), "makes a TPM's first state"),
    Package("prometheus", program("promtool"), "promtool, which checks what /metrics answers"),
)
GROUPS = {"demo": DEMO, "test": TEST}


def main() -> None:
    """Install what the named target lacks."""
    if len(sys.argv) != 2 or sys.argv[1] not in GROUPS:
        sys.exit(f"usage: python3 -m deploy.packages {'|'.join(GROUPS)}")
    missing = [package for package in GROUPS[sys.argv[1]] if not package.present()]
    if not missing:
        return
    for package in missing:
        say(f"{known(package.name)} is missing: {package.purpose}")
    install([package.name for package in missing], f"what `make {sys.argv[1]}` needs")
    absent = [known(package.name) for package in missing if not package.present()]
    if absent:
        give_up(f"installed, and yet what they bring is not found: {' '.join(absent)}")


def known(name: str) -> str:
    """The first of a package's names that apt knows here; the oldest where it knows none."""
    *newer, oldest = name.split("|")
    return next((each for each in newer if shutil.which("apt-cache") and subprocess.run(
        ["apt-cache", "show", "--quiet=2", each], capture_output=True, check=False).returncode == 0), oldest)


def install(names: list[str], purpose: str) -> None:
    """Install Debian packages without starting services; SystemExit(2) with the list when that is not possible."""
    by_hand = f"Install {purpose}: {' '.join(map(known, names))}"
    if shutil.which("apt-get") is None:
        give_up(f"there is no apt here. {by_hand} (Debian's names)")
    if os.geteuid() != 0:
        sudo = shutil.which("sudo")
        by_hand = f"As root: apt-get install --no-install-recommends {' '.join(map(known, names))}"
        if sudo is None:
            give_up(f"not root, and no sudo. {by_hand}")
        if not sys.stdin.isatty() and subprocess.run([sudo, "-n", "true"], capture_output=True, check=False).returncode:
            give_up(f"not root, and sudo asks for a password. {by_hand}")
        say(f"asking sudo to install {' '.join(map(known, names))}")
        status = subprocess.run([sudo, sys.executable, __file__, "--as-root", *names], check=False).returncode
    else:
        status = install_as_root(names)
    if status != 0:
        give_up(f"apt-get ended with status {status}. {by_hand}")


def install_as_root(names: list[str]) -> int:
    """Run apt-get; its exit status."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with services_held_back():
        say("apt-get update")
        # A source that fails here is often one these packages do not come from: the installation decides.
        subprocess.run(["apt-get", "update", "-qq"], env=environment, check=False)
        names = [known(name) for name in names]  # not before: until now apt may have known no package at all
        say(f"apt-get install {' '.join(names)}")
        command = ["apt-get", "install", "-y", "-qq", "-o", "Dpkg::Use-Pty=0", "--no-install-recommends", *names]
        status = subprocess.run(command, env=environment, check=False, stdin=subprocess.DEVNULL).returncode
    if status == 0 and Path("/run/systemd/system").exists():
        for service in sorted(SERVICES.intersection(names)):
            say(f"{service} is not running, but would start with the machine; if unwanted: systemctl disable {service}")
    return status


@contextmanager
def services_held_back() -> Iterator[None]:
    """Forbid package scripts to start services, unless the machine has a rule of its own about that."""
    try:
        with POLICY.open("x") as policy:
            policy.write(POLICY_TEXT)
    except FileExistsError:
        yield
        return
    # Left behind, the rule would silently stop every service of later installations: no way out may forget it.
    before = signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    try:
        POLICY.chmod(0o755)
        yield
    finally:
        POLICY.unlink(missing_ok=True)
        signal.signal(signal.SIGTERM, before)


def give_up(text: str) -> NoReturn:
    """End with status 2: the machine lacks something that only its owner can give."""
    print(f"packages: {text}", file=sys.stderr, flush=True)
    sys.exit(2)


def say(text: str) -> None:
    """A line of progress."""
    print(f"packages: {text}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--as-root"]:
        sys.exit(install_as_root(sys.argv[2:]))
    main()
