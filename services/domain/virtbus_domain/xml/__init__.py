"""libvirt's domain XML: text to model and back.

``parse_domain`` reads what a client sent and ``format_domain`` writes the document that clients get. The models are in
files named after what they describe; what define fills in and refuses is in ``virtbus_domain.normalise``.
"""

from __future__ import annotations

from virtbus_domain.xml.boot import Os
from virtbus_domain.xml.chardev import Chardev
from virtbus_domain.xml.disk import Disk
from virtbus_domain.xml.domain import Devices, Domain
from virtbus_domain.xml.interface import Interface
from virtbus_shared import constants as c
from virtbus_shared.service.xml import Document
from virtbus_shared.service.xml_lines import Output

__all__ = ["Chardev", "Devices", "Disk", "Domain", "Interface", "Os", "format_domain", "parse_domain"]

_DOMAIN = Document(Domain, "domain", "domain_definition", c.VIR_FROM_DOMAIN)


def parse_domain(text: str) -> Domain:
    """The domain that a document describes, without any defaults.

    Raises ``LibvirtError``: not well formed, another root element, a value that libvirt refuses; with its path.
    """
    return _DOMAIN.parse(text)


def format_domain(domain: Domain, *, live: bool, secure: bool = False, migratable: bool = False) -> str:
    """The document of a domain: ``live`` with id, aliases and host names; ``secure`` with passwords; ``migratable`` for
    another host.
    """
    output = Output.LIVE if live else Output.INACTIVE
    output |= Output.SECURE if secure else 0
    return _DOMAIN.format(domain, output | (Output.MIGRATABLE if migratable else 0))
