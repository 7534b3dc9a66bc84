"""The same scripts through a real broker: ``test+amqp://NODE/default`` answers as ``test:///default`` does.

Each script gets four fresh daemons on a fresh state folder, because a node behind a broker keeps its state where the
in-process one begins anew. What only a transport changes stands in ``over_the_bus.toml``.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support.differences import compare, load
from tests.support.oracle_scripts import needs_oracle, oracle_answers, run_script, script_names
from tests.support.processes import running_node

FOLDER = Path(__file__).parent
# Which URIs can be opened, and how the default one is found, is not asked of a node.
LOCAL = {"opening"}


@needs_oracle
@pytest.mark.parametrize("script", [name for name in script_names() if name not in LOCAL])
def test_same_answers_over_the_bus(script: str, broker_url: str, tmp_path: Path) -> None:
    """Every step of the script answers as libvirt does, or as one of the two tables says."""
    node = f"bus-{os.getpid()}"
    with running_node(node=node, broker=broker_url, folder=tmp_path):
        ours = run_script(script, "virtbus", f"test+amqp://{node}/default?broker={quote(broker_url, safe=':/@')}")
    compare(script, ours, oracle_answers(script), load(FOLDER / "differences.toml", FOLDER / "over_the_bus.toml"))
