"""Writers: from a model to libvirt's text, by the lines that the model's class declares.

A writer appends finished lines: two spaces of indentation, single quotes, the declared order. Writing text directly,
not through lxml, is what gives libvirt's quoting, at half the cost. One writer exists per class and serialisation, so
what belongs to a running object only is decided when the writer is made, not at each value.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, cast

from virtbus_shared.service.xml_lines import PLANS, Element, Line, Node, Output, Plan, Raw, Rest

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
Hider = Callable[[Any, Any], bool]

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


def _hider(line: Line, output: Output) -> Hider | None:
    return line.live if callable(line.live) and not output & Output.LIVE else None


class _Source:
    """The source of one writer function, made from its lines as ``dataclasses`` makes ``__init__``.

    Most fields of a model are absent in any one document; straight-line code writes a typical domain
    in less than half the time of a loop over a table. Nothing of a document enters the source: only names that our
    own models declare.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.names: dict[str, object] = {"rest_attributes": _rest_attributes, "rest_elements": _rest_elements}

    def named(self, value: object) -> str:
        """A name by which the source can use a value."""
        name = f"_{len(self.names)}"
        self.names[name] = value
        return name

    def attributes(self, node: Node, output: Output) -> None:
        """Lines that add the attributes of an element to ``head``."""
        for xml_name, name, line in node.attrs:
            if _shown(line, output):
                convert = self.named(line.kind.write or escape_attribute)
                self.lines += [f"v = model.{name}", f"if v is not None{self._unless_hidden(line, output)}:",
                               f"    head += f\" {xml_name}='{{{convert}(v)}}'\""]
        self.lines += ["rest = model.rest", f"if rest: head += rest_attributes(rest, {node.key!r})"]

    def item(self, item: tuple[str, str, Line], output: Output) -> None:
        """Lines that write a child element, or several."""
        tag, name, line = item
        if _shown(line, output):
            put = self.named(_PUT[line.shape](tag, line, output))
            present = "v" if line.shape in ("flag", "subs", "each", "raw") else "v is not None"
            self.lines += [f"v = model.{name}", f"if {present}{self._unless_hidden(line, output)}:",
                           f"    {put}(v, inner, out)"]

    def child(self, node: Node, plan: Plan, output: Output) -> None:
        """Lines that write an element without a model of its own: here if it has attributes only."""
        if node.items or node.text:
            self.lines.append(f"{self.named(_node_writer(node, plan, output))}(model, {node.tag!r}, inner, out)")
            return
        self.lines.append("head = ''")
        self.attributes(node, output)
        self.lines += [f"start = len(out); out.append(f'{{inner}}<{node.tag}{{head}}/>')",
                       f"if rest and rest_elements(rest, {node.key!r}, inner + '  ', out):",
                       f"    out[start] = f'{{inner}}<{node.tag}{{head}}>'; out.append(f'{{inner}}</{node.tag}>')",
                       "elif not head: out.pop()"]

    def _unless_hidden(self, line: Line, output: Output) -> str:
        hidden = _hider(line, output)
        return f" and not {self.named(hidden)}(v, model)" if hidden else ""

    def function(self) -> Write:
        """The finished function."""
        source = "def write(model, tag, pad, out):\n" + "\n".join("    " + line for line in self.lines)
        exec(source, self.names)  # noqa: S102  # see above
        return cast(Write, self.names["write"])


def _node_writer(node: Node, plan: Plan, output: Output) -> Write:
    """The writer of a model (``node`` is its root: always written) or of a plain element (only with content)."""
    is_root = node is plan.root
    source = _Source()
    source.lines.append("head = ''")
    source.attributes(node, output)
    if is_root and plan.namespaces:
        source.lines.append(f"head += {source.named(_namespaces)}(model, {source.named(plan)})")
    source.lines += ["first, own = len(out), head", "out.append('')", "inner = pad + '  '"]
    for item in node.items:
        if isinstance(item, Node):
            source.child(item, plan, output)
        else:
            source.item(item, output)
    source.lines += [f"if rest: rest_elements(rest, {node.key!r}, inner, out)",
                     "if len(out) > first + 1:" if not (is_root and plan.open_tag) else "if True:",
                     "    out[first] = f'{pad}<{tag}{own}>'; out.append(f'{pad}</{tag}>')"]
    if node.text:
        name, line = node.text
        source.lines += [f"elif model.{name} is not None:", "    out[first] = f'{pad}<{tag}{own}>{"
                         f"{source.named(line.kind.write or escape_text)}(model.{name})" "}</{tag}>'"]
    source.lines += ["else:" if is_root else "elif own:", "    out[first] = f'{pad}<{tag}{own}/>'"]
    if not is_root:
        source.lines.append("else: out.pop()")
    return source.function()


def _rest_attributes(rest: dict[str, Rest], key: str) -> str:
    found = rest.get(key)
    return "".join([f" {name}='{escape_attribute(value)}'" for name, value in found.attrs]) if found else ""


def _rest_elements(rest: dict[str, Rest], key: str, pad: str, out: list[str]) -> bool:
    found = rest.get(key)
    for element in found.elements if found else ():
        write_raw(element, pad, out)
    return bool(found and found.elements)


def _namespaces(model: Element, plan: Plan) -> str:
    """The declarations that a model's prefixed children need."""
    used = dict.fromkeys(line.path.partition(":")[0] for name, line in plan.lines.items()
                         if ":" in line.path and getattr(model, name))
    return "".join(f" xmlns:{prefix}='{plan.namespaces[prefix]}'" for prefix in used)


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
