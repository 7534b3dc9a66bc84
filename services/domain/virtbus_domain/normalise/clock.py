"""The clock and its timers: what libvirt fills in, and which of their properties a timer can have."""

from __future__ import annotations

import re

from virtbus_domain.normalise.context import Context, internal_error, qemu_unsupported, unsupported, xml_error
from virtbus_domain.xml.clock import Clock, Timer
from virtbus_domain.xml.domain import Domain

_SECONDS = re.compile(r"\s*[+-]?[0-9]{1,19}", re.ASCII)

# What only some timers have.
_TRACKED, _PARAVIRTUAL = ("platform", "rtc"), ("kvmclock", "hypervclock")
# The policies for ticks that a guest missed, and the sources, that QEMU's timers know.
_POLICIES = {"rtc": (None, "delay", "catchup"), "pit": (None, "delay", "catchup", "discard")}
_SOURCES = (None, "guest", "wall")


def read_clock(domain: Domain, context: Context) -> None:
    """Coordinated universal time; one that is adjusted varies."""
    del context
    if domain.clock is None:
        domain.clock = Clock(offset="utc")
        return
    clock = domain.clock
    clock.offset = clock.offset or "utc"
    if clock.offset in ("utc", "localtime"):
        _read_adjustment(clock)
    if clock.offset == "variable":
        given = clock.adjustment or ""
        clock.adjustment = str(int(given)) if _SECONDS.fullmatch(given) else "0"
        clock.basis = clock.basis or "utc"
    else:
        clock.basis = None
    if clock.offset != "timezone":
        clock.timezone = None
    elif clock.timezone is None:
        raise internal_error("missing 'timezone' attribute for clock with offset='timezone'")
    if clock.offset != "absolute":
        clock.start = None
    elif clock.start is None:
        raise internal_error("missing 'start' attribute for clock with offset='absolute'")


def _read_adjustment(clock: Clock) -> None:
    if clock.adjustment in (None, "reset"):
        return
    if not _SECONDS.fullmatch(str(clock.adjustment)):
        raise xml_error(f"unknown clock adjustment '{clock.adjustment}'")
    clock.basis, clock.offset = clock.offset, "variable"


def complete_timers(domain: Domain, context: Context) -> None:
    """Refuse properties that a timer of its kind does not have."""
    del context
    for timer in domain.clock.timers if domain.clock else ():
        if timer.tickpolicy is not None and timer.name in _PARAVIRTUAL:
            raise _unknown("tickpolicy", timer)
        if timer.tickpolicy != "catchup" and (timer.catchup_threshold or timer.catchup_slew or timer.catchup_limit):
            raise xml_error("setting of timer catchup policies is only supported with tickpolicy='catchup'")
        if timer.name != "tsc":
            if timer.frequency:
                raise _unknown("frequency", timer)
            if timer.mode is not None:
                raise _unknown("mode", timer)
        if timer.track is not None and timer.name not in _TRACKED:
            raise _unknown("track", timer)


def _unknown(what: str, timer: Timer) -> Exception:
    return unsupported(f"timer {timer.name} doesn't support setting of timer {what}")


def check_timers(domain: Domain, context: Context) -> None:
    """Refuse timers that QEMU's machines do not have."""
    if not context.qemu or domain.clock is None:
        return
    assert domain.os
    for timer in domain.clock.timers:
        name = timer.name or ""
        if name == "platform":
            raise qemu_unsupported(f"unsupported timer type (name) '{name}'")
        if name == "rtc" and timer.track not in _SOURCES:
            raise qemu_unsupported(f"unsupported rtc timer track '{timer.track}'")
        if name in _POLICIES and timer.tickpolicy not in _POLICIES[name]:
            what = "rtc timer tickpolicy" if name == "rtc" else "pit tickpolicy"
            raise qemu_unsupported(f"unsupported {what} '{timer.tickpolicy}'")
        if name == "armvtimer" and not (domain.os.arch or "").startswith(("arm", "aarch")):
            raise qemu_unsupported(f"Configuring the '{name}' timer is not supported for virtType={domain.type} "
                                   f"arch={domain.os.arch} machine={domain.os.machine} guests")
