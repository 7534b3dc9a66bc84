"""The page that tells other languages how to call a service must be true: its program is run as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tests.support.processes import running_node

PAGE = Path(__file__).resolve().parents[2] / "docs" / "wire.md"


def test_the_program_of_the_page_lists_domains(broker_url: str, tmp_path: Path) -> None:
    """A program that knows pika, msgpack and the page, and nothing of ours, gets an answer."""
    [program] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, Any] = {"BROKER": broker_url, "NODE": "node-a"}
    with running_node(node="node-a", broker=broker_url, folder=tmp_path, services=("domain",)):
        exec(compile(program, str(PAGE), "exec"), names)
    assert [domain["name"] for domain in names["reply"]["result"]["domains"]] == ["test"]
