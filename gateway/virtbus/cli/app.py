"""The command line itself: global options, the verbs, and how a failure is told.

Verbs are virsh's, spelled as there. A failure is one line on standard error, ``error: what: why``, and where it is
known a second one says what to do next; the status is 1 then. Nobody ever sees a traceback for a wrong name.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from virtbus.cli import bus, domain, event, host, network, nodedev, storage
from virtbus.cli.output import Format, Output
from virtbus.cli.session import CommandError, Session
from virtbus.errors import libvirtError, registerErrorHandler
from virtbus_shared import constants as c

app = typer.Typer(name="virtbus", no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False,
                  context_settings={"help_option_names": ["-h", "--help"]})
for module in (domain, network, storage, nodedev, host, event, bus):
    module.add_to(app)

# Code of an error -> what may help.
HINTS = {
    c.VIR_ERR_NO_DOMAIN: "virtbus list --all shows the domains",
    c.VIR_ERR_NO_NETWORK: "virtbus net-list --all shows the networks",
    c.VIR_ERR_NO_STORAGE_POOL: "virtbus pool-list --all shows the pools",
    c.VIR_ERR_NO_STORAGE_VOL: "virtbus vol-list POOL shows the volumes of a pool",
    c.VIR_ERR_NO_NODE_DEVICE: "virtbus nodedev-list shows the devices",
    c.VIR_ERR_OPERATION_DENIED: "leave -r (--readonly) out",
    c.VIR_ERR_NO_CONNECT: "a URI is DRIVER+amqp://NODE/PATH, such as qemu+amqp://node-a/system; virtbus nodes shows "
                          "the nodes and their drivers",
    c.VIR_ERR_OPERATION_TIMEOUT: "virtbus outcome REQUEST_ID says what became of it",
}
_UNREACHABLE = "unable to connect to service"


@app.callback()
def options(
    ctx: typer.Context,
    connect: Annotated[str | None, typer.Option("--connect", "-c", metavar="URI", help="Connection URI; by default "
               "VIRTBUS_DEFAULT_URI, LIBVIRT_DEFAULT_URI, or uri_default of virtbus.toml.")] = None,
    broker: Annotated[str | None, typer.Option(metavar="URL", help="Address of the broker, amqp://HOST; by default "
              "VIRTBUS_BROKER, or broker of virtbus.toml. ?broker= of the URI goes first.")] = None,
    readonly: Annotated[bool, typer.Option("--readonly", "-r", help="Connect so that nothing can be changed.")] = False,
    output: Annotated[Format, typer.Option(help="How answers are printed.")] = Format.TABLE,
) -> None:
    """Manage virtual machines, networks, storage and devices of a node, over a message bus, with virsh's verbs.

    Names, numbers and UUIDs are accepted for a domain. Every verb says more: virtbus VERB --help.
    """
    if broker:
        os.environ["VIRTBUS_BROKER"] = broker  # where connections look
    ctx.obj = Session(connect or os.environ.get("VIRTBUS_DEFAULT_URI"), readonly, Output(output))
    ctx.call_on_close(ctx.obj.close)


def run(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit status."""
    registerErrorHandler(lambda _context, _error: None, None)  # what fails is told below, once
    try:
        return _run(arguments)
    finally:
        registerErrorHandler(None, None)


def _run(arguments: list[str] | None) -> int:
    try:
        status = app(_hoisted(sys.argv[1:] if arguments is None else arguments), standalone_mode=False)
        sys.stdout.flush()  # a reader that has left is met here at the latest, not at the interpreter's end
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except CommandError as error:
        return _fail(str(error), error.cause)
    except libvirtError as error:
        return _fail(str(error), error)
    except BrokenPipeError:
        # Who read us has seen enough. What is still buffered must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        # Misuse. The class is click's, which typer brings under changing names; only click's errors format messages.
        format_message = getattr(error, "format_message", None)
        if format_message is None:
            raise
        return _fail(format_message(), hint="virtbus --help, or virtbus VERB --help")
    return status if isinstance(status, int) else 0


def _hoisted(arguments: list[str]) -> list[str]:
    """``--output`` may stand behind the verb too: it is about the answer, which is what people think of last."""
    first, rest = [], []
    words = iter(arguments)
    for word in words:
        if word == "--":
            rest += [word, *words]
        elif word == "--output":
            first += [word, next(words, "")]
        elif word.startswith("--output="):
            first.append(word)
        else:
            rest.append(word)
    return first + rest


def _fail(message: str, error: libvirtError | None = None, hint: str | None = None) -> int:
    print(f"error: {message}", file=sys.stderr)
    if error is not None:
        hint = "virtbus nodes shows the nodes that answer" if _UNREACHABLE in message else HINTS.get(
            error.get_error_code() or 0)
    if hint:
        print(f"  try: {hint}", file=sys.stderr)
    return 1
