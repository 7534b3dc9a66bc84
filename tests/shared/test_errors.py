"""libvirt's errors: its texts, its nine fields, and what becomes of fields that are none."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtbus_shared import constants as c
from virtbus_shared.errors import (
    MESSAGES,
    LibvirtError,
    bare_error,
    check_flags,
    invalid_arg,
    message_template,
    no_support,
)

CODES = sorted(v for k, v in vars(c).items() if k.startswith(("VIR_ERR_", "VIR_WAR_")) and isinstance(v, int)
               and k not in ("VIR_ERR_OK", "VIR_ERR_NONE", "VIR_ERR_WARNING", "VIR_ERR_ERROR", "VIR_ERR_NUMBER_LAST"))


@pytest.mark.parametrize("code", sorted(MESSAGES))
def test_every_text_has_two_forms(code: int) -> None:
    """Without a detail a text stands alone; with one it has exactly one place for it."""
    assert "%" not in message_template(code, detail=False)
    assert message_template(code, detail=True).count("%s") == 1


def test_every_code_has_a_text() -> None:
    """No error of libvirt is an "unknown error" here."""
    assert [code for code in CODES if code not in MESSAGES] == []


def test_the_detail_stands_in_the_message_and_beside_it() -> None:
    """libvirt puts the template first and the detail second."""
    error = LibvirtError(c.VIR_ERR_NO_DOMAIN, "no domain with 100%s name", domain=c.VIR_FROM_QEMU)
    assert error.fields == (42, c.VIR_FROM_QEMU, "Domain not found: no domain with 100%s name", 2,
                            "Domain not found: %s", "no domain with 100%s name", None, -1, -1)
    assert str(error) == error.message


def test_without_a_detail_the_text_stands_alone() -> None:
    """The test driver's look-ups say no more than this."""
    assert LibvirtError(c.VIR_ERR_NO_DOMAIN).fields[2:7] == ("Domain not found", 2, "Domain not found", None, None)


@given(st.sampled_from(CODES), st.none() | st.text())
def test_the_nine_fields_are_the_whole_error(code: int, detail: str | None) -> None:
    """An error made from the fields of another is the same error."""
    error = LibvirtError(code, detail)
    again = LibvirtError.from_fields(list(error.fields))
    assert again.fields == error.fields
    assert str(again) == str(error)


@given(st.lists(st.none() | st.integers() | st.text() | st.floats() | st.lists(st.none(), max_size=2), max_size=10))
def test_ill_formed_fields_are_an_error_of_the_wire(fields: list[object]) -> None:
    """Nine fields of the wrong types, or not nine, still give an error with a number and a text."""
    error = LibvirtError.from_fields(fields)
    assert isinstance(error.code, int)
    assert isinstance(error.message, str)


def test_refused_flags_are_named_by_their_bits() -> None:
    """libvirt's words for a flag that a call does not know."""
    with pytest.raises(LibvirtError) as caught:
        check_flags(0x9, 0x1, "testDomainCreate", c.VIR_FROM_TEST)
    assert caught.value.fields == (c.VIR_ERR_INVALID_ARG, c.VIR_FROM_TEST,
                                   "unsupported flags (0x8) in function testDomainCreate", 2, "testDomainCreate",
                                   "flags", None, 0, 0)
    check_flags(0x1, 0x1, "testDomainCreate")


def test_the_three_shorthands() -> None:
    """A missing function, a bad argument, and a message that stands alone."""
    assert no_support("virDomainReset").message == (
        "this function is not supported by the connection driver: virDomainReset")
    assert invalid_arg("x").message == "invalid argument: x"
    assert str(bare_error(c.VIR_ERR_INVALID_ARG, "name is empty", "virDomainLookup", "name")) == "name is empty"
    assert not math.isnan(bare_error(c.VIR_ERR_INVALID_ARG, "x", "f", "a").int1)
