import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.errors import SegjaxError
from segjax.training import devices, metering
from segjax.training.metering import Meter, Profile, peak


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the clock says: its only entry, which tests set."""
    now = [0.0]
    monkeypatch.setattr(metering, "time", types.SimpleNamespace(perf_counter=lambda: now[0]))
    return now


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that does 1 TFLOP/s."""
    monkeypatch.setattr(metering, "peak", lambda compute, by: (1e12, f"a device in {compute}"))


@pytest.mark.usefixtures("known")
def test_figures_are_those_since_the_last_reading(seconds: list[float]) -> None:
    product = jax.jit(lambda x, batch: x @ batch["y"])
    x, batch = jnp.ones((64, 32)), {"y": jnp.ones((32, 128))}
    meter = Meter(6, "float32", product)
    for began in (0.0, 2.0):
        seconds[0] = began
        with meter.waiting():
            seconds[0] += 0.5
        np.testing.assert_array_equal(meter.call(product, x, batch), x @ batch["y"])
        meter.step()
    seconds[0] = 4.0
    flops = 2 * 64 * 32 * 128
    expected = {"step_ms": 2000.0, "images_per_s": 3.0, "waiting_share": 0.25}
    share = float(f"{2 * flops / 4.0 / 1e12:.3g}")
    assert meter.read() == {**expected, "peak_share": share, "peak_of": "a device in float32"}

    seconds[0] = 9.0  # a validation, say
    meter.restart()
    meter.call(product, x, {"y": jnp.ones((32, 256))})  # another shape is counted anew
    meter.step()
    seconds[0] = 10.0
    figures = meter.read()
    assert (figures["step_ms"], figures["waiting_share"]) == (1000.0, 0.0)
    assert figures["peak_share"] == float(f"{2 * flops / 1e12:.3g}")


@pytest.mark.parametrize(
    ("kind", "compute", "each", "words"),
    [
        ("NVIDIA H100 80GB HBM3", "bfloat16", 989.4, "2 x NVIDIA H100, 989.4 TFLOP/s each in bf"),
        ("NVIDIA H100 PCIe", "float32", 378.0, "2 x NVIDIA H100 PCIe, 378 TFLOP/s each in fl"),
        ("NVIDIA L40S", "bfloat16", 362.0, "2 x NVIDIA L40S, 362 TFLOP/s each in bfloat16, data"),
        ("NVIDIA L4", "bfloat16", 121.0, "2 x NVIDIA L4, 121 TFLOP/s each in bfloat16, data she"),
        ("TPU v5 lite", "float32", 197.0, "2 x TPU v5 lite, 197 TFLOP/s each in float32, data s"),
    ],
)
def test_the_peak_of_known_devices_is_that_of_their_data_sheets(
    kind: str, compute: str, each: float, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = [types.SimpleNamespace(device_kind=kind)] * 2
    monkeypatch.setattr(jax, "devices", lambda: two)
    monkeypatch.setattr(jax, "device_count", lambda: 2)
    found, text = peak(compute)
    assert found == pytest.approx(2 * each * 1e12) and text.startswith(words)


def test_the_peak_of_others_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metering, "_measured", lambda compute, by: 5e11)
    monkeypatch.setattr(jax, "device_count", lambda: 8)  # all the same processor
    kind = jax.devices()[0].device_kind
    assert peak("float32") == (5e11, f"1 x {kind}, 0.5 TFLOP/s each in float32, measured")
    monkeypatch.setattr(jax, "default_backend", lambda: "npu")
    assert peak("float32")[0] == 8 * 5e11


def test_a_profile_ends_with_its_last_step_or_with_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[object] = []
    monkeypatch.setattr(jax.profiler, "start_trace", calls.append)
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: calls.append("stop"))

    def run(steps: tuple[int, int], first: int, last: int) -> list[object]:
        calls.clear()
        profile = Profile(tmp_path, steps)
        for step in range(first, last + 1):
            profile.before(step)
            calls.append(step)
            profile.after(step, jnp.ones(()))
        profile.close()
        return calls

    assert run((2, 3), 1, 4) == [1, tmp_path, 2, 3, "stop", 4]
    assert run((2, 9), 1, 3) == [1, tmp_path, 2, 3, "stop"]
    assert run((2, 3), 5, 6) == [5, 6]
    assert run((0, 0), 1, 2) == [1, 2]


def test_what_processes_tell_each_other_is_exact() -> None:
    row = devices.find_devices(1)
    for values in (np.array([2**53 + 1, -1]), np.array([[1 / 3], [np.pi]])):
        found = row.gather(values)
        assert found.dtype == values.dtype
        np.testing.assert_array_equal(found, values[None])
    assert row.any(True) and not row.any(False)


def test_processes_that_cannot_meet_are_told_why() -> None:
    with pytest.raises(SegjaxError, match="without --processes and --process; all processes are"):
        devices.join("host:1234", 2, None)
    with pytest.raises(SegjaxError, match="cannot join the other processes by --distributed auto"):
        devices.join("auto", None, None)
