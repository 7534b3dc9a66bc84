"""Where the demo runs: in namespaces of its own, so that it can neither disturb the machine nor leave anything behind.

The network namespace holds the bridge, the tap and every listening port. The PID namespace ends with its first
process and takes the broker, the daemons and the guest with it, whatever became of the demo itself. A user who is not
root gets both inside a user namespace, where the system allows that.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

# The shell is the first process of the namespace: it adopts and reaps what daemons leave behind, and a signal meant
# for the demo must not end it first. Its own status is the demo's.
_ENTER = 'trap "" INT TERM; ip link set lo up && "$@"; exit $?'

_NETWORK_AND_PROCESSES = ("--net", "--pid", "--fork", "--kill-child", "--mount-proc")
_NETWORK = ("--net",)  # containers often allow no new /proc
# What the story will need there; both links end with the namespace of the probe.
_PROBE = "ip link add probe type bridge && ip tuntap add name vnet0 mode tap"
_PROBE_SECONDS = 10


def isolated(command: Sequence[str]) -> list[str] | None:
    """The command line that runs a command in private namespaces, or None where the system allows none.

    The kernel ends all of it when the process that started it dies.
    """
    if not all(shutil.which(program) for program in ("unshare", "setpriv", "ip")):
        return None
    user = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    for namespaces in (_NETWORK_AND_PROCESSES, _NETWORK):
        enter = ["setpriv", "--pdeathsig", "KILL", "unshare", *user, *namespaces, "/bin/sh", "-c", _ENTER, "sh"]
        if _works([*enter, "/bin/sh", "-c", _PROBE]):
            return [*enter, *command]
    return None


def _works(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=_PROBE_SECONDS, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False
