"""Elements that one line per value cannot describe: they are read and written by their lines, and finished afterwards.

The one reason so far that is common: an attribute or a text whose unit stands in an attribute beside it, in an element
that has more attributes than the two. What is held is in one unit, the ``unit`` line's default; ``rescale`` sees to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, NoReturn, TypeVar, cast

from lxml import etree

from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.xml import block
from virtbus_shared.service.xml_lines import Element, Output
from virtbus_shared.service.xml_read import read_model
from virtbus_shared.service.xml_values import Refusal, read_size, unit_bytes
from virtbus_shared.service.xml_write import write_model

M = TypeVar("M", bound=Element)


class Required(NamedTuple):
    """An attribute ("numa/cell/@memory") without which its element is refused: as usual, or with its own error."""

    path: str
    error: Refusal | None = None
    domain: int = c.VIR_FROM_DOMAIN

    def check(self, root: etree._Element) -> None:
        """Refuse the first element below ``root`` that lacks it."""
        path, _, name = self.path.rpartition("/@")
        for element in root.iterfind(path):
            if element.get(name) is None:
                tag = str(element.tag).rpartition("}")[2]
                usual = (c.VIR_ERR_XML_ERROR, f"Missing required attribute '{name}' in element '{tag}'")
                refuse(element, *(self.error or usual), self.domain if self.error else c.VIR_FROM_XML)


def finished(tag: str, model: type[M], finish: Callable[[M, etree._Element], None], *, level: int = 1,
             required: Sequence[Required] = (), inherited: str = "") -> M | None:
    """A child element with a model of its own, which ``finish`` completes after its lines have been read.

    One that says nothing is as good as absent. ``level`` counts the elements around it; ``inherited`` is a declaration
    that stands on one of those already.
    """
    pad = "  " * level

    def read(element: etree._Element) -> M | None:
        for attribute in required:
            attribute.check(element)
        found = cast(M, read_model(model, element))
        finish(found, element)
        return None if found == model() else found

    def write(value: M | None) -> str:
        out: list[str] = []
        if value is not None:
            write_model(value, tag, pad, out, Output.INACTIVE)
        return "\n".join(out).replace(inherited, "") if inherited else "\n".join(out)

    return block(tag, read, write)


def rescale(amount: int | None, unit: str, stored: str) -> int | None:
    """An amount in the ``stored`` unit, rounded up."""
    return amount if amount is None or unit in (stored, "") else read_size(str(amount), unit, stored)


def pretty(amount: int) -> tuple[int, str]:
    """A number of bytes in the largest unit that divides it: (3, "MiB")."""
    for unit in ("EiB", "PiB", "TiB", "GiB", "MiB", "KiB"):
        if amount and amount % unit_bytes(unit) == 0:
            return amount // unit_bytes(unit), unit
    return amount, "bytes"


def pretty_size(tag: str, unit: str, place: str, *, level: int) -> int | None:
    """A child element with a number of bytes: without a unit read as ``unit``, written in the largest that fits.

    ``place`` is how libvirt calls the element when it holds no number.
    """
    pad = "  " * level

    def read(element: etree._Element) -> int | None:
        content = element.text or ""
        try:
            return read_size(content, element.get("unit") or unit, "bytes") if content else None
        except ValueError:
            refuse(element, c.VIR_ERR_XML_ERROR, f"Invalid value '{content}' for element or attribute '{place}'",
                   c.VIR_FROM_XML)

    def write(amount: int | None) -> str:
        number, named = pretty(amount or 0)
        return f"{pad}<{tag} unit='{named}'>{number}</{tag}>"

    return block(tag, read, write)


def refuse(element: etree._Element, code: int, detail: str, domain: int) -> NoReturn:
    """Refuse an element, by its path, with an error of any domain."""
    raise LibvirtError(code, f"{detail} (at {element.getroottree().getpath(element)})", domain=domain) from None
