"""The two rows that convert a domain to QEMU's command and back, as clients call them: formats, flags, who may."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.components import require_program
from tests.support.local import Local, local_node
from tests.support.metrics import running
from tests.support.native import words
from tests.support.service import Arrival, error_of
from virtbus_domain.xml import parse_domain
from virtbus_shared import constants as c
from virtbus_shared.api import domain as api
from virtbus_shared.envelope import Request, decode_reply
from virtbus_shared.errors import LibvirtError
from virtbus_shared.procedure import Procedure

ROWS = [api.XML_TO_NATIVE, api.XML_FROM_NATIVE]
XML = ("<domain type='qemu'><name>it&apos;s</name><memory unit='MiB'>64</memory><os><type>hvm</type></os>"
       "<devices><serial type='pty'/></devices></domain>")


async def _ask(folder: Path, row: Procedure[Any, Any], *, read_only: bool = False, **args: Any) -> bytes:
    """The reply of a domain service with ``qemu:///system``."""
    async with running("domain", folder) as runtime:
        request = Request(uuid.uuid4().hex, row.name, time.time() + 60, args, "qemu", "/system", read_only,
                          sent=time.time())
        arrival = Arrival(request.encode())
        runtime.dispatcher.take(arrival)
        return await arrival.settled()


def _native(folder: Path, document: str) -> str:
    reply = decode_reply(asyncio.run(_ask(folder, api.XML_TO_NATIVE, format="qemu-argv", config=document)))
    return api.XML_TO_NATIVE.result.model_validate(reply).value


def _refused(folder: Path, row: Procedure[Any, Any], **args: Any) -> LibvirtError:
    return error_of(asyncio.run(_ask(folder, row, **args)))


def test_there_and_back(tmp_path: Path) -> None:
    """A document becomes one line that a shell would run, and that line the same machine's document."""
    require_program("qemu-system-x86_64")
    line = _native(tmp_path, XML)
    assert line.endswith("\n")
    assert line.count("\n") == 1
    assert """-name 'guest=it'"'"'s,debug-threads=on' -S -machine pc-""" in line
    reply = decode_reply(asyncio.run(_ask(tmp_path, api.XML_FROM_NATIVE, format="qemu-argv", config=line)))
    document = api.XML_FROM_NATIVE.result.model_validate(reply).xml
    assert parse_domain(document).name == "it's"
    assert words(_native(tmp_path, document)) == words(line)
    assert list((tmp_path / "run").rglob("*.*")) == []


def test_a_document_that_cannot_be_defined_has_no_command(tmp_path: Path) -> None:
    """The conversion refuses as define does."""
    require_program("qemu-system-x86_64")
    error = _refused(tmp_path, api.XML_TO_NATIVE, format="qemu-argv", config=XML.replace(" type='qemu'", " type='xen'"))
    assert (error.code, error.domain) == (c.VIR_ERR_CONFIG_UNSUPPORTED, c.VIR_FROM_QEMU)
    assert "does not support virt type 'xen'" in error.message
    error = _refused(tmp_path, api.XML_TO_NATIVE, format="qemu-argv", config="no document")
    assert error.code == c.VIR_ERR_XML_DETAIL


def test_a_command_of_others_is_refused_by_what_it_says(tmp_path: Path) -> None:
    """The option that has no place in a document is named."""
    error = _refused(tmp_path, api.XML_FROM_NATIVE, format="qemu-argv", config="qemu-system-x86_64 -hda disk.img")
    assert (error.code, error.domain) == (c.VIR_ERR_CONFIG_UNSUPPORTED, c.VIR_FROM_QEMU)
    assert error.message == "unsupported configuration: cannot be expressed as a domain: option -hda disk.img"
    error = _refused(tmp_path, api.XML_FROM_NATIVE, format="qemu-argv", config="'")
    assert error.code == c.VIR_ERR_INVALID_ARG


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_format_that_is_not_ours(tmp_path: Path, row: Procedure[Any, Any]) -> None:
    """In the words of libvirt, before the text is looked at."""
    error = _refused(tmp_path, row, format="xen-xl", config="")
    assert error.code == c.VIR_ERR_INVALID_ARG
    assert error.message == "invalid argument: unsupported config type xen-xl"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_flags_are_refused(tmp_path: Path, row: Procedure[Any, Any]) -> None:
    """There are none, and they are refused first."""
    error = _refused(tmp_path, row, format="xen-xl", config="", flags=1)
    assert error.code == c.VIR_ERR_INVALID_ARG
    assert error.message == f"unsupported flags (0x1) in function qemu{row.serves[0].removeprefix('vir')}"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_read_only_connection_converts_nothing(tmp_path: Path, row: Procedure[Any, Any]) -> None:
    """A conversion looks at the node on the caller's behalf, so libvirt wants one that may change things."""
    error = _refused(tmp_path, row, format="qemu-argv", config=XML, read_only=True)
    assert (error.code, error.domain) == (c.VIR_ERR_OPERATION_DENIED, c.VIR_FROM_NONE)
    assert error.message == f"operation forbidden: read only access prevents {row.serves[0]}"


@pytest.fixture
def test_node() -> Iterator[Local]:
    """A fresh node with the test driver."""
    with local_node() as node:
        yield node


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_test_driver_has_no_native_form(test_node: Local, row: Procedure[Any, Any]) -> None:
    """As in libvirt: whatever the format and the flags, but not without the right to ask."""
    for flags in (0, 1):
        error = test_node.error(row, format="qemu-argv", config=XML, flags=flags)
        assert error.code == c.VIR_ERR_NO_SUPPORT
        assert error.message == f"this function is not supported by the connection driver: {row.serves[0]}"
    error = test_node.error(row, read_only=True, format="qemu-argv", config=XML)
    assert error.code == c.VIR_ERR_OPERATION_DENIED
