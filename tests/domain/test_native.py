"""A domain as QEMU's command line and back: what the command says comes back, and nothing else is made up."""

from __future__ import annotations

import asyncio
import functools
import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.components import require_program
from virtbus_domain.drivers.qemu.capabilities import QemuCapabilities
from virtbus_domain.drivers.qemu.capabilities_probe import probe
from virtbus_domain.drivers.qemu.native import from_arguments, native_arguments
from virtbus_domain.drivers.qemu.reading import complete
from virtbus_domain.xml import format_domain, parse_domain
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

DOCUMENTS = Path(__file__).parents[1] / "data" / "xml" / "domain"
NVRAM = Path("/srv/nvram")
RUN = Path("/run/virtbus-test")

# What a command line cannot tell again, by document.
ONE_WAY = {
    "disks-network-i440fx": "its secrets are files, of which the command knows only the path",
    "disks-chain-q35": "its secrets are files, of which the command knows only the path",
}


@functools.cache
def _capabilities() -> QemuCapabilities:
    return asyncio.run(probe(require_program("qemu-system-x86_64")))


def _forward(document: str) -> str:
    model = parse_domain(document)
    complete(model, _capabilities(), NVRAM)
    return native_arguments(model, _capabilities(), RUN, NVRAM, kvm_problem=None)


def _named(text: str) -> list[str]:
    """The words of a command without what differs each time: which user-mode end a made-up tap became."""
    return shlex.split(text)


@pytest.mark.parametrize("name", sorted(path.stem for path in DOCUMENTS.glob("*.xml")))
def test_a_command_comes_back(name: str) -> None:
    """The document read from a command builds the same command again, option by option."""
    try:
        command = _forward((DOCUMENTS / f"{name}.xml").read_text())
    except LibvirtError as error:
        pytest.skip(f"no command on this node: {error}")
    try:
        document = format_domain(from_arguments(command), live=False, secure=True)
    except LibvirtError as error:
        assert error.code == c.VIR_ERR_CONFIG_UNSUPPORTED
        assert "cannot be expressed as a domain" in str(error)
        pytest.skip(str(error))
    assert sorted(_named(_forward(document))) == sorted(_named(command))
