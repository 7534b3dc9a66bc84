"""libvirt's QEMU driver in this process, answering line by line: ``/usr/bin/python3 embed_child.py FOLDER``.

Run by ``embed.py``, under the distribution's Python, which has the binding; so this file uses the standard library
only. A request is a line ``[operation, flags, document]``, an answer a line with a text or ``[code, domain, message]``.
``FOLDER`` is the driver's root: nothing is read from or written to the machine's own /etc/libvirt, /run or /var.

What the driver needs of its surroundings, and what is done about it:

* an event loop that runs: a thread;
* a configuration that lets QEMU, as root, read what this driver wrote: ``qemu.conf``;
* the user that Debian's package of the daemon makes, to start at all: a private copy of /etc/passwd and /etc/group,
  seen by this process alone, so that the package is not needed;
* a mounted hugetlbfs, for documents with huge pages;
* secrets: a secret driver in the same process, with a value for each secret that a document names. It gives them only
  to a known caller, which inside a daemon the connection is; here the process says that it is the system itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import sys
import threading
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import libvirt

USER = "libvirt-qemu"
QEMU_CONF = """user = "root"
group = "root"
security_driver = "none"
stdio_handler = "file"
hugetlbfs_mount = ["{root}/hugepages"]
"""
# How each kind of secret is found when it is not named by UUID: the type of usage, and the element that holds its name.
USAGES = {"ceph": ("ceph", "name"), "iscsi": ("iscsi", "target"), "passphrase": ("volume", "volume")}
VALUE = b"correct horse battery staple"

_NEW_MOUNTS, _BIND, _RECURSIVE, _PRIVATE = 0x00020000, 0x1000, 0x4000, 0x40000  # CLONE_NEWNS and MS_* of Linux


def change_mounts(root: Path) -> None:
    """Give this process, and no other, an /etc/passwd and /etc/group with the driver's user, and huge pages."""
    libc = ctypes.CDLL(None, use_errno=True)

    def must(status: int) -> None:
        if status:
            raise OSError(ctypes.get_errno(), "a mount namespace of its own")

    must(libc.unshare(_NEW_MOUNTS))
    must(libc.mount(b"none", b"/", None, _RECURSIVE | _PRIVATE, None))
    for name, line in (("passwd", f"{USER}:x:64055:64055::/:/bin/false\n"), ("group", f"{USER}:x:64055:\n")):
        real, copy = Path("/etc", name), root / name
        text = real.read_text(encoding="utf-8")
        if f"\n{USER}:" not in text:
            copy.write_text(text.rstrip("\n") + "\n" + line, encoding="utf-8")
            must(libc.mount(bytes(copy), bytes(real), None, _BIND, None))
    pages = root / "hugepages"
    pages.mkdir(exist_ok=True)
    must(libc.mount(b"none", bytes(pages), b"hugetlbfs", 0, b"pagesize=2M"))


def run_event_loop() -> None:
    """Run libvirt's own event loop for as long as the process lives."""
    libvirt.virEventRegisterDefaultImpl()

    def loop() -> None:
        while True:
            libvirt.virEventRunDefaultImpl()

    threading.Thread(target=loop, daemon=True).start()


def become_the_system() -> None:
    """Say on whose behalf this thread acts, which the secret driver asks; no public call of libvirt's does."""
    library = ctypes.CDLL("libvirt.so.0")
    library.virIdentityGetSystem.restype = ctypes.c_void_p
    library.virIdentitySetCurrent.argtypes = [ctypes.c_void_p]
    library.virIdentitySetCurrent(library.virIdentityGetSystem())


def secrets_named(document: str) -> Iterator[str]:
    """The definitions of the secrets that a document refers to."""
    try:
        found = list(ET.fromstring(document).iter("secret"))
    except ET.ParseError:
        return
    for secret in found:
        if uuid := secret.get("uuid"):
            yield f"<secret><uuid>{escape(uuid)}</uuid></secret>"
        elif (usage := secret.get("usage")) and secret.get("type") in USAGES:
            kind, element = USAGES[secret.get("type", "")]
            yield f"<secret><usage type='{kind}'><{element}>{escape(usage)}</{element}></usage></secret>"


class Driver:
    """The connections, and what can be asked of them."""

    def __init__(self, root: Path) -> None:
        self._qemu = libvirt.open(f"qemu:///embed?root={root}")
        self._secrets = libvirt.open(f"secret:///embed?root={root}")

    def answer(self, operation: str, flags: int, document: str) -> Any:
        """What the driver makes of a document, or its refusal."""
        for secret in secrets_named(document):
            # It may be known from an earlier document; and of a UUID that is none, the document's error will tell.
            with contextlib.suppress(libvirt.libvirtError):
                self._secrets.secretDefineXML(secret).setValue(VALUE)
        try:
            return {"define": self._define, "argv": self._argv}[operation](document, flags)
        except libvirt.libvirtError as error:
            return [error.get_error_code(), error.get_error_domain(), error.get_error_message()]

    def _define(self, document: str, flags: int) -> str:
        """The dump, with these flags, of the domain that the document defines."""
        domain = self._qemu.defineXML(document)
        try:
            return str(domain.XMLDesc(flags))
        finally:
            domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM)

    def _argv(self, document: str, flags: int) -> str:
        """The command that would start the document, as shell text."""
        return str(self._qemu.domainXMLToNative("qemu-argv", document, flags))


def main() -> None:
    """Say that all is ready, then answer until there are no more requests."""
    root = Path(sys.argv[1])
    (root / "etc").mkdir(exist_ok=True)
    (root / "etc" / "qemu.conf").write_text(QEMU_CONF.format(root=root), encoding="utf-8")
    change_mounts(root)
    libvirt.registerErrorHandler(lambda *_: None, None)
    run_event_loop()
    become_the_system()
    driver = Driver(root)
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        print(json.dumps(driver.answer(*json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
