"""libvirt's own answers: what its ``test:///default`` makes of a document, asked of Debian's python3-libvirt.

The library lives in the system's interpreter, not in ours, and a hostile document can take the process down with it; so
one child process answers a batch of documents. Answers are the dumped text, or the error's code, domain and message.
"""

from __future__ import annotations

import functools
import json
import subprocess
from collections.abc import Sequence
from typing import Literal

from tests.support.components import missing

Kind = Literal["domain", "network", "pool", "volume"]
Answer = str | tuple[int, int, str]

_PYTHON = "/usr/bin/python3"

_CHILD = """
import json, sys, libvirt
libvirt.registerErrorHandler(lambda *_: None, None)
kind, flags, documents = json.load(sys.stdin)

def domain(connection, text):
    made = connection.defineXML(text)
    if not flags & libvirt.VIR_DOMAIN_XML_INACTIVE:
        made.create()
    return made.XMLDesc(flags)

def network(connection, text):
    return connection.networkDefineXML(text).XMLDesc(flags)

def pool(connection, text):
    return connection.storagePoolDefineXML(text).XMLDesc(flags)

def volume(connection, text):
    return connection.storagePoolLookupByName("default-pool").createXML(text).XMLDesc(flags)

answers = []
for text in documents:
    connection = libvirt.open("test:///default")
    try:
        found = globals()[kind](connection, text)
        try:
            # The default connection is shared while any other is open: leave nothing for the next document.
            for made in connection.listAllDomains():
                if made.name() != "test":
                    made.isActive() and made.destroy()
                    made.isPersistent() and made.undefine()
            for made in connection.listAllNetworks():
                made.name() == "default" or made.undefine()
            for made in connection.listAllStoragePools():
                made.name() == "default-pool" or made.undefine()
            for made in connection.storagePoolLookupByName("default-pool").listAllVolumes():
                made.delete()
        except libvirt.libvirtError:
            pass
    except libvirt.libvirtError as error:
        found = [error.get_error_code(), error.get_error_domain(), error.get_error_message()]
    answers.append(found)
    connection.close()
json.dump(answers, sys.stdout)
"""


@functools.cache
def _present() -> bool:
    try:
        probe = subprocess.run([_PYTHON, "-c", "import libvirt"], capture_output=True, timeout=30, check=False)
    except OSError:
        return False
    return probe.returncode == 0


@functools.cache
def _ask(kind: Kind, documents: tuple[str, ...], flags: int) -> list[Answer]:
    if not _present():
        missing("python3-libvirt", "libvirt's own answers are what this test compares with")
    done = subprocess.run([_PYTHON, "-c", _CHILD], input=json.dumps([kind, flags, documents]), text=True,
                          capture_output=True, timeout=100, check=True)
    return [answer if isinstance(answer, str) else (answer[0], answer[1], answer[2])
            for answer in json.loads(done.stdout)]


def answers(kind: Kind, documents: Sequence[str], flags: int = 0) -> list[Answer]:
    """libvirt's dump or refusal of each document; skips the test, or fails it in CI, when libvirt is absent."""
    return _ask(kind, tuple(documents), flags)


def dump_domain(xml: str, flags: int = 0) -> Answer:
    """What ``defineXML`` then ``XMLDesc`` give; of the started domain unless flags have VIR_DOMAIN_XML_INACTIVE."""
    return answers("domain", [xml], flags)[0]
