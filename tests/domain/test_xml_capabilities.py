"""Capabilities and domain capabilities: read in any age's form, written in libvirt's."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from lxml import etree

from tests.support.corpus import every_document
from tests.support.schemas import schema_errors
from virtbus_domain.xml.capabilities import (
    Guest,
    GuestArch,
    GuestDomain,
    format_capabilities,
    format_guest,
    parse_capabilities,
)
from virtbus_domain.xml.domain_capabilities import format_domain_capabilities, parse_domain_capabilities
from virtbus_domain.xml.validate import Kind

DATA = Path(__file__).parents[1] / "data" / "xml"

# What later versions than the schemas of 9.0.0 write, in full.
NEWER_CAPABILITIES = """<capabilities>

  <host>
    <cpu>
      <arch>aarch64</arch>
      <topology sockets='1' dies='1' clusters='2' cores='4' threads='1'/>
    </cpu>
    <netprefix>vif</netprefix>
    <topology>
      <cells num='1'>
        <cell id='0'>
          <cpus num='1'>
            <cpu id='0' socket_id='0' die_id='0' cluster_id='1' core_id='0' siblings='0'/>
          </cpus>
        </cell>
      </cells>
    </topology>
  </host>

  <guest>
    <os_type>xenpvh</os_type>
    <arch name='x86_64'>
      <wordsize>64</wordsize>
      <domain type='xen'>
        <loader>/usr/lib/xen/boot/hvmloader</loader>
      </domain>
    </arch>
    <features>
      <externalSnapshot/>
    </features>
  </guest>

</capabilities>
"""
NEWER_DOMAIN_CAPABILITIES = """<domainCapabilities>
  <cpu>
    <mode name='host-model' supported='yes'>
      <model fallback='forbid'>GraniteRapids</model>
      <vendor>Intel</vendor>
      <maxphysaddr mode='passthrough' bits='46' limit='64'/>
    </mode>
    <mode name='custom' supported='yes'>
      <model usable='no' vendor='Intel' canonical='Denverton-v1'>Denverton</model>
      <blockers model='Denverton'>
        <feature name='mpx'/>
        <feature name='rdctl-no'/>
      </blockers>
    </mode>
  </cpu>
  <devices>
    <crypto supported='yes'>
      <enum name='model'>
        <value>virtio</value>
      </enum>
    </crypto>
    <interface supported='yes'>
      <enum name='backendType'>
        <value>passt</value>
      </enum>
    </interface>
    <panic supported='no'/>
    <console supported='yes'>
      <enum name='type'>
        <value>pty</value>
      </enum>
    </console>
  </devices>
  <features>
    <async-teardown supported='yes'/>
    <ps2 supported='yes'/>
    <tdx supported='yes'/>
    <launchSecurity supported='yes'>
      <enum name='sectype'>
        <value>tdx</value>
      </enum>
    </launchSecurity>
  </features>
</domainCapabilities>
"""


def again_capabilities(text: str) -> str:
    """A capabilities document, read and written."""
    return format_capabilities(parse_capabilities(text))


def again_domain_capabilities(text: str) -> str:
    """A domain capabilities document, read and written."""
    return format_domain_capabilities(parse_domain_capabilities(text))


def contents(text: str) -> list[tuple[str, str]]:
    """Every value of a document with its path, order and layout left out."""
    root = etree.fromstring(text.encode(), etree.XMLParser(remove_comments=True))
    found: list[tuple[str, str]] = []
    for node in root.iter():
        path = re.sub(r"\[\d+\]", "", root.getroottree().getpath(node))
        found.append((path, (node.text or "").strip()))
        found += [(f"{path}/@{name}", value) for name, value in cast(list[tuple[str, str]], node.items())]
    return sorted(found)


@pytest.mark.parametrize(("kind", "again"), [("capabilities", again_capabilities),
                                             ("domaincaps", again_domain_capabilities)])
def test_a_rich_document_comes_back_as_it_was(kind: str, again: Callable[[str], str]) -> None:
    """Everything that libvirt 9.0.0 can write is read and written, in its order and layout, to the character."""
    text = (DATA / kind / "rich.xml").read_text()
    assert again(text) == text


@pytest.mark.parametrize(("text", "again"), [(NEWER_CAPABILITIES, again_capabilities),
                                             (NEWER_DOMAIN_CAPABILITIES, again_domain_capabilities)])
def test_what_later_versions_added_comes_back_too(text: str, again: Callable[[str], str]) -> None:
    """Elements that the schemas of 9.0.0 do not know, as real documents have them."""
    assert again(text) == text


@pytest.mark.parametrize(("folder", "kind", "again"), [
    ("capabilities", "capabilities", again_capabilities),
    ("domaincaps", "domainCapabilities", again_domain_capabilities),
])
def test_our_document_is_valid(folder: str, kind: Kind, again: Callable[[str], str]) -> None:
    """libvirt's schema takes what we write of a valid document."""
    text = (DATA / folder / "rich.xml").read_text()
    assert schema_errors(text, kind) == []
    assert schema_errors(again(text), kind) == []


@every_document("capabilities")
def test_real_capabilities_lose_nothing(document: Path) -> None:
    """Other hosts' documents: the model survives being written, and every value in them is in our output."""
    text = document.read_text()
    model = parse_capabilities(text)
    written = format_capabilities(model)
    assert parse_capabilities(written) == model
    assert contents(written) == contents(text)


@every_document("domaincaps")
def test_real_domain_capabilities_lose_nothing(document: Path) -> None:
    """Other hosts' documents: the model survives being written, and every value in them is in our output."""
    text = document.read_text()
    model = parse_domain_capabilities(text)
    written = format_domain_capabilities(model)
    assert parse_domain_capabilities(written) == model
    assert contents(written) == contents(text)


def test_a_guest_alone_is_a_part_of_the_document() -> None:
    """The services that each make a part of the document can put the parts together as text."""
    guests = [Guest(os_type=name, arch=GuestArch(name="x86_64", domains=[GuestDomain(type="test")]))
              for name in ("hvm", "xen")]
    parts = "".join(format_guest(guest) for guest in guests)
    assert parts.startswith("  <guest>\n    <os_type>hvm</os_type>\n")
    whole = parse_capabilities(f"<capabilities>\n\n{parts}</capabilities>\n")
    assert whole.guests == guests
    assert format_capabilities(whole) == f"<capabilities>\n\n{parts}</capabilities>\n"
