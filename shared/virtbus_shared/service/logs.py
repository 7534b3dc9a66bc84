"""Structured logs: every line has a time, a level, a text and fields; JSON for machines, columns for people.

Modules log through the standard library (``logging.getLogger("virtbus....")`` with ``extra=``), so that the parts that
the gateway imports need nothing more; a daemon renders all of it through structlog.
"""

from __future__ import annotations

import logging
import sys

import structlog

from virtbus_shared.service.settings import Settings


def configure(settings: Settings, service: str) -> None:
    """Set up the process's logging, on standard error."""
    console = settings.log_format == "console" or (settings.log_format == "auto" and sys.stderr.isatty())

    def identify(_logger: object, _method: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
        event["service"], event["node"] = service, settings.node
        return event

    renderer: list[structlog.types.Processor] = (
        [structlog.dev.ConsoleRenderer()] if console
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()])
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_log_level, structlog.stdlib.add_logger_name,
                           structlog.stdlib.ExtraAdder(), structlog.processors.TimeStamper(fmt="iso", utc=True)],
        processors=[identify, structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer]))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level.upper())
    logging.getLogger("pika").setLevel(logging.ERROR)  # our bus says what matters, once
