"""The machine that the tests run on, as the node device service sees it: with a folder of its own for what it keeps."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

from virtbus_nodedev.host import Host


@functools.cache
def this_host() -> Host:
    """One for the whole run: a host without a machine id (a container, a root that was just made) is given one."""
    folder = tempfile.mkdtemp(prefix="virtbus-host-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Host(state=Path(folder))
