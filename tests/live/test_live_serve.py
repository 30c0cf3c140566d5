"""`segjax serve` from its command line, with a step of NumPy in the model's place."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from live_fakes import FakeMatting, folder_contents, make_video

from segjax import cli
from segjax.cli import serve
from segjax.images import read_image, write_image
from segjax.live.backgrounds import Background
from segjax.live.videos import VideoFile

Serve = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Serve:
    """Runs the command: exit code, stdout, stderr."""

    def load_matting(options: serve.Options, background: Background) -> FakeMatting:
        if options.model == "failing":
            return FakeMatting(lambda good: replace(good, alpha=good.alpha * np.nan))
        return FakeMatting(transparent=background.kind == "transparent")

    monkeypatch.setattr(serve, "load_matting", load_matting)
    monkeypatch.setattr(serve, "device_name", lambda: "abacus")

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            cli.run("serve", [str(argument) for argument in arguments], prog="serve.py")
        said = capfd.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def test_a_video_to_two_sinks_with_a_report(run: Serve, tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4", audio="aac")
    out, pngs, report = tmp_path / "out.mp4", tmp_path / "pngs", tmp_path / "report.json"
    code, said, _ = run(
        "--source", source, "--background", "#102030", "--sink", out, "--sink", pngs,
        "--report", report, "--max-frames", 12,
    )  # fmt: skip
    assert code == 0
    assert re.match(r"12 frames at [\d.]+ fps on abacus, 0 dropped, 0 covered\n", said)
    assert "end to end" in said
    assert len(list(VideoFile(out))) == 12 and VideoFile(out).audio
    assert folder_contents(pngs) == [f"{number:06d}.png" for number in range(12)]
    values = json.loads(report.read_text())
    assert {"device", "frames", "dropped", "fps", "stages"} <= set(values)
    assert (values["device"], values["frames"], values["dropped"]) == ("abacus", 12, 0)
    assert set(values["stages"]["end_to_end"]) == {"p50_ms", "p95_ms", "p99_ms"}


def test_transparent_pngs_of_one_picture(run: Serve, tmp_path: Path) -> None:
    write_image(tmp_path / "me.png", np.full((21, 33, 3), 90, np.uint8))
    out = tmp_path / "out"
    code, *_ = run("--source", tmp_path / "me.png", "--background", "transparent", "--sink", out)
    assert code == 0
    laid_over_white = read_image(out / "000000.png")
    assert (laid_over_white[:, :16] == 90).all() and (laid_over_white[:, 16:] == 255).all()


def test_the_sample_ends_by_itself(
    run: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "SAMPLE_FRAMES", 5)
    report = tmp_path / "r.json"
    assert run("--source", "sample", "--sink", "null", "--report", report)[0] == 0
    assert json.loads(report.read_text())["frames"] == 5


def test_a_run_that_was_covered_throughout_fails(run: Serve, tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4")
    code, _, errors = run("--source", source, "--sink", "null", "--model", "failing")
    assert code == 2
    assert errors.splitlines()[-1] == (
        "error: all 20 frames were covered (mask values); see above for why"
    )


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--source", "missing.mp4"], "missing.mp4 does not exist"),
        (["--source", "text.mp4"], "text.mp4 is not a video that can be read"),
        (["--source", "cut.mp4"], "cut.mp4 is cut short"),
        (["--source", "empty.png"], "empty.png is empty"),
        (["--source", "one.png"], "one.png is 1x1 pixels"),
        (["--source", "folder"], "the folder folder holds no pictures"),
        (["--source", "in.mp4", "--background", "blur:9"], "the strength of the blur"),
        (["--source", "in.mp4", "--plate", "missing.png"], "missing.png does not exist"),
        (["--source", "in.mp4", "--plate", "tall.png"], "tall.png is 20x64 pixels and the source"),
        (["--source", "in.mp4", "--plate", "text.mp4"], "is not a picture that can be decoded"),
        (["--source", "in.mp4", "--overlay", "one.png"], "one.png has no transparent part"),
        (["--source", "in.mp4", "--edge-softness", "1.5"], "got --edge-softness 1.5; it is a numb"),
        (["--source", "in.mp4", "--edge-softness", "nan"], "got --edge-softness nan"),
        (["--source", "in.mp4", "--background", "nothing.jpg"], "no such file exists"),
        (["--source", "in.mp4", "--sink", "out.gif"], "the sink out.gif ends in '.gif'"),
        (["--source", "in.mp4", "--sink", "in.mp4"], "is the source and a sink"),
        (
            ["--source", "in.mp4", "--sink", "out.mp4", "--background", "transparent"],
            "out.mp4 cannot hold transparency",
        ),
        (["--source", "in.mp4", "--sink", "null", "--max-frames", "0"], "has at least 1"),
        (["--source", "in.mp4", "--sink", "null", "--cpu-share", "50"], "got --cpu-share 50"),
        (["--source", "in.mp4", "--sink", "null", "--camera-rate", "0"], "got --camera-rate 0; it"),
        (["--source", "in.mp4", "--sink", "null", "--camera-rate", "nan"], "from 1 to 240; give"),
        (["--source", "in.mp4", "--sink", "page", "--port", "99999"], "got --port 99999; ports go"),
        (["--source", "browser", "--port", "-1"], "got --port -1; ports go from 0, which takes"),
        (["--source", "in.mp4", "--camera-size", "big"], "got --camera-size 'big'"),
        (["--source", "in.mp4", "--sink", "text.mp4/out.mp4"], "cannot write text.mp4/out.mp4"),
        (
            ["--source", "in.mp4", "--sink", "null", "--report", "text.mp4/r.json"],
            "cannot write text.mp4/r.json",
        ),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    run: Serve,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    line: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    whole = make_video(tmp_path / "in.mp4")
    (tmp_path / "cut.mp4").write_bytes(whole.read_bytes()[:-200])
    (tmp_path / "text.mp4").write_text("text")
    (tmp_path / "empty.png").touch()
    (tmp_path / "folder").mkdir()
    write_image(tmp_path / "tall.png", np.zeros((64, 20, 3), np.uint8))
    write_image(tmp_path / "one.png", np.zeros((1, 1, 3), np.uint8))
    before = folder_contents(tmp_path)
    code, _, errors = run(*arguments)
    assert code == 2
    last = errors.splitlines()[-1]
    assert last.startswith("error: ") and line in last
    assert errors.count("error: ") == 1 and "Traceback" not in errors
    assert folder_contents(tmp_path) == before


def test_cameras_are_listed(run: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "list_cameras", lambda: {0: "Webcam", 3: "Other"})
    code, said, _ = run("--source", "list")
    assert (code, said) == (0, "0  Webcam\n3  Other\n")
    monkeypatch.setattr(serve, "list_cameras", dict)
    assert run("--source", "list")[1] == "no camera found\n"


def test_help_has_examples(run: Serve) -> None:
    code, said, _ = run("--help")
    assert code == 0
    assert "segjax serve --source talk.mp4 --background transparent" in said
    for option in ("--source", "--background", "--sink", "--model", "--max-frames", "--report"):
        assert option in said
