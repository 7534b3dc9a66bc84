"""From a delivery to its reply: the one path that every request takes, whatever door it came through.

Order matters here. A body that cannot be read is answered and set aside. Then: is the caller known, does the row
exist, are the parameters right, is it allowed, is there still time. Calls answered from memory end in the same step.
A change is journalled before its effect (law 1) and acknowledged to the broker when the journal is on disk; the same
id may arrive a hundred times, and all arrivals get the one outcome. What the handler changed, its events and the end
of the journal entry are one transaction. Nothing that a request contains can end the consumer.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

import msgpack
from pydantic import ValidationError

from virtbus_shared import constants as c
from virtbus_shared.envelope import MalformedEnvelopeError, Request, decode_request, encode_error, encode_result
from virtbus_shared.errors import LibvirtError, invalid_arg, no_support
from virtbus_shared.procedure import Params
from virtbus_shared.service.access import Access, Caller
from virtbus_shared.service.change import Change
from virtbus_shared.service.driver import Driver
from virtbus_shared.service.handlers import Context, Route
from virtbus_shared.service.metrics import RouteMetrics, ServiceMetrics
from virtbus_shared.service.store import JournalEntry, Store

log = logging.getLogger("virtbus.dispatch")

MAX_IN_FLIGHT = 4096  # requests that wait for a handler at the same time
MAX_ATTEMPTS = 3  # a request that was running at this many crashes of the service is not run again


class Delivery(Protocol):
    """A request as a door hands it over. Every method may be called at most once and is harmless when too late."""

    body: bytes
    user: str | None  # vouched for by the door; None is refused
    redelivered: bool

    def reply(self, body: bytes) -> None:
        """Send the reply; more than once only for different arrivals."""

    def ack(self) -> None:
        """The request is safe here: the door may forget it."""

    def reject(self) -> None:
        """The request is unusable: the door keeps it as evidence."""

    def reply_and_ack(self, body: bytes) -> None:
        """Both at once: cheaper."""


class Dispatcher:
    """Takes deliveries of one service. Runs in the service's event loop."""

    def __init__(self, routes: dict[str, Route], store: Store, access: Access, metrics: ServiceMetrics,
                 find_driver: Callable[[str, str], Driver], written: Callable[[int], None], door: str) -> None:
        self._routes = {name: (route, metrics.route(name)) for name, route in routes.items()}
        self._store = store
        self._access = access
        self._metrics = metrics
        self._find_driver = find_driver
        self._written = written
        self._door = door
        self.tasks: set[asyncio.Task[None]] = set()
        self._running: dict[str, tuple[bytes, list[Delivery]]] = {}  # id -> digest, arrivals that wait for the outcome
        self._unwritten: dict[str, bytes] = {}  # id -> reply, where the store failed after the effect

    def take(self, delivery: Delivery) -> None:
        """Deal with one delivery; never raises."""
        try:
            self._take(delivery)
        except MalformedEnvelopeError as e:
            self._metrics.malformed()
            delivery.reply(encode_error(e.request_id, e))
            delivery.reject()
        except Exception:
            log.exception("a delivery could not be dealt with")
            self._metrics.malformed()
            delivery.reject()

    def _take(self, delivery: Delivery) -> None:
        if delivery.redelivered:
            self._metrics.redelivered()
        request = decode_request(delivery.body)
        entry = self._routes.get(request.procedure)
        if entry is None:
            self._metrics.unknown()
            delivery.reply_and_ack(encode_error(request.id, no_support(
                f"unknown procedure {request.procedure[:100]!r}", c.VIR_FROM_RPC)))
            return
        route, metrics = entry
        try:
            context, params = self._admit(route, request, delivery.user)
        except Exception as e:
            self._refuse(delivery, request, metrics, _as_libvirt_error(e, f"admitting {request.procedure}"))
            return
        if route.answer is not None:
            self._answer(route.answer, context, params, delivery, metrics)
        elif len(self.tasks) >= MAX_IN_FLIGHT:
            self._refuse(delivery, request, metrics, LibvirtError(
                c.VIR_ERR_RESOURCE_BUSY, f"{MAX_IN_FLIGHT} requests are waiting already", domain=c.VIR_FROM_RPC))
        else:
            work = self._change if route.row.changes else self._wait
            task = asyncio.get_running_loop().create_task(work(route, context, params, delivery, metrics))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    def _admit(self, route: Route, request: Request, user: str | None) -> tuple[Context[Any], Params]:
        """All checks before a handler. Raises the error to answer."""
        if user is None:
            raise LibvirtError(c.VIR_ERR_AUTH_FAILED, "the message has no user_id that the broker has checked",
                               domain=c.VIR_FROM_RPC)
        row = route.row
        try:
            params = row.params.model_validate(request.args)
        except ValidationError as e:
            raise invalid_arg(f"{row.name}: {_explain(e)}", c.VIR_FROM_RPC) from None
        caller = Caller(user, self._door)
        self._access.require(caller, row, request, params)
        if request.deadline <= time.time():
            raise _ExpiredError(row.name)
        if row.connectionless:
            return Context(None, request, caller, Change(""), c.VIR_FROM_NONE), params
        driver = self._find_driver(request.driver, request.path)
        return Context(driver, request, caller, Change(driver.host.scope), driver.error_domain), params

    def _refuse(self, delivery: Delivery, request: Request, metrics: RouteMetrics, error: LibvirtError) -> None:
        denied = error.code in (c.VIR_ERR_OPERATION_DENIED, c.VIR_ERR_ACCESS_DENIED, c.VIR_ERR_AUTH_FAILED)
        outcome = "expired" if isinstance(error, _ExpiredError) else "denied" if denied else "error"
        metrics.ended(outcome, error.code if outcome == "error" else 0)
        delivery.reply_and_ack(encode_error(request.id, error))

    def _answer(self, answer: Callable[[Context[Any], Any], Any], context: Context[Any], params: Params,
                delivery: Delivery, metrics: RouteMetrics) -> None:
        """A call answered from memory: it ends here and now."""
        began = metrics.started(context.request.sent)
        code = 0
        try:
            body = encode_result(context.request.id, answer(context, params).model_dump())
        except Exception as e:
            error = _as_libvirt_error(e, context.request.procedure)
            code = error.code
            body = encode_error(context.request.id, error)
        metrics.observed(began)
        metrics.ended("error" if code else "ok", code)
        delivery.reply_and_ack(body)

    async def _wait(self, route: Route, context: Context[Any], params: Params, delivery: Delivery,
                    metrics: RouteMetrics) -> None:
        """A call that waits but changes nothing. Acknowledged at once: running it twice does no harm."""
        delivery.ack()
        body, _ = await self._handle(route, context, params, metrics)
        delivery.reply(body)

    async def _handle(self, route: Route, context: Context[Any], params: Params,
                      metrics: RouteMetrics) -> tuple[bytes, bool]:
        """Run a coroutine handler; (reply, failed). Its change, if it made one, is written before the reply exists."""
        try:
            return await self._in_turn(route, context, params, metrics)
        finally:
            context.release()

    async def _in_turn(self, route: Route, context: Context[Any], params: Params,
                       metrics: RouteMetrics) -> tuple[bytes, bool]:
        assert route.handle is not None
        request, change = context.request, context.change
        began = metrics.started(request.sent)
        code = 0
        try:
            with metrics.in_flight(request.id):
                result = await route.handle(context, params)
            body = encode_result(request.id, result.model_dump())
        except (Exception, asyncio.CancelledError) as e:
            if _cancelled(e):
                raise
            error = _as_libvirt_error(e, request.procedure)
            code, body = error.code, encode_error(request.id, error)
            change.roll_back()
            change = Change(change.scope)
        if route.row.changes:
            try:
                # An effect that can be looked for needs no sync before its reply; see ``store``.
                self._written(await self._store.write(change, (request.id, bool(code), body),
                                                      durable=route.reconcile is None))
            except Exception as e:
                change.roll_back()
                error = _as_libvirt_error(e, f"storing the outcome of {request.procedure}")
                code, body = error.code, encode_error(request.id, error)
                self._unwritten[request.id] = body
        metrics.observed(began)
        metrics.ended("error" if code else "ok", code)
        return body, bool(code)

    # -- changes: at most once --------------------------------------------------------------------------------------

    async def _change(self, route: Route, context: Context[Any], params: Params, delivery: Delivery,
                      metrics: RouteMetrics) -> None:
        """A call that changes state."""
        request = context.request
        args = msgpack.packb(request.args)
        digest = hashlib.sha256(f"{request.procedure}\0{context.change.scope}\0".encode() + args).digest()
        running = self._running.get(request.id)
        if running is not None:
            # Beside its first arrival: no look at the journal, for that one may not have been written yet.
            if running[0] != digest:
                self._refuse(delivery, request, metrics, _reused(request.id, "one that is running"))
                return
            metrics.ended("duplicate", 0)
            delivery.ack()
            running[1].append(delivery)
            return
        waiting: list[Delivery] = []
        self._running[request.id] = digest, waiting
        try:
            entry = JournalEntry(request.id, request.procedure, context.change.scope, digest, args,
                                 str(context.caller), request.deadline, time.time())
            body = await self._journalled(route, context, params, entry, delivery, metrics)
        except Exception as e:
            # The journal itself failed (a full disk): nothing was run.
            error = _as_libvirt_error(e, "journalling the request")
            body = encode_error(request.id, error)
            self._metrics.audited(written=False)
            metrics.ended("error", error.code)
            delivery.ack()
        finally:
            del self._running[request.id]
        for each in (delivery, *waiting):
            each.reply(body)

    async def _journalled(self, route: Route, context: Context[Any], params: Params, entry: JournalEntry,
                          delivery: Delivery, metrics: RouteMetrics) -> bytes:
        """Look the id up, or write it down; then run the handler once. Gives the reply."""
        known = await self._store.begin(entry)
        delivery.ack()
        if known is not None:
            if known.digest != entry.digest:
                metrics.ended("error", c.VIR_ERR_INVALID_ARG)
                return encode_error(entry.id, _reused(entry.id, known.procedure))
            if (reply := self.outcome(known)) is not None:
                metrics.ended("duplicate", 0)
                return reply
            # Begun before a crash that left no effect (see reconcile): this arrival may run it.
            await self._store.retry(entry.id)
        body, failed = await self._handle(route, context, params, metrics)
        self._metrics.audited(written=True)
        # Said when the reply has gone: a line of log takes longer than a call.
        asyncio.get_running_loop().call_later(0, lambda: log.info("changed", extra={
            "request": entry.id, "procedure": entry.procedure, "caller": entry.caller, "scope": entry.scope,
            "failed": failed}))
        return body

    def outcome(self, entry: JournalEntry) -> bytes | None:
        """The reply of a journalled request, None while it runs or when a crash left no effect of it."""
        return entry.reply if entry.reply is not None else self._unwritten.get(entry.id)

    def runs(self, request_id: str) -> bool:
        """Whether a change runs now."""
        return request_id in self._running

    async def reconcile(self) -> None:
        """After a start: give every request that a crash interrupted its outcome, by looking at what is there."""
        for entry in await self._store.unfinished():
            found = self._routes.get(entry.procedure)
            outcome = self._reconciled(found[0] if found else None, entry)
            if outcome is None and entry.deadline <= time.time():
                outcome = True, encode_error(entry.id, _ExpiredError(entry.procedure))
            if outcome is not None:
                failed, body = outcome
                await self._store.write(Change(entry.scope), (entry.id, failed, body))
            log.warning("reconciled an interrupted request", extra={
                "request": entry.id, "procedure": entry.procedure, "settled": outcome is not None})

    def _reconciled(self, route: Route | None, entry: JournalEntry) -> tuple[bool, bytes] | None:
        """(failed, reply) of an interrupted request; None when it had no effect and may run again."""
        try:
            if route is None or entry.attempts >= MAX_ATTEMPTS:
                raise LibvirtError(c.VIR_ERR_OPERATION_ABORTED, f"the service stopped {entry.attempts} times while "
                                   "this request ran: it is not run again", domain=c.VIR_FROM_RPC)
            if route.reconcile is None:
                return None
            scheme, _, path = entry.scope.partition("://")
            driver = self._find_driver(scheme, path)
            args = msgpack.unpackb(entry.args)
            context = Context(driver, Request(entry.id, entry.procedure, entry.deadline, args, scheme, path),
                              Caller(entry.caller, self._door), Change(entry.scope), driver.error_domain)
            result = route.reconcile(context, route.row.params.model_validate(args), entry)
        except Exception as e:
            return True, encode_error(entry.id, _as_libvirt_error(e, entry.procedure))
        return None if result is None else (False, encode_result(entry.id, result.model_dump()))

    async def drain(self, grace: float) -> None:
        """Wait ``grace`` seconds for the handlers that run (graceful stop), then abandon them: the journal knows them,
        and the next start settles what became of them."""
        end = time.monotonic() + grace
        while self.tasks and (left := end - time.monotonic()) > 0:
            await asyncio.wait(self.tasks, timeout=left)
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


def _reused(request_id: str, by: str) -> LibvirtError:
    """An id that names two different requests: the second is refused."""
    return invalid_arg(f"request id {request_id!r} was used for another request ({by})", c.VIR_FROM_RPC)


class _ExpiredError(LibvirtError):
    """The deadline had passed before the handler could start: nothing was done (law 2)."""

    def __init__(self, procedure: str) -> None:
        super().__init__(c.VIR_ERR_OPERATION_TIMEOUT, f"{procedure} arrived after its deadline and was not run",
                         domain=c.VIR_FROM_RPC)


def _cancelled(error: BaseException) -> bool:
    """Whether this task is to end. A driver whose own inner task was cancelled raises the same, and just failed."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def _explain(error: ValidationError) -> str:
    """The first thing that is wrong with parameters, and where."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"parameter '{where}': {first['msg']}"


def _as_libvirt_error(error: BaseException, what: str) -> LibvirtError:
    """Every failure leaves as libvirt's nine fields; the unexpected is logged with its trace and named internal."""
    if isinstance(error, LibvirtError):
        return error
    log.error("unexpected failure of %s", what, exc_info=error)
    return LibvirtError(c.VIR_ERR_INTERNAL_ERROR, f"{what}: {type(error).__name__}: {error}")
