"""A domain service that defines domains as fast as it can, to be killed: ``python -m tests.support.defining FOLDER``.

Each name is printed when its caller has the reply, so that whoever kills this process knows what was promised.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from pathlib import Path

from tests.support.service import Requests, domain_xml, running
from virtbus_shared.api import domain as api


async def define(folder: Path) -> None:
    """Define until killed, eight at a time; every third is removed again."""
    async with running(folder) as node:
        numbers = itertools.count()

        async def one(node: Requests) -> None:
            for number in numbers:
                domain = await node(api.DEFINE_XML, request_id=f"define-{number}", xml=domain_xml(f"d{number}"))
                print(f"+{domain.name}", flush=True)
                if number % 3 == 0:
                    await node(api.UNDEFINE, request_id=f"undefine-{number}", uuid=domain.uuid)
                    print(f"-{domain.name}", flush=True)

        await asyncio.gather(*(one(node) for _ in range(8)))


if __name__ == "__main__":
    asyncio.run(define(Path(sys.argv[1])))
