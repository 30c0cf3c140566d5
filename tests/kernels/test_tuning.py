import itertools
import json
import subprocess
import sys
import warnings

import jax
import numpy as np
import pytest

import segjax_kernels
from segjax_kernels import KernelConfig, autotune, search, tuning

DEVICE = "NVIDIA Test 80GB"
FIRST, SECOND = KernelConfig(512, 1, 4), KernelConfig(2048, 4, 8)
HD, UHD = (1080, 1920), (2160, 3840)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache folder of the user's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    tuning.load_table.cache_clear()
    yield tmp_path
    tuning.load_table.cache_clear()


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(tuning, "gpu_kind", lambda: DEVICE)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((1000, 2, 8), "block: got 1000; it is a power of two of at least 32"),
        ((16, 2, 8), "block: got 16"),
        ((1024, 3, 8), "warps: got 3; it is 1, 2, 4"),
        ((1024, 2, 0), "rows: got 0; it is a whole number from 1"),
        ((1024, 2.0, 8), "warps: got 2.0; it is a whole number"),
        ((1024, 2, True), "rows: got True"),
    ],
)
def test_a_config_is_checked(values, message):
    with pytest.raises(ValueError, match=message):
        KernelConfig(*values)


def test_a_config_by_hand_wins_then_the_table_then_the_heuristic(gpu):
    estimate = tuning.heuristic("upsample_blend", HD, DEVICE)
    assert tuning.choose("upsample_blend", HD) == estimate
    tuning.save_table(DEVICE, {"upsample_blend": {HD: FIRST, UHD: SECOND}})
    assert tuning.choose("upsample_blend", HD) == FIRST
    assert tuning.choose("upsample_blend", HD, SECOND) == SECOND


def test_the_nearest_size_of_the_table_counts(gpu):
    upright = (1920, 1080)
    tuning.save_table(DEVICE, {"upsample_blend": {HD: FIRST, upright: SECOND, UHD: SECOND}})
    for size, config in (
        ((720, 1280), FIRST),
        ((1088, 1920), FIRST),
        (upright, SECOND),
        ((4320, 7680), SECOND),
    ):
        assert tuning.choose("upsample_blend", size) == config


def test_without_a_gpu_no_table_is_read(monkeypatch):
    monkeypatch.setattr(tuning, "gpu_kind", lambda: "")
    tuning.save_table("", {"upsample_blend": {HD: FIRST}})
    assert tuning.choose("upsample_blend", HD) == tuning.heuristic("upsample_blend", HD)


def test_the_heuristic_follows_shape_and_device():
    def of(shape, device):
        return tuning.heuristic("upsample_blend", shape, device)

    large, small = "NVIDIA H100 80GB HBM3", "NVIDIA L4"
    assert of((540, 960), large).rows < of(UHD, large).rows
    assert of((540, 960), large).rows < of((540, 960), small).rows
    with pytest.raises(ValueError, match=r"got kernel='blend'; the known ones are .*upsample"):
        tuning.heuristic("blend", HD)


def test_a_table_grows_and_leaves_nothing_beside_it(cache):
    tuning.save_table(DEVICE, {"upsample_blend": {HD: FIRST}})
    tuning.save_table(DEVICE, {"upsample_blend": {UHD: SECOND}, "preprocess": {HD: SECOND}})
    assert tuning.load_table(DEVICE) == {
        "upsample_blend": {HD: FIRST, UHD: SECOND},
        "preprocess": {HD: SECOND},
    }
    files = [path for path in cache.rglob("*") if path.is_file()]
    assert files == [cache / "segjax/kernels/NVIDIA-Test-80GB.json"]


def test_a_table_that_cannot_be_replaced_stays_whole(cache, monkeypatch):
    path = tuning.save_table(DEVICE, {"upsample_blend": {HD: FIRST}})
    before = path.read_text()

    def fails(*_):
        raise OSError("disk full")

    monkeypatch.setattr("pathlib.Path.replace", fails)
    with pytest.raises(OSError, match="disk full"):
        tuning.save_table(DEVICE, {"upsample_blend": {HD: SECOND}})
    assert path.read_text() == before and list(path.parent.iterdir()) == [path]


GOOD = {"block": 512, "warps": 1, "rows": 4}


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[1, 2]",
        '{"upsample_blend": 3}',
        json.dumps({"upsample_blend": {"big": GOOD}}),
        json.dumps({"upsample_blend": {"0x10": GOOD}}),
        json.dumps({"upsample_blend": {"1080x1920": GOOD | {"block": 1000}}}),
        json.dumps({"upsample_blend": {"1080x1920": GOOD | {"stages": 2}}}),
        json.dumps({"upsample_blend": {"1080x1920": {"block": 512}}}),
        b"\xff\xfe\x00",
    ],
)
def test_a_bad_table_is_ignored_with_one_warning(content, gpu):
    path = tuning.table_path(DEVICE)
    path.parent.mkdir(parents=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.warns(UserWarning, match=r"Test-80GB.json is no table .* python -m") as seen:
        config = tuning.choose("upsample_blend", HD)
    assert len(seen) == 1 and config == tuning.heuristic("upsample_blend", HD, DEVICE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tuning.choose("upsample_blend", UHD)


def test_the_search_takes_the_fastest_that_runs(gpu):
    slow, quick, *broken = tuning.TUNABLES["upsample_blend"].space(HD)
    said = []

    def measure(tunable, shape, config):
        assert tunable.name == "upsample_blend" and shape == HD
        if config in broken:
            raise jax.errors.JaxRuntimeError("too many registers")
        return {slow: 2e-5, quick: 1e-5}[config]

    assert search.search("upsample_blend", HD, measure, said.append) == quick
    (line,) = said
    assert line.startswith("upsample_blend 1080x1920: 10.0 µs")

    def breaks(*_):
        raise NotImplementedError("no")

    with pytest.raises(ValueError, match="no config of upsample_blend runs on NVIDIA Test"):
        search.search("upsample_blend", HD, breaks)


def test_what_autotune_finds_is_what_is_chosen(gpu, monkeypatch):
    *_, target = tuning.TUNABLES["upsample_blend"].space(UHD)
    monkeypatch.setattr(search, "measure", lambda *problem: 1 - (problem[2] == target))
    said = []
    table = autotune(["upsample_blend"], [UHD], say=said.append)
    assert table == {"upsample_blend": {UHD: target}}
    assert tuning.choose("upsample_blend", UHD) == target
    assert said[-1].endswith("NVIDIA-Test-80GB.json")


def test_inputs_take_turns_until_no_cache_holds_them(monkeypatch):
    monkeypatch.setattr(search, "ROTATED_BYTES", 2**20)
    tunable = tuning.TUNABLES["upsample_blend"]._replace(
        problem=lambda shape: (lambda config, x: x + config.block, (np.zeros(2**18, np.uint8),))
    )
    _, inputs = search._problem(tunable, HD)
    assert len(inputs) == 5
    assert search.measure(tunable, HD, FIRST) > 0


def test_without_a_gpu_autotune_says_so_in_one_line():
    if tuning.gpu_kind():
        pytest.skip("a GPU is here")
    with pytest.raises(NotImplementedError, match="NVIDIA GPU at hand, and JAX finds none here"):
        autotune()
    command = [sys.executable, "-m", "segjax_kernels.autotune"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.startswith("error: autotune searches on") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", tuning.TUNABLES)
def test_every_kernel_can_be_tuned(name, needs):
    needs("triton")
    needs("jax_triton")
    tunable = tuning.TUNABLES[name]
    shape = (360, 640)
    for device, size in itertools.product(("", DEVICE, "NVIDIA L4"), (shape, HD, UHD)):
        assert isinstance(tunable.heuristic(size, device), KernelConfig)
    space = list(tunable.space(shape))
    assert len(space) > 1
    run, arrays = tunable.problem(shape)
    traced = jax.jit(run, static_argnums=0).trace(space[0], *arrays)
    assert "triton_kernel_call" in traced.lower(lowering_platforms=("cuda",)).as_text()


def test_all_kernels_are_known():
    assert set(tuning.TUNABLES) <= set(segjax_kernels.__all__)
