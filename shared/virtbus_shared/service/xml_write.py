"""Writers: from a model to libvirt's text, by the lines that the model's class declares.

A writer appends finished lines: two spaces of indentation, single quotes, the declared order. Writing text directly,
not through lxml, is what gives libvirt's quoting, at half the cost. One writer exists per class and serialisation, so
what belongs to a running object only is decided when the writer is made, not at each value.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from virtbus_shared.service.xml_lines import PLANS, Element, Line, Node, Output, Plan, Raw

_SPECIAL = re.compile("[<>&'\"\t\n\r]|[^ -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TEXT = {"<": "&lt;", ">": "&gt;", "&": "&amp;", "'": "&apos;", '"': "&quot;", "\r": "&#13;", "\n": "\n", "\t": "\t"}
# libvirt writes line ends and tabs in attributes as they are, and so loses them when it reads its own file again.
_ATTRIBUTE = _TEXT | {"\n": "&#10;", "\t": "&#9;"}


def escape_text(value: str) -> str:
    """Text between tags; characters that XML cannot carry are left out, as libvirt does."""
    if value.isalnum() or not _SPECIAL.search(value):
        return value
    return _SPECIAL.sub(lambda found: _TEXT.get(found[0], ""), value)


def escape_attribute(value: str) -> str:
    """The inside of a single-quoted attribute value; see ``escape_text``."""
    if value.isalnum() or not _SPECIAL.search(value):
        return value
    return _SPECIAL.sub(lambda found: _ATTRIBUTE.get(found[0], ""), value)


def write_raw(element: Raw, pad: str, out: list[str]) -> None:
    """Append an unmodelled element in libvirt's style, one element per line."""
    head = f"{pad}<{element.tag}" + "".join(f" {name}='{escape_attribute(value)}'" for name, value in element.attrs)
    if element.children:
        out.append(f"{head}>")
        for child in element.children:
            write_raw(child, pad + "  ", out)
        out.append(f"{pad}</{element.tag}>")
    elif element.text:
        out.append(f"{head}>{escape_text(element.text)}</{element.tag}>")
    else:
        out.append(f"{head}/>")


Write = Callable[[Any, str, str, list[str]], None]
Put = Callable[[Any, str, list[str]], None]

_WRITERS: dict[tuple[type[Element], Output], Write] = {}


def write_model(model: Element, tag: str, pad: str, out: list[str], output: Output) -> None:
    """Append the lines of one element named ``tag``; ``pad`` is its indentation."""
    key = (type(model), output)
    writer = _WRITERS.get(key)
    if writer is None:
        plan = PLANS[type(model)]
        writer = _WRITERS[key] = _node_writer(plan.root, plan, output)
    writer(model, tag, pad, out)


def _shown(line: Line, output: Output) -> bool:
    if line.input_only or (line.secret and not output & Output.SECURE):
        return False
    return line.live is not True or bool(output & Output.LIVE)


def _hider(line: Line, output: Output) -> Callable[[Any, Any], bool] | None:
    return line.live if callable(line.live) and not output & Output.LIVE else None


def _node_writer(node: Node, plan: Plan, output: Output) -> Write:
    """The writer of a model (``node`` is its root: always written) or of a plain element (only with content)."""
    is_root = node is plan.root
    attrs = [(name, f" {xml_name}='", line.kind.write or escape_attribute, _hider(line, output))
             for xml_name, name, line in node.attrs if _shown(line, output)]
    puts: list[tuple[str, Put, Callable[[Any, Any], bool] | None]] = []
    for item in node.items:
        if isinstance(item, Node):
            puts.append(("", _put_node(item.tag, _node_writer(item, plan, output)), None))
        elif _shown(item[2], output):
            puts.append((item[1], _PUT[item[2].shape](item[0], item[2], output), _hider(item[2], output)))
    key, text = node.key, node.text
    prefixed = [(line.path.partition(":")[0], name) for name, line in plan.lines.items()
                if ":" in line.path] if is_root else []

    def namespaces(model: Element) -> str:
        used = dict.fromkeys(prefix for prefix, name in prefixed if getattr(model, name))
        return "".join(f" xmlns:{prefix}='{plan.namespaces[prefix]}'" for prefix in used)

    def write(model: Element, tag: str, pad: str, out: list[str]) -> None:
        head = bare = f"{pad}<{tag}"
        for name, opening, convert, hidden in attrs:
            value = getattr(model, name)
            if value is not None and not (hidden and hidden(value, model)):
                head += f"{opening}{convert(value)}'"
        if prefixed:
            head += namespaces(model)
        rest = model.rest.get(key) if model.rest else None
        if rest:
            head += "".join([f" {name}='{escape_attribute(value)}'" for name, value in rest.attrs])
        start = len(out)
        out.append("")
        inner = pad + "  "
        for name, put, hidden in puts:
            value = getattr(model, name) if name else model
            if value is not None and value is not False and not (hidden and hidden(value, model)):
                put(value, inner, out)
        if rest:
            for element in rest.elements:
                write_raw(element, inner, out)
        if len(out) > start + 1 or (is_root and plan.open_tag):
            out[start] = head + ">"
            out.append(f"{pad}</{tag}>")
        elif text and (content := getattr(model, text[0])) is not None:
            out[start] = f"{head}>{(text[1].kind.write or escape_text)(content)}</{tag}>"
        elif is_root or head is not bare:
            out[start] = head + "/>"
        else:
            out.pop()

    return write


def _put_node(tag: str, write: Write) -> Put:
    def put(model: Element, pad: str, out: list[str]) -> None:
        write(model, tag, pad, out)

    return put


def _put_text(tag: str, line: Line, output: Output) -> Put:
    convert = line.kind.write or escape_text

    def put(value: Any, pad: str, out: list[str]) -> None:
        out.append(f"{pad}<{tag}>{convert(value)}</{tag}>")

    return put


def _put_size(tag: str, line: Line, output: Output) -> Put:
    opening = f"<{tag} unit='{line.unit}'>"

    def put(value: int, pad: str, out: list[str]) -> None:
        out.append(f"{pad}{opening}{value}</{tag}>")

    return put


def _put_flag(tag: str, line: Line, output: Output) -> Put:
    def put(value: bool, pad: str, out: list[str]) -> None:
        out.append(f"{pad}<{tag}/>")

    return put


def _put_sub(tag: str, line: Line, output: Output) -> Put:
    def put(value: Element, pad: str, out: list[str]) -> None:
        write_model(value, tag, pad, out, output)

    return put


def _put_subs(tag: str, line: Line, output: Output) -> Put:
    def put(values: list[Element], pad: str, out: list[str]) -> None:
        for value in values:
            write_model(value, tag, pad, out, output)

    return put


def _put_each(tag: str, line: Line, output: Output) -> Put:
    attribute = line.path.rpartition("/@")[2] if "@" in line.path else None
    convert = line.kind.write or (escape_attribute if attribute else escape_text)
    opening, closing = (f"<{tag} {attribute}='", "'/>") if attribute else (f"<{tag}>", f"</{tag}>")

    def put(values: list[Any], pad: str, out: list[str]) -> None:
        for value in values:
            out.append(f"{pad}{opening}{convert(value)}{closing}")

    return put


def _put_raw(tag: str, line: Line, output: Output) -> Put:
    def put(values: tuple[Raw, ...], pad: str, out: list[str]) -> None:
        for value in values:
            write_raw(value, pad, out)

    return put


def _put_block(tag: str, line: Line, output: Output) -> Put:
    def put(value: Any, pad: str, out: list[str]) -> None:
        if line.block is not None:
            out.append(line.block.write(value))

    return put


_PUT: dict[str, Callable[[str, Line, Output], Put]] = {
    "text": _put_text, "size": _put_size, "flag": _put_flag, "sub": _put_sub, "subs": _put_subs,
    "each": _put_each, "raw": _put_raw, "block": _put_block,
}
