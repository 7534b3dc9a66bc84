"""What a ``test`` driver begins with: its default content, or the file that the URI names, as libvirt describes nodes.

The test drivers of the services open the same ``test:///path`` and read the same document, each the elements that are
its own; so how that fails is told in one place, in the words of libvirt's ``testOpen``.
"""

from __future__ import annotations

from pathlib import Path

from lxml import etree

from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError, invalid_arg
from virtbus_shared.service.xml import parse_root

DEFAULT_PATH = "/default"


def accepts(path: str, *, inprocess: bool) -> bool:
    """Any file in-process, where it is the caller's own; behind a door only the default node.

    Raises ``VIR_ERR_INVALID_ARG`` for a URI that names neither.
    """
    if inprocess and path in ("", "/"):
        raise invalid_arg("testOpen: supply a path or use test:///default", c.VIR_FROM_TEST)
    return inprocess or path == DEFAULT_PATH


def documents(path: str, default: str, tag: str) -> list[str]:
    """The documents of one kind (``tag``) on the node of a path; ``default`` describes that of ``/default``.

    Raises ``VIR_ERR_XML_ERROR`` for a file that cannot be read, and what ``parse_root`` raises.
    """
    text = default
    if path != DEFAULT_PATH:
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, ValueError):
            raise LibvirtError(c.VIR_ERR_XML_ERROR, f"failed to parse xml document '{path}'",
                               domain=c.VIR_FROM_TEST) from None
    # Children only: a <network> may hold a <domain> of its own, which is a DNS name.
    return [etree.tostring(found, encoding="unicode", with_tail=False)
            for found in parse_root(text.strip(), "node_definition", c.VIR_FROM_TEST).findall(tag)]
