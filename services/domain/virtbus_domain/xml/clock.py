"""The guest's clock and timers: what they start from, and what happens to ticks that the guest missed."""

from __future__ import annotations

from virtbus_domain.xml.lenient import TEXT
from virtbus_domain.xml.platform_values import blank, if_valid, unsupported
from virtbus_domain.xml.values import ULONG_OR_ZERO
from virtbus_shared.service.xml import attr, element, subs
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import ULONG, YESNO, words


@element
class Timer(Element):
    """One source of time; ``frequency`` in Hz, ``catchup_threshold`` in ns, ``catchup_limit`` in ticks."""

    name: str | None = attr("@name", words("platform", "pit", "rtc", "hpet", "tsc", "kvmclock", "hypervclock",
                                           "armvtimer"), required=True)
    present: bool | None = attr("@present", YESNO)
    tickpolicy: str | None = attr("@tickpolicy", words("delay", "catchup", "merge", "discard"))
    track: str | None = attr("@track", words("boot", "guest", "wall", "realtime"))
    frequency: int | None = attr("@frequency", ULONG_OR_ZERO)
    mode: str | None = attr("@mode", words("auto", "native", "emulate", "paravirt", "smpsafe"))
    catchup_threshold: int | None = attr("catchup/@threshold", ULONG_OR_ZERO)
    catchup_slew: int | None = attr("catchup/@slew", ULONG_OR_ZERO)
    catchup_limit: int | None = attr("catchup/@limit", ULONG_OR_ZERO)


@element
class Clock(Element):
    """What the guest's clock starts from: ``adjustment`` and ``start`` are in seconds."""

    offset: str | None = attr("@offset", blank(words("utc", "localtime", "variable", "timezone", "absolute")),
                              error=unsupported("unknown clock offset '{value}'"))
    adjustment: str | None = attr("@adjustment", TEXT)
    basis: str | None = attr("@basis", blank(words("utc", "localtime")),
                             error=unsupported("unknown clock basis '{value}'"))
    timezone: str | None = attr("@timezone", TEXT)
    start: int | None = attr("@start", if_valid(ULONG))
    timers: list[Timer] = subs("timer", Timer)
