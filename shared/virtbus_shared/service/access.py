"""Who calls, and whether they may: the hook that every request passes before its handler.

The caller is what the door vouches for (the broker-validated ``user_id``, the process itself in-process, later the
peer of a unix socket), never a field of the body. The rules themselves are one replaceable function; the one shipped
allows all that the connection's mode allows. Every decision is counted, every change is journalled with its caller.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from virtbus_shared import constants as c
from virtbus_shared.envelope import Request
from virtbus_shared.errors import LibvirtError
from virtbus_shared.procedure import AnyProcedure, Params


@dataclass(frozen=True, slots=True)
class Caller:
    """An identity and the door that vouches for it."""

    user: str
    door: str  # amqp or inprocess

    def __str__(self) -> str:
        return f"{self.door}:{self.user}"


Rule = Callable[[Caller, AnyProcedure, Request, Params], bool]


def allow_all(caller: Caller, row: AnyProcedure, request: Request, params: Params) -> bool:
    """The shipped rule: whoever the broker lets publish commands to this node may give them."""
    del caller, row, request, params
    return True


class Access:
    """Applies the read-only mode of the connection and then the rule."""

    def __init__(self, rule: Rule = allow_all, decided: Callable[[str, str, bool], None] = lambda *_: None) -> None:
        self._rule = rule
        self._decided = decided  # told (object type, permission, allowed)

    def require(self, caller: Caller, row: AnyProcedure, request: Request, params: Params) -> None:
        """Raise ``VIR_ERR_OPERATION_DENIED`` or ``VIR_ERR_ACCESS_DENIED`` unless the call is allowed."""
        object_type, _, permission = row.acl.partition(":")
        if request.read_only and not row.read_only:
            self._decided(object_type, permission, False)
            raise LibvirtError(c.VIR_ERR_OPERATION_DENIED, "read only access prevents "
                               + (row.serves[0] if row.serves else row.name))
        allowed = self._rule(caller, row, request, params)
        self._decided(object_type, permission, allowed)
        if not allowed:
            raise LibvirtError(c.VIR_ERR_ACCESS_DENIED, f"{row.acl} is not granted to {caller}",
                               domain=c.VIR_FROM_ACCESS)
