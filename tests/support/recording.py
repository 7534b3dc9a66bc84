"""Writes down what each step of a conformance script answered, in a form that two libraries can be compared by.

Scripts run under the distribution's Python with libvirt and under ours with virtbus, so this file uses the standard
library only. A step never ends a script: an error is an answer like any other, and a call on an object that an earlier
step failed to give is written down as such.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

Json = Any  # what json.dumps takes: a recursive type would say less to a reader than this line


class Recorder:
    """Steps by label, in the order made; a label that comes again gets a number."""

    def __init__(self, library: ModuleType) -> None:
        self.steps: dict[str, Json] = {}
        self._library = library
        self._section = ""

    def section(self, name: str) -> None:
        """Begin a part of the script; its name stands before each label that follows."""
        self._section = name

    def call(self, target: Any, method: str, *args: Any, label: str = "", keep: Any = None) -> Any:
        """Call ``target.method(*args)`` and write down the answer; ``keep`` picks what of it is comparable.

        The answer itself is returned, or None after a failure.
        """
        label = label or f"{method}({', '.join(map(_short, args))})"
        try:
            result = getattr(target, method)(*args)
        except self._library.libvirtError as error:
            self.note(label, {"error": [error.get_error_code(), error.get_error_domain(), str(error)]})
            return None
        except Exception as error:
            self.note(label, {"raises": type(error).__name__})
            return None
        self.note(label, result if keep is None else keep(result))
        return result

    def note(self, label: str, value: Any) -> None:
        """Write a value down."""
        base = f"{self._section}: {label}" if self._section else label
        name, number = base, 1
        while name in self.steps:
            number += 1
            name = f"{base} #{number}"
        self.steps[name] = _comparable(value)


def _short(argument: Any) -> str:
    text = repr(argument)
    return text if len(text) <= 60 else text[:57] + "..."


def _comparable(value: Any) -> Json:
    """JSON that keeps lists and tuples apart, and names objects; the order of names is no promise of libvirt's."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (bytes, bytearray)):
        return {"bytes": bytes(value).hex()}
    if isinstance(value, dict):
        return {str(key): _comparable(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return {"tuple": [_comparable(item) for item in value]}
    if isinstance(value, list):
        return _sorted_names([_comparable(item) for item in value])
    name = getattr(value, "name", None)
    return f"<{type(value).__name__}{' ' + name() if name else ''}>"


def _sorted_names(items: list[Json]) -> list[Json]:
    return sorted(items) if all(isinstance(item, str) for item in items) else items
