"""libvirt's own answers about snapshots and checkpoints: what its ``test:///default`` makes of their documents.

One child process of the system's interpreter answers a batch, each request with a domain of its own; ``oracle.py`` is
the same for documents of domains, networks and storage.
"""

from __future__ import annotations

import functools
import json
import subprocess
from collections.abc import Sequence
from typing import Literal, NamedTuple

from tests.support.oracle import Answer, answers

DOMAIN_UUID = "11111111-f6a4-8304-79aa-97f2502e193f"
DOMAIN = f"""<domain type='test'>
  <name>t</name>
  <uuid>{DOMAIN_UUID}</uuid>
  <memory unit='KiB'>1024</memory>
  <os><type arch='i686'>hvm</type></os>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='/a.qcow2'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <graphics type='vnc' port='5900' passwd='secret'/>
  </devices>
</domain>"""


class Request(NamedTuple):
    """A snapshot or checkpoint of ``DOMAIN``, made with ``create`` flags and dumped with ``dump`` flags."""

    kind: Literal["snapshot", "checkpoint"]
    text: str
    create: int = 0
    dump: int = 0
    running: bool = True


_CHILD = """
import json, sys, libvirt
libvirt.registerErrorHandler(lambda *_: None, None)
document, requests = json.load(sys.stdin)
connection = libvirt.open("test:///default")
answers = []
for kind, text, create, dump, running in requests:
    domain = connection.defineXML(document)
    if running:
        domain.create()
    try:
        make = domain.snapshotCreateXML if kind == "snapshot" else domain.checkpointCreateXML
        answers.append(make(text, create).getXMLDesc(dump))
    except libvirt.libvirtError as error:
        answers.append([error.get_error_code(), error.get_error_domain(), error.get_error_message()])
    if running:
        domain.destroy()
    for made in domain.listAllSnapshots() + domain.listAllCheckpoints():
        made.delete()
    domain.undefine()
json.dump(answers, sys.stdout)
"""


def ask(requests: Sequence[Request]) -> list[Answer]:
    """libvirt's dump or refusal of each document; skips the test, or fails it in CI, when libvirt is absent."""
    return _ask(tuple(requests))


@functools.cache
def _ask(requests: tuple[Request, ...]) -> list[Answer]:
    answers("domain", [])  # is libvirt there?
    done = subprocess.run(["/usr/bin/python3", "-c", _CHILD], input=json.dumps([DOMAIN, requests]), text=True,
                          capture_output=True, timeout=100, check=True)
    return [answer if isinstance(answer, str) else (answer[0], answer[1], answer[2])
            for answer in json.loads(done.stdout)]
