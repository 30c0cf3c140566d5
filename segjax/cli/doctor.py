"""`segjax doctor`: what a call needs, whether it is here, and the line that mends it."""

import importlib.metadata
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from segjax.errors import SegjaxError

LOAD = "sudo modprobe v4l2loopback exclusive_caps=1 card_label=segjax"
"""Linux: makes a virtual camera, which Chrome lists only with `exclusive_caps=1`."""

DRIVER = 580
"""The oldest NVIDIA driver for CUDA 13."""

LIMIT_S = 20.0
"""A program that is asked takes no longer."""


@dataclass(frozen=True)
class Options:
    """Check what a call needs: cameras, the virtual camera, the display, the GPU, the weights.

    Each camera is opened for a moment. Nothing is changed or sent: each problem comes with the line
    that mends it, for you to run. Exit code 1 if there is one.

    Examples:
      segjax doctor
      segjax doctor --no-cameras          # leaves the cameras alone, as during a call
    """

    cameras: bool = True
    """Open each camera for a moment."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    said: what was found, in words. remedy: the command that mends it, or what to do; empty where
      nothing is wrong. optional: `segjax serve` runs without it, too.
    """

    about: str
    said: str
    remedy: str = ""
    optional: bool = False

    def __str__(self) -> str:
        mark = "ok" if not self.remedy else "--" if self.optional else "!!"
        return f"{mark}  {self.about}: {self.said}" + (f"\n      {self.remedy}" * bool(self.remedy))


class Machine:
    """What the checks ask of a computer; tests answer in its place.

    Methods that try something return "" if it worked, and else why not.
    """

    system = sys.platform

    def read(self, path: str) -> str:
        """A file's text; empty if it is not there."""
        try:
            return Path(path).read_text(errors="replace").strip()
        except OSError:
            return ""

    def exists(self, path: str) -> bool:
        return Path(path).expanduser().exists()

    def ask(self, *command: str) -> tuple[int, str]:
        """A program's exit code, 127 if there is none, and what it printed."""
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
        except (OSError, subprocess.TimeoutExpired) as error:
            return 127, str(error)
        return done.returncode, (done.stdout + done.stderr).strip()

    def version(self, package: str) -> str:
        """Of an installed package; empty if it is not."""
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return ""

    def wanted(self, package: str) -> str:
        """The range of versions that segjax asks for."""
        try:
            listed = importlib.metadata.requires("segjax") or []
        except importlib.metadata.PackageNotFoundError:  # run from the source alone
            return ""
        found = (re.match(rf"{package}(?:\[\w+\])?\s*([<>=!~][^;]*)", line) for line in listed)
        return next((match[1].strip() for match in found if match), "")

    def cameras(self) -> dict[int, str]:
        from segjax.live.cameras import list_cameras

        return list_cameras()

    def try_camera(self, index: int) -> str:
        from segjax.live.cameras import Camera

        try:
            with Camera(str(index), say=lambda _: None):
                return ""
        except SegjaxError as error:
            return str(error)

    def try_virtual_camera(self) -> str:
        from segjax.live.virtual_camera import VirtualCamera

        try:
            with VirtualCamera((720, 1280), 30):
                return ""
        except SegjaxError as error:
            return str(error)

    def try_display(self) -> str:
        from segjax.live.window import check_display

        try:
            check_display()
        except SegjaxError as error:
            return str(error)
        return ""

    def jax_device(self) -> tuple[str, str]:
        """platform and kind of what JAX computes on, or "" and why it computes on nothing."""
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        try:
            import jax

            device = jax.devices()[0]
        except Exception as error:
            return "", str(error).split("\n")[0]
        return device.platform, device.device_kind

    def has_native(self) -> bool:
        """Whether the C functions are built for this processor."""
        from segjax_kernels import cpu

        return cpu.available()

    def cache(self) -> Path | None:
        """The folder of compiled code; None if it cannot be made."""
        from segjax.compilation import use_cache

        return use_cache()

    def try_write(self, folder: Path) -> str:
        try:
            with tempfile.NamedTemporaryFile(dir=folder):
                return ""
        except OSError as error:
            return error.strerror or str(error)

    def try_weights(self) -> str:
        from segjax import weights

        try:
            weights.load("portrait")
        except Exception as error:  # a broken installation fails in many ways
            return str(error).split("\n")[0]
        return ""


def main(options: Options) -> None:
    """Prints what was found, each as it is; exits with 1 if something must be mended."""
    problems = 0
    for finding in examine(Machine(), cameras=options.cameras):
        print(finding, flush=True)
        problems += bool(finding.remedy) and not finding.optional
    if problems:
        print(f"\n{problems} to mend", file=sys.stderr)
        sys.exit(1)


def examine(machine: Machine, *, cameras: bool = True) -> Iterator[Finding]:
    """All findings."""
    if cameras:
        yield from check_cameras(machine)
    yield from check_virtual_camera(machine)
    yield from check_display(machine)
    yield from check_gpu(machine)
    yield from check_native(machine)
    yield from check_cache(machine)
    yield from check_weights(machine)


def check_cameras(machine: Machine) -> Iterator[Finding]:
    """Whether there is a camera that gives pictures to us."""
    cameras = machine.cameras()
    real = {i: name for i, name in cameras.items() if not _is_virtual(machine, i, name)}
    if not real:
        plug = "plug one in; until then: segjax serve --source sample"
        yield Finding("camera", "there is none", plug)
    for index, name in real.items():
        about = f"camera {index} ({name})"
        refusal = machine.try_camera(index)
        if not refusal:
            yield Finding(about, "gives pictures")
        elif "permission" in refusal and machine.system == "linux":
            said = "may not be read by you; cameras belong to the group 'video'"
            yield Finding(about, said, "sudo usermod -aG video $USER    # then log in again")
        elif machine.system == "linux":
            said = f"gives no picture: {refusal}"
            yield Finding(
                about, said, f"fuser -v /dev/video{index}    # names who holds it: end it"
            )
        elif machine.system == "darwin":
            said = f"gives no picture: {refusal}"
            page = "x-apple.systempreferences:com.apple.preference.security?Privacy_Camera"
            yield Finding(about, said, f'open "{page}"    # switch your terminal on')
        else:
            said = f"gives no picture: {refusal}"
            remedy = "start ms-settings:privacy-webcam    # let desktop apps access the camera"
            yield Finding(about, said, remedy)


def _is_virtual(machine: Machine, index: int, name: str) -> bool:
    device = machine.read(f"/sys/class/video4linux/video{index}/device/modalias")
    loopback = machine.exists(f"/sys/devices/virtual/video4linux/video{index}")
    return loopback or "v4l2loopback" in device or "OBS Virtual Camera" in name


def check_virtual_camera(machine: Machine) -> Iterator[Finding]:
    """What stands between us and a camera that Zoom, Meet and Teams list."""
    about = "virtual camera"
    if not machine.version("pyvirtualcam"):
        install = "pip install 'segjax[camera]'"
        yield Finding(about, "the package pyvirtualcam is missing", install, optional=True)
    checks = {"linux": _check_loopback, "darwin": _check_macos, "win32": _check_windows}
    check = checks.get(machine.system)
    if check is None:
        yield Finding(about, f"pyvirtualcam knows none on {machine.system}")
        return
    found = check(machine)
    if found is None and machine.version("pyvirtualcam"):
        refusal = machine.try_virtual_camera()
        found = _refused(machine, refusal) if refusal else None
        if not refusal:
            yield Finding(about, "can be written to: segjax serve --sink virtual-camera")
    if found is not None:
        yield Finding(about, *found, optional=True)


def _check_loopback(machine: Machine) -> tuple[str, str] | None:
    """What is wrong with v4l2loopback on Linux, and the remedy."""
    module = "/sys/module/v4l2loopback"
    if machine.exists(module):
        granted = machine.read(f"{module}/parameters/exclusive_caps")
        if granted.split(",")[0] in ("N", "0"):
            said = "v4l2loopback is loaded without exclusive_caps=1: Chrome and Meet do not list it"
            return said, f"sudo modprobe -r v4l2loopback && {LOAD}"
        return None
    if machine.ask("modinfo", "v4l2loopback")[0] != 0:
        return "the kernel module v4l2loopback is not installed", _install_loopback(machine)
    if "SecureBoot enabled" in machine.ask("mokutil", "--sb-state")[1]:
        for key in ("/var/lib/dkms/mok.pub", "/var/lib/shim-signed/mok/MOK.der"):
            if (
                machine.exists(key)
                and "is not enrolled" in machine.ask("mokutil", "--test-key", key)[1]
            ):
                said = f"Secure Boot refuses v4l2loopback, whose key {key} it does not know"
                remedy = f"sudo mokutil --import {key}    # then restart, and choose Enroll MOK"
                return said, remedy
    return "the kernel module v4l2loopback is installed but not loaded", LOAD


def _install_loopback(machine: Machine) -> str:
    system = machine.read("/etc/os-release")
    families = set(
        re.findall(r"[\w.-]+", " ".join(re.findall(r"^ID(?:_LIKE)?=(.*)$", system, re.M)))
    )
    if families & {"fedora", "rhel"}:
        return f"sudo dnf install akmod-v4l2loopback && {LOAD}    # from RPM Fusion"
    if "arch" in families:
        return f"sudo pacman -S v4l2loopback-dkms && {LOAD}"
    if "suse" in families or "opensuse" in families:
        return f"sudo zypper install v4l2loopback-kmp-default && {LOAD}"
    return f"sudo apt install v4l2loopback-dkms && {LOAD}"


def _check_macos(machine: Machine) -> tuple[str, str] | None:
    if not machine.exists("/Applications/OBS.app"):
        return "OBS is not installed, whose virtual camera is used", "brew install --cask obs"
    _, listed = machine.ask("systemextensionsctl", "list")
    line = next((each for each in listed.splitlines() if "mac-camera-extension" in each), "")
    if "activated waiting for user" in line:
        page = "x-apple.systempreferences:com.apple.LoginItems-Settings.extension"
        return (
            "OBS's camera extension is not approved",
            f'open "{page}"    # Camera Extensions: switch OBS on (before macOS 15: Privacy & '
            "Security, Allow)",
        )
    if "activated enabled" not in line:
        return (
            "OBS's camera extension is not installed",
            "open -a OBS    # press Start Virtual Camera, then Stop, then quit OBS",
        )
    return None


def _check_windows(machine: Machine) -> tuple[str, str] | None:
    if machine.exists(r"C:\Program Files\obs-studio"):
        return None
    install = "winget install -e --id OBSProject.OBSStudio"
    return "OBS is not installed, whose virtual camera is used", install


def _refused(machine: Machine, refusal: str) -> tuple[str, str]:
    """A virtual camera that is there, but cannot be opened."""
    if machine.system == "linux":
        if "permission" in refusal:
            return (
                "may not be written by you; cameras belong to the group 'video'",
                "sudo usermod -aG video $USER    # then log in again",
            )
        return (
            f"cannot be opened: {refusal}",
            "fuser -v /dev/video*    # names who holds it: end it",
        )
    if re.search("not found|not installed|No camera registered", refusal):
        remedy = "start OBS, press Start Virtual Camera, then Stop; restart if it is still missing"
        return "OBS is there, but its virtual camera is not registered", remedy
    return (
        f"OBS's virtual camera is in use: {refusal}",
        "press Stop Virtual Camera in OBS, or quit OBS",
    )


def check_display(machine: Machine) -> Iterator[Finding]:
    """Whether OpenCV can show a window."""
    refusal = machine.try_display()
    if not refusal:
        yield Finding("window", "OpenCV can show one")
        return
    if "headless" in refusal:
        remedy = (
            "pip uninstall -y opencv-python-headless && pip install --force-reinstall opencv-python"
        )
    else:
        remedy = "segjax serve --source browser    # shows the picture on a page instead"
    yield Finding("window", refusal.split(";")[0], remedy, optional=True)


def check_gpu(machine: Machine) -> Iterator[Finding]:
    """Which device computes, and whether the versions behind it fit together."""
    platform, kind = machine.jax_device()
    if not platform:
        remedy = "pip install --force-reinstall jax jaxlib"
        yield Finding("device", f"JAX finds nothing to compute on ({kind})", remedy)
        return
    versions = ", ".join(
        f"{name} {machine.version(name)}"
        for name in ("jax", "jaxlib", "jax-cuda13-plugin", "jax-cuda12-plugin", "triton")
        if machine.version(name)
    )
    code, listed = machine.ask(
        "nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"
    )
    name, _, driver = (listed.splitlines()[0] if code == 0 and listed else "").rpartition(", ")
    install = "pip install 'segjax[gpu]'"
    if platform == "cpu" and driver:
        if int(driver.partition(".")[0]) < DRIVER and machine.version("jax-cuda13-plugin"):
            said = f"{name} has driver {driver}, and CUDA 13 needs {DRIVER} or newer"
            yield Finding("device", said, "sudo ubuntu-drivers install    # or nvidia.com/drivers")
        else:
            yield Finding("device", f"{name} is here, but JAX uses the CPU ({versions})", install)
        return
    yield Finding("device", f"{'the CPU' if platform == 'cpu' else kind} ({versions})")
    if platform not in ("gpu", "cuda"):
        return
    triton, wanted = machine.version("triton"), machine.wanted("triton")
    if not triton or not machine.version("jax-triton"):
        said = "missing: the slower kernels are used"
        yield Finding("Triton", said, install, optional=True)
    elif wanted.startswith("==") and triton != wanted[2:]:
        said = f"{triton} does not fit this jax-triton, which needs {wanted[2:]}"
        yield Finding("Triton", said, f"pip install triton{wanted}")
    else:
        yield Finding("Triton", triton)


def check_native(machine: Machine) -> Iterator[Finding]:
    """Whether a processor does a frame's work in C."""
    about = "C functions"
    if machine.has_native():
        yield Finding(about, "built for this processor")
    else:
        said = "not built; a processor takes a third to a half longer for a frame without them"
        remedy = "python -m segjax_kernels.cpu.build    # needs a C compiler"
        yield Finding(about, said, remedy, optional=True)


def check_cache(machine: Machine) -> Iterator[Finding]:
    """Whether compiled code can be kept, without which every start takes as long as the first."""
    if os.environ.get("SEGJAX_CACHE") == "off":
        said = "switched off by SEGJAX_CACHE: every start compiles anew"
        yield Finding("compile cache", said, "unset SEGJAX_CACHE", optional=True)
        return
    folder = machine.cache()
    refusal = machine.try_write(folder) if folder else "it cannot be made"
    if refusal:
        where = folder or "~/.cache/segjax/xla"
        said = f"{where} cannot be written ({refusal}): every start compiles anew"
        remedy = "mkdir -p ~/.cache/segjax && sudo chown -R $USER ~/.cache/segjax"
        yield Finding("compile cache", said, remedy, optional=True)
    else:
        yield Finding("compile cache", f"{folder}")


def check_weights(machine: Machine) -> Iterator[Finding]:
    """Whether the network that comes with segjax loads."""
    refusal = machine.try_weights()
    if refusal:
        remedy = "pip install --force-reinstall --no-deps segjax"
        yield Finding("weights", f"portrait does not load ({refusal})", remedy)
    else:
        yield Finding("weights", "portrait loads")
