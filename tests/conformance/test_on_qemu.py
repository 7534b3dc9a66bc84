"""Real machines under ``qemu+amqp://NODE/system`` behave as under libvirt 9.0.0's QEMU driver.

``qemu/lifecycle.json`` holds what libvirt's own daemon answered to the same script, with QEMU 7.2 and without KVM.
Where a libvirtd runs, ``run_script("lifecycle", "libvirt", "qemu:///system", folder=FOLDER)`` asks it anew. The daemon
itself is no part of the test, since it would have to own the machine's /run and /var.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support.components import require_program
from tests.support.differences import compare, load
from tests.support.oracle_scripts import run_script
from tests.support.processes import running_node

FOLDER = Path(__file__).parent / "qemu"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_same_life_on_qemu(broker_url: str, tmp_path: Path) -> None:
    """Each change of state from each state, documents, filters and the order of events are libvirt's."""
    require_program("qemu-system-x86_64")
    expected = json.loads((FOLDER / "lifecycle.json").read_text(encoding="utf-8"))
    node = f"qemu-{os.getpid()}"
    with running_node(node=node, broker=broker_url, folder=tmp_path, services=("domain",)):
        uri = f"qemu+amqp://{node}/system?broker={quote(broker_url, safe=':/@')}"
        ours = run_script("lifecycle", "virtbus", uri, folder=FOLDER)
    compare("lifecycle", ours, expected, load(FOLDER / "differences.toml"))
