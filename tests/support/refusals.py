"""How a document is refused, for tests of readers."""

from __future__ import annotations

import re
from collections.abc import Callable

from virtbus_shared.errors import LibvirtError


def refusal_of(parse: Callable[[str], object], text: str) -> LibvirtError | None:
    """The error that a reader raises, None when it takes the document."""
    try:
        parse(text)
    except LibvirtError as error:
        return error
    return None


def error_of(parse: Callable[[str], object], text: str) -> tuple[int, int, str]:
    """Code, domain and message of the refusal that there must be, without the path that ours add to libvirt's words."""
    error = refusal_of(parse, text)
    assert error is not None, f"taken: {text}"
    return error.code, error.domain, re.sub(r" \(at /[^()]*\)$", "", error.message)
