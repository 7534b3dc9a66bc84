"""Documents that libvirt holds to its schema always: checkpoints and backups.

No flag of a client is asked there, and an installation without the schemas must answer as one with them. So what these
two schemas say stands here as rules: an XPath that finds what must not be, and what is wrong about it.
"""

from __future__ import annotations

from collections.abc import Sequence

from lxml import etree

from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

_REGULAR = {"re": "http://exslt.org/regular-expressions"}

NUMBER = r"^[0-9]+\Z"
CHECKPOINT_NAME = r"^[a-zA-Z0-9_-][a-zA-Z0-9_.-]*\Z"
TARGET = r"^(ioemu:)?(fd|hd|sd|vd|xvd|ubd)[a-zA-Z0-9_]+\Z"
ABSOLUTE = r"^(/|[a-zA-Z]:\\).+\Z"

TEXT = "text()[normalize-space()]"  # a condition: words stand where only elements belong


def only(*names: str) -> str:
    """A condition: an element or attribute has none of these names."""
    return "not(" + " or ".join(f"name()='{name}'" for name in names) + ")" if names else "true()"


def unless(value: str, pattern: str) -> str:
    """A condition: a value does not have the form of a pattern."""
    return f"not(re:test({value}, '{pattern}'))"


class Rules:
    """What a kind of document must not contain."""

    def __init__(self, *rules: tuple[str, str]) -> None:
        self._rules = [(etree.XPath(path, namespaces=_REGULAR), reason) for path, reason in rules]

    def check(self, root: etree._Element) -> None:
        """Refuse a document as its schema would. Raises ``LibvirtError`` with the path of the first offence."""
        for find, reason in self._rules:
            found = find(root)
            if isinstance(found, Sequence) and found and isinstance(found[0], etree._Element):
                path = root.getroottree().getpath(found[0])
                raise LibvirtError(c.VIR_ERR_XML_INVALID_SCHEMA, f"{reason} (at {path})", domain=c.VIR_FROM_XML)
