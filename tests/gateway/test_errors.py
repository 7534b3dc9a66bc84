"""libvirtError and what surrounds it behave as in libvirt-python."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest

from virtbus import errors
from virtbus.errors import api_call, libvirtError
from virtbus_shared import constants as c
from virtbus_shared.errors import Fields, LibvirtError

NO_DOMAIN: Fields = (42, 12, "Domain not found: no domain with matching name 'a'", 2, "Domain not found: %s",
                     "no domain with matching name 'a'", None, -1, -1)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """No last error and the default print, before and after."""
    errors.virResetLastError()
    yield
    errors.registerErrorHandler(None, None)
    errors.virResetLastError()


@api_call
def failing() -> None:
    """A public call that a service answered with an error."""
    raise LibvirtError(c.VIR_ERR_NO_DOMAIN, "no domain with matching name 'a'", domain=c.VIR_FROM_TEST)


@api_call
def working() -> int:
    """A public call that went well."""
    return 7


def test_error_carries_nine_fields() -> None:
    """A failed call raises with all nine fields, an accessor for each, and the message alone in args."""
    with pytest.raises(libvirtError) as caught:
        failing()
    error = caught.value
    assert error.err == NO_DOMAIN
    assert error.args == (NO_DOMAIN[2],)
    assert str(error) == NO_DOMAIN[2]
    accessors = (
        error.get_error_code, error.get_error_domain, error.get_error_message, error.get_error_level,
        error.get_str1, error.get_str2, error.get_str3, error.get_int1, error.get_int2)
    assert tuple(accessor() for accessor in accessors) == NO_DOMAIN


def test_error_made_by_hand() -> None:
    """Made by hand it holds the message given, no fields, and every accessor answers None."""
    error = libvirtError("hello")
    assert (str(error), error.args, error.err) == ("hello", ("hello",), None)
    assert {error.get_error_code(), error.get_error_domain(), error.get_error_message(), error.get_error_level(),
            error.get_str1(), error.get_str2(), error.get_str3(), error.get_int1(), error.get_int2()} == {None}
    assert str(libvirtError("old style", conn=None, dom=None)) == "old style"


def test_error_made_by_hand_after_a_failure() -> None:
    """Made by hand after a failure it describes that failure, whatever text it is given."""
    with pytest.raises(libvirtError):
        failing()
    assert libvirtError("hello").err == NO_DOMAIN


def test_last_error_belongs_to_the_thread() -> None:
    """The last error is seen by the thread that had it, and by no other."""
    with pytest.raises(libvirtError):
        failing()
    seen: list[object] = []
    other = threading.Thread(target=lambda: seen.append((errors.virGetLastError(), errors.virGetLastErrorMessage())))
    other.start()
    other.join()
    assert seen == [(None, "no error")]
    assert errors.virGetLastError() == NO_DOMAIN
    assert errors.virGetLastErrorCode() == c.VIR_ERR_NO_DOMAIN
    assert errors.virGetLastErrorDomain() == c.VIR_FROM_TEST
    assert errors.virGetLastErrorMessage() == NO_DOMAIN[2]


def test_success_forgets_the_last_error() -> None:
    """A call that goes well leaves no last error behind, and neither does a reset."""
    with pytest.raises(libvirtError):
        failing()
    assert working() == 7
    assert errors.virGetLastError() is None
    with pytest.raises(libvirtError):
        failing()
    errors.virResetLastError()
    assert (errors.virGetLastErrorCode(), errors.virGetLastErrorDomain()) == (0, 0)


@pytest.mark.parametrize(("error", "line"), [
    (LibvirtError(c.VIR_ERR_NO_DOMAIN, domain=c.VIR_FROM_TEST), "libvirt: Test Driver error : Domain not found\n"),
    (LibvirtError(c.VIR_ERR_RPC, "a\nb\n", domain=c.VIR_FROM_RPC), "libvirt: XML-RPC error : a\nb\n"),
    (LibvirtError(c.VIR_ERR_INTERNAL_ERROR, "x"), "libvirt:  error : internal error: x\n"),
    (LibvirtError(c.VIR_ERR_INTERNAL_ERROR, "x", domain=999), "libvirt: Unknown error : internal error: x\n"),
])
def test_errors_are_printed(error: LibvirtError, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a handler, the line on stderr is libvirt's, origin included."""
    with pytest.raises(libvirtError):
        errors.raise_error(error)
    assert capsys.readouterr().err == line


def test_warnings_are_printed_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    """The level stands in the printed line."""
    with pytest.raises(libvirtError):
        errors.raise_error(LibvirtError.from_fields((1, 10, "m", 1, None, None, None, -1, -1)))
    assert capsys.readouterr().err == "libvirt: QEMU Driver warning : m\n"


def test_every_origin_has_a_name() -> None:
    """There is one name for each VIR_FROM_* number."""
    numbers = {value for name, value in vars(c).items() if name.startswith("VIR_FROM_")}
    assert numbers == set(range(len(errors.ORIGINS)))


def test_handler_replaces_the_print(capsys: pytest.CaptureFixture[str]) -> None:
    """A handler gets its context and the nine fields, once per failed call, and nothing is printed."""
    seen: list[object] = []
    assert errors.registerErrorHandler(lambda context, fields: seen.append((context, fields)), "ctx") == 1
    with pytest.raises(libvirtError):
        failing()
    assert seen == [("ctx", NO_DOMAIN)]
    assert capsys.readouterr().err == ""


def test_handler_taken_away(capsys: pytest.CaptureFixture[str]) -> None:
    """Registering None brings the print back."""
    errors.registerErrorHandler(lambda context, fields: None, None)
    errors.registerErrorHandler(None, None)
    with pytest.raises(libvirtError):
        failing()
    assert NO_DOMAIN[2] in capsys.readouterr().err


def test_failing_handler_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception of the handler is printed; the call still fails with its own error."""
    printed: list[type[BaseException]] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, value, trace: printed.append(kind))
    errors.registerErrorHandler(lambda context, fields: int("missing"), None)
    with pytest.raises(libvirtError) as caught:
        failing()
    assert caught.value.err == NO_DOMAIN
    assert printed == [ValueError]


def test_handler_must_be_callable() -> None:
    """What cannot be called is refused when registered, not when the first error comes."""
    with pytest.raises(TypeError, match="callable or None, not int"):
        errors.registerErrorHandler(1, None)  # type: ignore[arg-type]


def test_nested_calls_report_once() -> None:
    """A public call made of public calls reports its failure once."""
    seen: list[object] = []
    errors.registerErrorHandler(lambda context, fields: seen.append(fields), None)
    with pytest.raises(libvirtError):
        api_call(failing)()
    assert seen == [NO_DOMAIN]


def test_version() -> None:
    """The version is a number, twice with a name, and a name must be text."""
    assert errors.getVersion() == 9_000_000
    assert errors.getVersion("test") == (9_000_000, 9_000_000)
    assert errors.virInitialize() == 0
    with pytest.raises(TypeError, match="must be str, not int"):
        errors.getVersion(3)  # type: ignore[arg-type]
