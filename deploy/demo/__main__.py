"""What `make demo` starts: prepares the guest image and a folder, runs the story in its namespaces, and tidies up.

It stays outside and does little, so that it is there to remove the folder however the story ends. The image is made
here because inside the private network there is nowhere to download from.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import FrameType

from deploy.demo.isolation import isolated
from deploy.demo.screen import Screen
from tests.support.guest import GuestError, guest_image

LIMIT = 300.0  # seconds for everything: each step has its own, shorter limit
GRACE = 60.0  # seconds to clean up after that


def main() -> int:
    """Run the demo; its exit status: 0 shown, 1 failed, 130 interrupted."""
    parser = argparse.ArgumentParser(prog="make demo", description="A real guest, driven through RabbitMQ.")
    parser.add_argument("--in-process", action="store_true",
                        help="show what works without a broker, even where there is one")
    in_process: bool = parser.parse_args().in_process
    screen = Screen()
    screen.title("virtbus demo", "a real Linux guest, driven through RabbitMQ by libvirt's API")
    if not in_process:
        try:
            with screen.step("the guest's kernel and file system", limit=600) as step:
                image = guest_image(screen.note)
                step.detail = image.kernel.parent.name
        except (GuestError, OSError, KeyboardInterrupt) as error:
            return screen.failure(error)
    folder = Path(tempfile.mkdtemp(prefix="virtbus-demo-"))
    try:
        return run_story(screen, folder, in_process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_story(screen: Screen, folder: Path, in_process: bool) -> int:
    """Run the story as a process of its own and pass on signals; its exit status."""
    story = [sys.executable, "-m", "deploy.demo.story", str(folder)]
    if in_process:
        command = [*story, "in-process"]
    elif (private := isolated([*story, "network"])) is not None:
        command = private
    else:
        screen.warn("No private network can be made here: it takes root, or user namespaces and /dev/net/tun.")
        screen.warn("This machine's own network is left alone: no virtual network, no interface in the guest, no ping.")
        command = [*story, "no-network"]
    # The private broker makes its folder where TMPDIR says: inside ours, it goes with ours.
    child = subprocess.Popen(command, env={**os.environ, "TMPDIR": str(folder)}, start_new_session=True)

    def pass_on(_number: int, _frame: FrameType | None) -> None:
        os.killpg(child.pid, signal.SIGTERM)

    # The story has a session of its own, so that a Ctrl-C reaches it once and through here, like any other signal.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, pass_on)
    try:
        return child.wait(LIMIT)
    except subprocess.TimeoutExpired:
        screen.failure(TimeoutError(f"the demo did not end within {LIMIT:.0f} s"))
        os.killpg(child.pid, signal.SIGTERM)
    try:
        child.wait(GRACE)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    return 1


if __name__ == "__main__":
    sys.exit(main())
