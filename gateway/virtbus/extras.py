"""What a connection offers beyond libvirt: the outcome of a request, by its id.

A call that timed out may have taken effect. Its error names the request's id, and every service keeps a journal by
those ids, so the question has an answer.
"""

from __future__ import annotations

from dataclasses import dataclass

from virtbus.arguments import text
from virtbus.errors import api_call
from virtbus.handle import Caller
from virtbus_shared.api import SERVICES, common
from virtbus_shared.envelope import MAX_ID, decode_reply
from virtbus_shared.errors import Fields, LibvirtError


@dataclass(frozen=True)
class Outcome:
    """What became of a request that changes state."""

    id: str
    state: str  # unknown: no service has seen it, so it had no effect; running; done
    service: str = ""
    procedure: str = ""
    caller: str = ""
    received: float = 0.0  # Unix seconds
    finished: float = 0.0  # Unix seconds; 0 while running
    error: Fields | None = None  # libvirt's nine fields, if it is done and failed


class ExtraCalls(Caller):
    """The part of ``virConnect`` that libvirt does not have."""

    @api_call
    def requestOutcome(self, requestID: str) -> Outcome:
        """What became of the request of this id, whichever service of the node it went to. A service that is away
        fails the question (code 38): its journal cannot be asked.
        """
        function = "requestOutcome"
        params = common.OutcomeRequest(id=text(requestID, function, "requestID", MAX_ID))
        for service in SERVICES:
            found = self._call(function, common.GET_OUTCOME[service], params)
            if found.state != "unknown":
                return Outcome(params.id, found.state, service, found.procedure, found.caller, found.received,
                               found.finished, _error(found.reply))
        return Outcome(params.id, "unknown")


def _error(reply: bytes) -> Fields | None:
    if reply:
        try:
            decode_reply(reply)
        except LibvirtError as error:
            return error.fields
    return None
