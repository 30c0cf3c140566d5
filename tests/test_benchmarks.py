"""The benchmarks' statistics on fake clocks, their figures on a golden report, and small runs.

Nothing here looks at how long anything took.
"""

import gzip
import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ROOT / "benchmarks"

# They are scripts that import each other, and no package.
sys.path.insert(0, str(SCRIPTS))
NAMES = ("bench", "figures", "harness", "profile_step")
bench, figures, harness, profile_step = (importlib.import_module(name) for name in NAMES)
sys.path.remove(str(SCRIPTS))

MACHINE = {
    "device": "Toy 9000, 2 cores",
    "driver": None,
    "system": "Linux toy",
    "python": "3.11.0",
    "versions": {"jax": "0.10.2"},
    "date": "2026-01-02",
}


class Clock:
    """Time passes only while a contender works or a pause is made."""

    def __init__(self) -> None:
        self.now = 0.0
        self.log: list[str] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def worker(self, name: str, *milliseconds: float, calls: int = 1) -> Any:
        took = iter(milliseconds)

        def run() -> None:
            self.log.append(name)
            self.now += next(took) / 1e3

        return harness.Turn(run, calls)


def take_turns(clock: Clock, group: dict[str, Any], **limits: float):
    return harness.take_turns(group, clock=clock, sleep=clock.sleep, **limits)


# --- harness --------------------------------------------------------------------------------------


def test_turns_alternate_and_the_warm_up_does_not_count() -> None:
    clock = Clock()
    warm = [1000.0] * harness.WARM_UP
    group = {
        "slow": clock.worker("slow", *warm, 10, 20, 30, 40, 50),
        "fast": clock.worker("fast", *warm, 8, 6, 4, 6, 6, calls=2),
    }
    spreads, failed = take_turns(clock, group, seconds=0, least=5)
    assert clock.log == ["slow", "fast"] * (harness.WARM_UP + 5) and not failed
    assert spreads["slow"] == pytest.approx((30, 18, 42, 5))
    assert spreads["fast"] == pytest.approx((3, 2.8, 3.2, 5))


@pytest.mark.parametrize(("seconds", "turns"), [(0, 5), (1, 11), (9, 20)])
def test_turns_go_on_for_some_seconds_between_a_least_and_a_most(
    seconds: float, turns: int
) -> None:
    clock = Clock()
    group = {"only": clock.worker("only", *[100.0 - 1e3 * harness.PAUSE_S] * 50)}
    spreads, _ = take_turns(clock, group, seconds=seconds, least=5, most=20)
    assert spreads["only"].turns == turns


def test_a_slow_one_sits_out_rounds_but_has_its_least_turns() -> None:
    clock = Clock()
    group = {
        "fast": clock.worker("fast", *[1.0] * 99),
        "slow": clock.worker("slow", *[12.0] * 99),
    }
    spreads, _ = take_turns(clock, group, seconds=0, least=5)
    assert (spreads["fast"].turns, spreads["slow"].turns) == (15, 5)
    assert clock.log[2 * harness.WARM_UP :][:5] == ["fast", "slow", "fast", "fast", "fast"]


def test_one_that_fails_is_left_out_and_told_by_name() -> None:
    def fail() -> None:
        raise RuntimeError("no such device\nat line 7")

    clock = Clock()
    group = {"broken": harness.Turn(fail), "whole": clock.worker("whole", *[1.0] * 10)}
    spreads, failed = take_turns(clock, group, seconds=0, least=5)
    assert set(spreads) == {"whole"}
    assert failed == {"broken": "RuntimeError: no such device"}


def test_buffers_of_a_rotation_outgrow_the_cache() -> None:
    assert harness.sets_needed(10, 100) == 40
    assert harness.sets_needed(7, 100) == 58
    assert harness.sets_needed(10**9, 100) == 2


def test_a_turn_goes_round_its_sets() -> None:
    seen = []
    turn = harness.going_round(lambda x, y: seen.append((x, y)), [(1, 2), (3, 4)])
    for _ in range(3):
        turn.run()
    assert seen == [(1, 2), (3, 4), (1, 2)]


@pytest.mark.parametrize(("on_gpu", "calls"), [(False, 1), (True, 3 * harness.SWEEPS)])
def test_a_turn_of_jax_compiles_once_and_hands_frames_on_in_place(
    on_gpu: bool, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harness, "on_gpu", lambda: on_gpu)
    traced = []

    def add(x, y):
        traced.append(x.shape)
        return x + y

    turn = harness.jax_turn(add, [(np.ones(2), np.ones(2))] * 3, in_place=True)
    for _ in range(4):
        turn.run()  # a frame that was given away is not given again
    assert len(traced) == (3 if on_gpu else 1) and turn.calls == calls


def test_drift_names_the_ratios_that_moved() -> None:
    apart = harness.drift({"a": 1.0, "b": 2.0, "old": 1.0}, {"a": 1.1, "b": 1.0, "new": 1.0})
    assert apart == pytest.approx({"b": 1.0, "a": 0.1})
    assert harness.verdict(apart).splitlines() == [
        "the machine was noisy: 1 of 2 ratios are more than 15% from the run before",
        "    100%  b",
    ]
    assert harness.verdict({"a": 0.1}) == "ratios agree with the run before: at most 10% apart"
    assert harness.verdict({}) == "no earlier run to compare with"


def test_reports_give_their_ratios_by_device() -> None:
    reports = {
        "kernels": {"machine": MACHINE, "ratios": {"blend": 0.5}},
        "compare_peers": {
            "1": {"step_ratio": 0.9, "blend_ratio_best_opencv": 0.6, "fastest_peer_step": "x"},
            "machine": {"cpu": "Toy"},
        },
        "step": {},
    }
    assert bench.all_ratios(reports) == {
        "Toy 9000, 2 cores, kernels: blend": 0.5,
        "Toy, compare_peers: 1 threads, step_ratio": 0.9,
        "Toy, compare_peers: 1 threads, blend_ratio_best_opencv": 0.6,
    }


def test_the_report_before_cannot_pass_for_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "kernels.json"
    assert bench.set_aside(path) == {}
    path.write_text('{"ratios": {}}')
    assert bench.set_aside(path) == {"ratios": {}}
    assert not path.exists() and (tmp_path / "kernels.before.json").exists()


def test_a_second_run_tells_whether_the_machine_was_quiet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ratios = iter([0.5, 0.55, 0.7])

    def run(name: str, options: Any) -> str | None:
        report = {"machine": MACHINE, "ratios": {"ours / theirs": next(ratios)}, "groups": []}
        (options.out / f"{name}.json").write_text(json.dumps(report))
        return None

    monkeypatch.setattr(bench, "run", run)
    monkeypatch.setattr(figures, "write", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["bench", f"--out={tmp_path}", "--only=kernels"])
    said = []
    for _ in range(3):
        with pytest.raises(SystemExit) as ended:
            bench.main()
        said.append(capsys.readouterr().out.splitlines()[0])
        assert not ended.value.code
    assert said == [
        "no earlier run to compare with",
        "ratios agree with the run before: at most 10% apart",
        "the machine was noisy: 1 of 1 ratios are more than 15% from the run before",
    ]


# --- figures --------------------------------------------------------------------------------------


def row(name: str, milliseconds: float, **more: object) -> dict[str, object]:
    spread = {"median_ms": milliseconds, "p20_ms": milliseconds, "p80_ms": 2 * milliseconds}
    return {"name": name, **spread, "turns": 9, **more}


def golden() -> dict[str, Any]:
    speeds = {"gb_s": 5.0, "copy_share": 0.5}
    blend = {"kernel": "blend", "variant": "picture", "case": "720p", "bytes": 8_000_000}
    kernels = {
        "machine": MACHINE,
        "skipped": {"PyTorch": "not installed"},
        "groups": [
            blend
            | {
                "copy_gb_s": 10.0,
                "rows": [
                    row("xla", 1.5, ours=True, **speeds),
                    row("reference", 9.0, ours=True, **speeds),
                    row("OpenCV", 3.0, ours=False, **speeds),
                ],
            }
        ],
    }
    events = {"hits": 30, "misses": 2}
    step = {
        "machine": MACHINE,
        "groups": [
            {
                "name": "step, picture, 720p",
                "rows": [
                    row("from NumPy to NumPy", 4.0, ours=True),
                    row("device-resident", 3.0, ours=True),
                    row("peer", 8.0, ours=False),
                ],
            }
        ],
        "streams": [
            {
                "effect": "blur",
                "batch": 2,
                "memory": "host",
                "streams_at_30": 9.7,
            }
        ],
        "launches": {"blur": {"CUDA graphs": 2.0, "kernels": 3.5}},
        "start": {
            "seconds": {"imports": 2.0, "warm": 3.0, "cold": 12.0},
            "warm_over_imports_s": 1.0,
            "cold_over_imports_s": 10.0,
            "cache_events": {"warm": events, "cold": events},
        },
        "memory": {"serve_host_mib": 700},
    }
    peers = {"1": {"step_ratio": 0.912}, "machine": {"cpu": "Toy"}}
    return {"kernels": kernels, "step": step, "compare_peers": peers}


def test_the_summary_compares_with_the_fastest_other() -> None:
    assert figures.summary(golden()).splitlines() == [
        "Toy 9000, 2 cores, 2026-01-02",
        "",
        "|  | ours, ms | fastest other | ratio |",
        "| --- | --- | --- | --- |",
        "| whole step at 720p, picture | 4 | peer, 8 | 0.50 |",
        "| `blend` at 720p | 1.5 | OpenCV, 3 | 0.50 |",
        "",
        "`segjax serve` with one frame takes 3.0 s from start to end, 12.0 s the first time on "
        "a machine; importing JAX, Flax and OpenCV alone takes 2.0 s.",
    ]


@pytest.mark.parametrize(
    "line",
    [
        "Linux toy, Python 3.11.0, jax 0.10.2",
        "| `blend`, picture | 720p | 1.5 (xla) | 5 | 50% | OpenCV 0.50; reference 0.17 |",
        "| step, picture, 720p | peer | 8 | 8–16 |",
        "| blur | 2 | host | 9.7 |",
        "A frame of blur launches 2 CUDA graphs, 3.5 kernels.",
        "| cold start | 12.00 | +10.00 | 30 hits, 2 misses |",
        "Memory at most: serve_host 700 MiB.",
        "| 1 | step_ratio | 0.91 |",
        "Skipped: PyTorch (not installed).",
    ],
)
def test_the_full_tables_hold_every_part(line: str) -> None:
    assert line in figures.full(golden()).splitlines()


def test_results_are_kept_and_documents_renewed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results, root = tmp_path / "out", tmp_path / "tree"
    results.mkdir()
    (root / "docs").mkdir(parents=True)
    for name, report in golden().items():
        (results / f"{name}.json").write_text(json.dumps(report))
    (root / "README.md").write_text(
        "a\n<!-- benchmarks: summary -->\nold\n<!-- /benchmarks -->\nb\n"
    )
    (root / "docs" / "benchmarks.md").write_text("nothing marked\n")
    pictures: list[Path] = []
    monkeypatch.setattr(figures, "draw", lambda _, path: pictures.append(path))
    monkeypatch.setattr(sys, "argv", ["figures", f"--results={results}", f"--root={root}"])
    figures.main()
    kept = root / "docs" / "benchmarks" / "toy-9000-2-cores.json"
    assert json.loads(kept.read_text()) == golden()
    lines = (root / "README.md").read_text().splitlines()
    assert lines[0] == "a" and lines[-1] == "b" and "old" not in lines
    assert "| `blend` at 720p | 1.5 | OpenCV, 3 | 0.50 |" in lines
    assert (root / "docs" / "benchmarks.md").read_text() == "nothing marked\n"
    assert [path.name for path in pictures] == ["roofline-toy-9000-2-cores.png"]


def test_the_picture_is_drawn(tmp_path: Path, needs) -> None:
    needs("matplotlib")
    figures.draw(golden(), tmp_path / "roofline.png")
    assert (tmp_path / "roofline.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("document", ["README.md", "docs/benchmarks.md"])
def test_the_tables_in_the_documentation_are_those_of_the_reports(document: str) -> None:
    reports = sorted((ROOT / "docs" / "benchmarks").glob("*.json"))
    text = (ROOT / document).read_text()
    assert figures.renewed(text, [json.loads(path.read_text()) for path in reports]) == text


# --- the trace ------------------------------------------------------------------------------------


def test_operations_of_a_program_know_their_stage(tmp_path: Path) -> None:
    program = """
      %fusion.3 = f32[8] fusion(%x), metadata={op_name="jit(step)/network/conv" source="a.py"}
      copy.1 = u8[8] copy(y), metadata={op_name="jit(step)/transpose"}
    """
    assert profile_step.stages_of(program) == {"fusion.3": "network", "copy.1": "other"}
    events = [
        profile_step.Event("network", "fusion.3", "gpu 7", 5_000.0, 2_000.0),
        profile_step.Event("blend", "kernel", "gpu 7", 8_000.0, 1_000.0),
    ]
    profile_step.write_trace(tmp_path / "step.trace.json.gz", events)
    trace = json.loads(gzip.decompress((tmp_path / "step.trace.json.gz").read_bytes()))
    first, second = trace["traceEvents"]
    assert (first["name"], first["ts"], first["dur"]) == ("network: fusion.3", 0, 2)
    assert (second["name"], second["ts"], second["tid"]) == ("blend: kernel", 3, "blend")


def test_graphs_and_kernels_that_a_frame_launches_are_counted() -> None:
    seen = ["cuGraphLaunch", "cuLaunchKernelEx", "MemcpyH2D", "cudaGraphLaunch_v1", "fusion.3"]
    assert harness.launched(seen) == {"CUDA graphs": 2, "kernels": 1}


# --- the scripts ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "script",
    ["agreement", "bench", "kernels", "step", "figures", "profile_step", "compare_peers"],
)
def test_each_script_explains_itself(script: str) -> None:
    done = run(script, "--help")
    assert done.returncode == 0 and "usage:" in done.stdout.lower()


def test_no_gpu_is_said_in_a_line(tmp_path: Path) -> None:
    done = run("bench", "--gpu", "--out", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith("error: JAX sees no GPU here")


def test_kernels_are_checked_timed_and_written(tmp_path: Path) -> None:
    quick = ("--size", "360p", "--seconds", "0", "--least", "1")
    done = run("kernels", "--out", str(tmp_path), "--kernel", "preprocess", *quick)
    report = json.loads((tmp_path / "kernels.json").read_text())
    (group,) = report["groups"]
    checked = 2 if "c" in {row["name"] for row in group["rows"]} else 1  # beside the reference
    words = f"correctness PASSED: {checked} cases of {checked} implementations"
    assert words in done.stderr, done.stderr
    assert (group["kernel"], group["case"]) == ("preprocess", "360p")
    assert group["bytes"] == 360 * 640 * 3 + 144 * 256 * 3 * 4
    ours = group["rows"][0]["name"]
    assert ours in ("c", "xla")  # the first where a C compiler is
    assert {"device", "date", "versions"} <= set(report["machine"])
    pair = f"preprocess, float32, 360p: {ours} / OpenCV INTER_AREA"
    assert report["ratios"][pair] > 0 and not report["skipped"]


def test_the_step_is_timed_and_what_is_missing_is_named(tmp_path: Path) -> None:
    quick = ("--size", "360p", "--seconds", "0", "--least", "1", "--effect", "picture")
    done = run("step", "--out", str(tmp_path), "--part", "whole", *quick, HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "step.json").read_text())
    (group,) = report["groups"]
    names = [entry["name"] for entry in group["rows"]]
    assert names == ["from NumPy to NumPy", "device-resident", "device-resident, plain edges"]
    assert report["skipped"] == {"MediaPipe's networks": "no .onnx in --peers None"}


def test_the_slid_window_is_timed_beside_the_convolved_one() -> None:
    small = ("--size", "32", "48", "--strides", "16", "--seconds", "0")
    done = run("sliding_window", *small)
    assert done.returncode == 0, done.stderr
    assert re.search(r"convolved +│ 6 +│ [\d.]+ +│ 1\.0 +│", done.stderr), done.stderr
    assert re.search(r"slid by 16 +│ 6 +│ [\d.]+ +│ [\d.]+ +│", done.stderr), done.stderr


def test_masks_by_every_implementation_agree(tmp_path: Path) -> None:
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    rng = np.random.default_rng(0)
    person = np.zeros((64, 96), np.uint8)
    person[16:, 30:60] = 255
    photo = np.where(person[..., None] > 0, 200, 60) + rng.integers(0, 20, (64, 96, 3))
    cv2.imwrite(str(tmp_path / "images" / "one.png"), photo.astype(np.uint8))
    cv2.imwrite(str(tmp_path / "masks" / "one.png"), person)
    (tmp_path / "all.txt").write_text("one\n")
    report = tmp_path / "agreement.json"
    given = ("--data", str(tmp_path), "--list", "all.txt", "--report", str(report))
    done = run("agreement", *given)
    assert report.exists(), done.stderr
    figures = json.loads(report.read_text())
    assert (done.returncode != 0) == bool(figures["beyond"])
    ways = figures["paths"]
    assert {"reference kernels, XLA, float32", "XLA, bfloat16", "plain"} <= set(ways)
    assert all(0 <= row["mean_iou"] <= 1 for row in ways.values())
    for name, row in ways.items():
        apart = abs(row["mean_iou"] - ways["reference kernels, XLA, float32"]["mean_iou"])
        assert name == "plain" or (name in figures["beyond"]) == (apart > 0.001)


def test_edges_are_drawn_side_by_side(tmp_path: Path) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "photo.png"), photo)
    picture = tmp_path / "edges.png"

    def crop(*numbers: int) -> subprocess.CompletedProcess[str]:
        given = ("--crop", str(tmp_path / "photo.png"), *map(str, numbers))
        return run("edges", *given, "--picture", str(picture))

    assert crop(0, 60, 0, 10, 10).stderr.endswith("got a crop outside of the frame, (48, 64, 3)\n")
    assert crop(3, 0, 0, 10, 10).stderr.endswith("photo.png: got frame 3; it has fewer\n")
    assert not picture.exists()
    done = crop(0, 8, 4, 40, 20)
    assert done.returncode == 0, done.stderr
    drawn = cv2.imread(str(picture))
    assert drawn is not None and drawn.shape == (200 + 22, 3 * 400 + 2 * 4, 3)
    first = cv2.resize(photo[4:24, 8:48], (400, 200))
    assert np.abs(drawn[22:, :400].astype(int) - first).max() <= 1


def run(script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPTS / f"{script}.py"), *arguments],
        cwd=ROOT,
        env=os.environ
        | {
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "kernels")]),
            "JAX_PLATFORMS": "cpu",
            "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
            "COLUMNS": "200",
        }
        | environment,
        capture_output=True,
        text=True,
        check=False,
    )
