"""`segjax doctor`: each diagnosis, on machines that answer as such machines do."""

import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from segjax import cli
from segjax.cli import doctor
from segjax.cli.doctor import Finding, Machine, examine

SMI = ("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
LOOPBACK = "/sys/module/v4l2loopback"
CAPS = f"{LOOPBACK}/parameters/exclusive_caps"


@dataclass
class Fake(Machine):
    """A computer on which all is well, but for what a test says."""

    system: str = "linux"
    files: dict[str, str] = field(default_factory=lambda: {LOOPBACK: "", CAPS: "Y,N"})
    programs: dict[tuple[str, ...], tuple[int, str]] = field(default_factory=dict)
    packages: dict[str, str] = field(default_factory=dict)
    found: dict[int, str] = field(default_factory=lambda: {0: "Webcam"})
    camera: str = ""
    virtual: str = ""
    display: str = ""
    device: tuple[str, str] = ("cpu", "cpu")
    folder: Path | None = Path("/cache")
    write: str = ""
    weights: str = ""
    native: bool = True

    def read(self, path: str) -> str:
        return self.files.get(path, "")

    def exists(self, path: str) -> bool:
        return path in self.files

    def ask(self, *command: str) -> tuple[int, str]:
        return self.programs.get(command, (127, "no such program"))

    def version(self, package: str) -> str:
        return ({"jax": "0.10.2", "pyvirtualcam": "0.15.0"} | self.packages).get(package, "")

    def wanted(self, package: str) -> str:
        return "==3.6.0"

    def cameras(self) -> dict[int, str]:
        return self.found

    def try_camera(self, index: int) -> str:
        return self.camera

    def try_virtual_camera(self) -> str:
        return self.virtual

    def try_display(self) -> str:
        return self.display

    def jax_device(self) -> tuple[str, str]:
        return self.device

    def has_native(self) -> bool:
        return self.native

    def cache(self) -> Path | None:
        return self.folder

    def try_write(self, folder: Path) -> str:
        return self.write

    def try_weights(self) -> str:
        return self.weights


def wrong(machine: Machine) -> Finding:
    """The one thing that is wrong."""
    (finding,) = (finding for finding in examine(machine) if finding.remedy)
    return finding


def test_a_machine_on_which_all_is_well() -> None:
    findings = list(examine(Fake()))
    assert not [finding for finding in findings if finding.remedy]
    assert {finding.about for finding in findings} == {
        "camera 0 (Webcam)", "virtual camera", "window", "device", "C functions", "compile cache",
        "weights",
    }  # fmt: skip


def obs(**files: str) -> dict[str, str]:
    return {"/Applications/OBS.app": "", **files}


EXTENSION = "* * 2MMRE5MTB8 com.obsproject.obs-studio.mac-camera-extension (30.0/1) - "
ENABLED = (0, EXTENSION + "[activated enabled]")
LIST = ("systemextensionsctl", "list")
MOK = "/var/lib/dkms/mok.pub"
MODINFO = ("modinfo", "v4l2loopback")
SECURE = ("mokutil", "--sb-state")
CUDA = ("gpu", "NVIDIA L4")
GPU_PACKAGES = {"triton": "3.6.0", "jax-triton": "0.3.1", "jax-cuda13-plugin": "0.10.2"}


@pytest.mark.parametrize(
    ("machine", "about", "said", "remedy"),
    [
        (Fake(found={}), "camera", "there is none", "plug one in"),
        (
            Fake(camera="no permission to read camera 0"),
            "camera 0", "may not be read by you", "sudo usermod -aG video $USER",
        ),
        (Fake(camera="it is busy"), "camera 0", "it is busy", "fuser -v /dev/video0"),
        (
            Fake(system="darwin", files=obs(), programs={LIST: ENABLED},
                 camera="no picture"),
            "camera 0", "no picture", "Privacy_Camera",
        ),
        (
            Fake(system="win32", files={r"C:\Program Files\obs-studio": ""}, camera="no picture"),
            "camera 0", "no picture", "start ms-settings:privacy-webcam",
        ),
        (
            Fake(packages={"pyvirtualcam": ""}),
            "virtual camera", "pyvirtualcam is missing", "pip install 'segjax[camera]'",
        ),
        (
            Fake(files={LOOPBACK: "", CAPS: "N,N,N"}),
            "virtual camera", "without exclusive_caps=1",
            "sudo modprobe -r v4l2loopback && sudo modprobe v4l2loopback exclusive_caps=1",
        ),
        (
            Fake(files={"/etc/os-release": 'NAME="Ubuntu"\nID=ubuntu\nID_LIKE=debian'}),
            "virtual camera", "not installed", "sudo apt install v4l2loopback-dkms &&",
        ),
        (
            Fake(files={"/etc/os-release": "ID=nobara\nID_LIKE=\"rhel centos fedora\""}),
            "virtual camera", "not installed", "sudo dnf install akmod-v4l2loopback",
        ),
        (
            Fake(files={"/etc/os-release": "ID=arch"}),
            "virtual camera", "not installed", "sudo pacman -S v4l2loopback-dkms",
        ),
        (
            Fake(files={"/etc/os-release": 'ID="opensuse-leap"\nID_LIKE="suse opensuse"'}),
            "virtual camera", "not installed", "sudo zypper install",
        ),
        (
            Fake(files={}, programs={MODINFO: (0, "")}),
            "virtual camera", "installed but not loaded", doctor.LOAD,
        ),
        (
            Fake(
                files={MOK: ""},
                programs={
                    MODINFO: (0, ""), SECURE: (0, "SecureBoot enabled"),
                    ("mokutil", "--test-key", MOK): (0, f"{MOK} is not enrolled"),
                },
            ),
            "virtual camera", "Secure Boot refuses", f"sudo mokutil --import {MOK}",
        ),
        (
            Fake(
                files={MOK: ""},
                programs={
                    MODINFO: (0, ""), SECURE: (0, "SecureBoot enabled"),
                    ("mokutil", "--test-key", MOK): (1, f"{MOK} is already enrolled"),
                },
            ),
            "virtual camera", "installed but not loaded", doctor.LOAD,
        ),
        (
            Fake(virtual="device could not be opened due to missing permissions"),
            "virtual camera", "may not be written by you", "sudo usermod -aG video $USER",
        ),
        (
            Fake(virtual="Device or resource busy"),
            "virtual camera", "Device or resource busy", "fuser -v /dev/video*",
        ),
        (
            Fake(system="darwin", files={}),
            "virtual camera", "OBS is not installed", "brew install --cask obs",
        ),
        (
            Fake(system="darwin", files=obs(), programs={LIST: (0, "0 extension(s)")}),
            "virtual camera", "extension is not installed", "open -a OBS",
        ),
        (
            Fake(system="darwin", files=obs(),
                 programs={LIST: (0, EXTENSION + "[activated waiting for user]")}),
            "virtual camera", "extension is not approved", "Camera Extensions: switch OBS on",
        ),
        (
            Fake(system="darwin", files=obs(), programs={LIST: ENABLED},
                 virtual="virtual camera output could not be started"),
            "virtual camera", "is in use", "press Stop Virtual Camera in OBS",
        ),
        (
            Fake(system="win32", files={}),
            "virtual camera", "OBS is not installed", "winget install -e --id OBSProject.OBSStudio",
        ),
        (
            Fake(system="win32", files={r"C:\Program Files\obs-studio": ""},
                 virtual="OBS Virtual Camera device not found! Did you install OBS?"),
            "virtual camera", "not registered", "start OBS, press Start Virtual Camera",
        ),
        (
            Fake(display="this OpenCV shows no windows (opencv-python-headless); a window …"),
            "window", "shows no windows", "pip install --force-reinstall opencv-python",
        ),
        (
            Fake(display="there is no display that a window can open on; give --sink"),
            "window", "there is no display", "segjax serve --source browser",
        ),
        (
            Fake(device=("", "Unable to initialize backend")),
            "device", "finds nothing to compute on", "pip install --force-reinstall jax jaxlib",
        ),
        (
            Fake(programs={SMI: (0, "NVIDIA L4, 580.65.06")}),
            "device", "NVIDIA L4 is here, but JAX uses the CPU", "pip install 'segjax[gpu]'",
        ),
        (
            Fake(programs={SMI: (0, "NVIDIA L4, 535.183.01")}, packages=GPU_PACKAGES),
            "device", "has driver 535.183.01, and CUDA 13 needs 580", "sudo ubuntu-drivers install",
        ),
        (Fake(device=CUDA), "Triton", "missing", "pip install 'segjax[gpu]'"),
        (
            Fake(device=CUDA, packages=GPU_PACKAGES | {"triton": "3.7.0"}),
            "Triton", "3.7.0 does not fit", "pip install triton==3.6.0",
        ),
        (Fake(folder=None), "compile cache", "cannot be made", "mkdir -p ~/.cache/segjax"),
        (
            Fake(write="Read-only file system"),
            "compile cache", "Read-only file system", "sudo chown -R $USER ~/.cache/segjax",
        ),
        (
            Fake(native=False),
            "C functions", "not built", "python -m segjax_kernels.cpu.build",
        ),
        (
            Fake(weights="portrait.safetensors is empty"),
            "weights", "is empty", "pip install --force-reinstall --no-deps segjax",
        ),
    ],
)  # fmt: skip
def test_each_diagnosis_has_its_remedy(machine: Fake, about: str, said: str, remedy: str) -> None:
    finding = wrong(machine)
    assert finding.about.startswith(about)
    assert said in finding.said and remedy in finding.remedy
    assert "\n" not in finding.said + finding.remedy


def test_a_cache_that_is_switched_off_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGJAX_CACHE", "off")
    assert wrong(Fake()).remedy == "unset SEGJAX_CACHE"


def test_a_gpu_that_is_used_is_named_with_its_versions() -> None:
    findings = {f.about: f for f in examine(Fake(device=CUDA, packages=GPU_PACKAGES))}
    assert findings["device"].said == (
        "NVIDIA L4 (jax 0.10.2, jax-cuda13-plugin 0.10.2, triton 3.6.0)"
    )
    assert findings["Triton"].said == "3.6.0"


def test_a_virtual_camera_is_not_taken_for_a_real_one() -> None:
    machine = Fake(found={0: "OBS Virtual Camera", 9: "segjax"}, camera="is only written to")
    machine.files["/sys/devices/virtual/video4linux/video9"] = ""
    assert wrong(machine).said == "there is none"


def run(machine: Machine, monkeypatch: pytest.MonkeyPatch, *flags: str) -> object:
    monkeypatch.setattr(doctor, "Machine", lambda: machine)
    with pytest.raises(SystemExit) as ended:
        cli.main(["doctor", *flags])
    return ended.value.code


def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(Fake(display="no display"), monkeypatch) == 0
    out = capsys.readouterr().out
    assert "ok  camera 0 (Webcam): gives pictures\n" in out
    assert "--  window: no display\n      segjax serve --source browser" in out

    assert run(Fake(found={}), monkeypatch, "--no-cameras") == 0
    assert "camera 0" not in capsys.readouterr().out

    assert run(Fake(weights="gone"), monkeypatch) == 1
    said = capsys.readouterr()
    assert "!!  weights: portrait does not load (gone)\n      pip install" in said.out
    assert said.err == "\n1 to mend\n"


def test_this_machine_answers(tmp_path: Path) -> None:
    """The answers that the tests above stand in for, as far as any machine has them."""
    machine = Machine()
    (tmp_path / "file").write_text(" text\n")
    assert machine.read(str(tmp_path / "file")) == "text"
    assert machine.read(str(tmp_path / "none")) == ""
    assert machine.exists(str(tmp_path)) and not machine.exists(str(tmp_path / "none"))
    assert machine.ask(sys.executable, "-c", "print(7); raise SystemExit(3)") == (3, "7")
    assert machine.ask("segjax-no-such-program")[0] == 127
    assert machine.version("numpy") and not machine.version("segjax-no-such-package")
    assert machine.try_write(tmp_path) == ""
    assert machine.try_write(tmp_path / "none") == "No such file or directory"
    assert machine.try_weights() == ""
    assert machine.jax_device()[0]
