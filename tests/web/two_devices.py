"""A browser on another device than the server: two network namespaces and a cable between them.

unshare --net --map-root-user python two_devices.py FOLDER CHROMIUM
"""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

from test_web_serve import visit

HERE, THERE = "10.77.0.1", "10.77.0.2"


def other_device() -> subprocess.Popen:
    """A process with a network of its own."""
    child = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
    while Path(f"/proc/{child.pid}/ns/net").readlink() == Path("/proc/self/ns/net").readlink():
        time.sleep(0.01)
    return child


def join(child: subprocess.Popen) -> None:
    """Puts a cable between this device and the other."""

    def ip(*words: str, on: list[str]) -> None:
        subprocess.run([*on, "ip", *words], check=True)

    here, there = [], ["nsenter", "--net", "--target", str(child.pid)]
    ip("link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", there[-1], on=here)
    for on, address in ((here, HERE), (there, THERE)):
        ip("link", "set", "lo", "up", on=on)
        ip("address", "add", f"{address}/24", "dev", "cable", on=on)
        ip("link", "set", "cable", "up", on=on)


def main(folder: Path, chromium: str) -> None:
    """Serves here, and visits from there."""
    serve = [sys.executable, "-m", "segjax", "serve", "--source", "browser", "--port", "0"]
    # The certificate goes to a home of its own; what was compiled stays where it is.
    (folder / ".cache").symlink_to(Path.home() / ".cache")
    env = os.environ | {"HOME": str(folder)}
    with contextlib.ExitStack() as stack:
        child = other_device()
        stack.callback(child.kill)
        join(child)
        server = subprocess.Popen(
            [*serve, "--host", HERE], env=env, stdout=subprocess.PIPE, text=True
        )
        stack.callback(server.wait)
        stack.callback(server.terminate)
        assert server.stdout
        address = server.stdout.readline().strip()
        assert address.startswith(f"https://{HERE}:"), address
        there = ["nsenter", "--net", "--target", str(child.pid)]
        subprocess.run([*there, sys.executable, __file__, address, folder, chromium], check=True)


if __name__ == "__main__":
    if len(sys.argv) == 4:
        address, folder, chromium = sys.argv[1:]
        visit(address, Path(folder), chromium, what="#returned")
        print("the person came back by WebRTC")
    else:
        main(Path(sys.argv[1]), sys.argv[2])
