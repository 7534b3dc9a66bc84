"""The guest's clock and timers: what they start from, and what happens to ticks that the guest missed."""

from __future__ import annotations

from virtbus_shared import constants as c
from virtbus_shared.service.xml import attr, element, subs
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import UINT, ULONG, YESNO, words


@element
class Timer(Element):
    """One source of time; ``frequency`` in Hz, ``catchup_threshold`` in ns, ``catchup_limit`` in ticks."""

    name: str | None = attr("@name", words("platform", "pit", "rtc", "hpet", "tsc", "kvmclock", "hypervclock",
                                           "armvtimer"))
    present: bool | None = attr("@present", YESNO)
    tickpolicy: str | None = attr("@tickpolicy", words("delay", "catchup", "merge", "discard"))
    track: str | None = attr("@track", words("boot", "guest", "wall", "realtime"))
    frequency: int | None = attr("@frequency", ULONG)
    mode: str | None = attr("@mode", words("auto", "native", "emulate", "paravirt", "smpsafe"))
    catchup_threshold: int | None = attr("catchup/@threshold", UINT)
    catchup_slew: int | None = attr("catchup/@slew", UINT)
    catchup_limit: int | None = attr("catchup/@limit", UINT)


@element
class Clock(Element):
    """What the guest's clock starts from: ``adjustment`` and ``start`` are in seconds."""

    offset: str | None = attr("@offset", words("utc", "localtime", "variable", "timezone", "absolute"),
                              error=(c.VIR_ERR_CONFIG_UNSUPPORTED, "unknown clock offset '{value}'"))
    adjustment: str | None = attr("@adjustment")
    basis: str | None = attr("@basis", words("utc", "localtime"))
    timezone: str | None = attr("@timezone")
    start: int | None = attr("@start", ULONG)
    timers: list[Timer] = subs("timer", Timer)
