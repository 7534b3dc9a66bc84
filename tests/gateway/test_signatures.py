"""What is there can be called in every way in which libvirt-python's own can: by position, by name, with defaults."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import virtbus
from tests.support.oracle_scripts import ask_oracle, needs_oracle
from virtbus import unsupported

# JSON of {class: {method: [[parameter, default or "required"], ...]}}; "" holds the module's functions.
SIGNATURES = """
import inspect, json, libvirt
def shape(function):
    return [[p.name, "required" if p.default is p.empty else repr(p.default)]
            for p in inspect.signature(function).parameters.values()]
classes = {n: v for n, v in vars(libvirt).items() if isinstance(v, type) and n.startswith(("vir", "libvirt"))}
found = {n: {m: shape(f) for m, f in vars(v).items() if inspect.isfunction(f)} for n, v in classes.items()}
found[""] = {n: shape(f) for n, f in vars(libvirt).items() if inspect.isfunction(f) and n[0] != "_"}
print(json.dumps(found))
"""
# libvirt-python's own names for what only the library itself calls.
PRIVATE = ("__init__", "__del__", "c_pointer")


def shape(function: Any) -> list[list[str]]:
    """As in ``SIGNATURES``."""
    return [[p.name, "required" if p.default is p.empty else repr(p.default)]
            for p in inspect.signature(function).parameters.values()]


def implemented(name: str) -> dict[str, Any]:
    """The public functions of a class of ours, or of the module, that do more than answer with code 3."""
    holder = getattr(virtbus, name) if name else virtbus
    members = inspect.getmembers(holder, inspect.isfunction)
    return {method: function for method, function in members
            if method not in PRIVATE and not (function.__doc__ or "").startswith("Not supported by any driver yet")}


@needs_oracle
@pytest.mark.parametrize("name", ["", *unsupported.METHODS, "libvirtError"])
def test_parameters_are_libvirts(name: str) -> None:
    """Names, order and defaults of the parameters are those of libvirt-python, for each method that is implemented."""
    theirs = ask_oracle(SIGNATURES)[name]
    ours = {method: shape(function) for method, function in implemented(name).items()}
    assert {method: found for method, found in ours.items() if method in theirs and found != theirs[method]} == {}


def test_something_is_compared() -> None:
    """The comparison is about the methods that make virtbus, not about none."""
    counts = {name: len(implemented(name)) for name in ("", "virConnect", "virDomain", "virStoragePool")}
    assert min(counts.values()) > 15, counts
