"""The words of virsh for libvirt's numbers: states, reasons, events.

Most follow from the names of the constants (``VIR_DOMAIN_PAUSED_FROM_SNAPSHOT`` is "from snapshot"), so a new constant
has its word at once; what virsh says otherwise stands here. Source: virsh 9.0.0.
"""

from __future__ import annotations

from virtbus import constants as c

STATES = ("no state", "running", "idle", "paused", "in shutdown", "shut off", "crashed", "pmsuspended")
POOL_STATES = ("inactive", "building", "running", "degraded", "inaccessible")
VOL_TYPES = ("file", "block", "dir", "network", "netdir", "ploop")
EVENTS = ("Defined", "Undefined", "Started", "Suspended", "Resumed", "Stopped", "Shutdown", "PMSuspended", "Crashed")
NETWORK_EVENTS = ("Defined", "Undefined", "Started", "Stopped")
POOL_EVENTS = ("Defined", "Undefined", "Started", "Stopped", "Created", "Deleted")
DEVICE_EVENTS = ("Created", "Deleted", "Defined", "Undefined")

_STATE_NAMES = ("NOSTATE", "RUNNING", "BLOCKED", "PAUSED", "SHUTDOWN", "SHUTOFF", "CRASHED", "PMSUSPENDED")
# The prefixes of these two states begin other constants too.
_FIXED = {"SHUTDOWN": ("unknown", "user"), "PMSUSPENDED": ("unknown",)}
_REASONS = {
    "PAUSED_MIGRATION": "migrating", "PAUSED_SAVE": "saving", "PAUSED_DUMP": "dumping", "PAUSED_IOERROR": "I/O error",
    "PAUSED_SNAPSHOT": "creating snapshot", "PAUSED_POSTCOPY": "post-copy",
    "PAUSED_POSTCOPY_FAILED": "post-copy failed",
    "RUNNING_WAKEUP": "event wakeup", "RUNNING_POSTCOPY": "post-copy", "RUNNING_POSTCOPY_FAILED": "post-copy failed",
}
_DETAILS = {
    "DEFINED_FROM_SNAPSHOT": "Snapshot", "STARTED_FROM_SNAPSHOT": "Snapshot", "STARTED_WAKEUP": "Event wakeup",
    "SUSPENDED_IOERROR": "I/O Error", "SUSPENDED_FROM_SNAPSHOT": "Snapshot", "SUSPENDED_API_ERROR": "API error",
    "SUSPENDED_POSTCOPY": "Post-copy", "SUSPENDED_POSTCOPY_FAILED": "Post-copy Error",
    "RESUMED_FROM_SNAPSHOT": "Snapshot", "RESUMED_POSTCOPY": "Post-copy", "RESUMED_POSTCOPY_FAILED": "Post-copy Error",
    "STOPPED_FROM_SNAPSHOT": "Snapshot", "SHUTDOWN_GUEST": "Finished after guest request",
    "SHUTDOWN_HOST": "Finished after host request",
}


def word(words: tuple[str, ...], number: int) -> str:
    """The word of a number; of an unknown one, the number itself, because a newer service may know more."""
    return words[number] if 0 <= number < len(words) else str(number)


def reason(state: int, number: int) -> str:
    """Why a domain is in its state."""
    name = word(_STATE_NAMES, state)
    if name in _FIXED:
        return word(_FIXED[name], number)
    return _named(f"{name}_", number, _REASONS) or str(number)


def detail(event: int, number: int) -> str:
    """Why a lifecycle event happened."""
    found = _named(f"EVENT_{word(EVENTS, event).upper()}_", number, {f"EVENT_{k}": v for k, v in _DETAILS.items()})
    return f"{found[0].upper()}{found[1:]}" if found else str(number)


def event_names() -> dict[str, int]:
    """Name of each kind of domain event as ``event --event`` takes it, such as ``io-error`` -> its number."""
    renamed = {"pmwakeup": "pm-wakeup", "pmsuspend": "pm-suspend", "pmsuspend-disk": "pm-suspend-disk"}
    found = {_event_name(name): number for name, number in vars(c).items() if name.startswith("VIR_DOMAIN_EVENT_ID_")}
    return {renamed.get(name, name): number for name, number in sorted(found.items(), key=lambda item: item[1])}


def _event_name(constant: str) -> str:
    return constant.removeprefix("VIR_DOMAIN_EVENT_ID_").lower().replace("_", "-")


def _named(prefix: str, number: int, exceptions: dict[str, str]) -> str | None:
    """The words of the constant ``VIR_DOMAIN_<prefix>...`` that has this value."""
    for name, value in vars(c).items():
        short = name.removeprefix("VIR_DOMAIN_")
        if value == number and short.startswith(prefix) and short != name:
            return exceptions.get(short) or short.removeprefix(prefix).lower().replace("_", " ")
    return None
