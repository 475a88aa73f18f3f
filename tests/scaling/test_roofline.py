"""Bounds of step times: the worked numbers of the public scaling book, and where they bend."""

import numpy as np
import pytest

from gendiff import scaling
from gendiff.scaling import accelerators, cost, roofline
from tests.refusals import refusals
from tests.tables import table

V5E = accelerators.TPU_V5E
EIGHT = V5E.times(8)
BATCHES = np.array([1, 8, 16, 32, 64, 240])
CACHES = {heads: cost.cache_bytes(8192, 40, heads, 128) for heads in (40, 8)}
WORKED = {40: (4.98, 12.13, 20.30, 36.65, 69.33, 249.09), 8: (4.17, 5.60, 7.23, 10.50, 17.04, 52.99)}
"""Milliseconds of a step of LLaMA-2-13B in bfloat16 at 8,192 tokens on 8 TPU v5e, by heads of keys and values: book,
Inference.
"""


@table("heads", WORKED)
def test_step_times_and_throughputs_of_llama_2_13b_are_those_of_the_book_to_a_hundredth(heads):
    curve = roofline.serving_curve(BATCHES, 13e9, 26e9, CACHES[heads], EIGHT)
    np.testing.assert_allclose(1000 * curve.seconds, WORKED[heads], rtol=0.01)
    throughput = {
        40: (200.61, 659.30, 787.99, 873.21, 923.13, 963.53),
        8: (239.94, 1429.19, 2212.48, 3047.62, 3756.62, 4529.34),
    }
    np.testing.assert_allclose(curve.throughput, throughput[heads], rtol=0.01)
    assert BATCHES[curve.fits].max() == {40: 8, 8: 64}[heads]


def test_a_30b_model_in_int8_on_16_chips_takes_the_times_that_the_book_rounds_to():
    parameters, cache = 30e9, 100e3 * 8192
    small, large = (
        roofline.step_time(batch, parameters, cost.weight_bytes(parameters, 8), cache, V5E.times(16))
        for batch in (4, 256)
    )
    assert round(1000 * small, 1) == 2.5 and round(1000 * large) == 21


def test_the_critical_batch_is_240_in_bfloat16_and_120_with_int8_weights():
    assert roofline.critical_batch(V5E) == pytest.approx(240, rel=0.01)
    assert roofline.critical_batch(V5E, 1.0) == pytest.approx(120, rel=0.01)
    assert roofline.critical_batch(V5E, active_share=0.25) == pytest.approx(4 * roofline.critical_batch(V5E))


@table("bits", [8, 16])
def test_without_caches_the_step_is_flat_up_to_the_critical_batch_and_then_proportional(bits):
    critical = roofline.critical_batch(V5E, bits / 8)
    time = [
        roofline.step_time(critical * factor, 1e9, cost.weight_bytes(1e9, bits), 0, V5E)
        for factor in (0.01, 0.999, 1.001, 2, 4)
    ]
    assert time[0] == time[1] < time[2]
    assert time[4] == pytest.approx(2 * time[3]) and time[3] == pytest.approx(2 * time[0])


def test_throughput_never_falls_with_the_batch_and_latency_never_does_either():
    curve = roofline.serving_curve(np.arange(1, 500), 13e9, 26e9, CACHES[8], EIGHT)
    assert np.all(np.diff(curve.throughput) >= -1e-9) and np.all(np.diff(curve.seconds) >= 0)
    assert curve.throughput[-1] < EIGHT.bandwidth / CACHES[8], "the caches alone bound it"


def test_prefill_is_bounded_by_memory_for_a_short_prompt_and_by_arithmetic_for_a_long_one():
    assert roofline.prefill_time(1, 13e9, 26e9, EIGHT) == 26e9 / EIGHT.bandwidth
    attention = cost.attention_flops(cost.mean_seen(8192), 40, 40, 128)
    long = roofline.prefill_time(8192, 13e9, 26e9, EIGHT, attention)
    assert long == pytest.approx(8192 * (26e9 + attention) / EIGHT.flops)


def test_the_largest_batch_is_the_last_that_fits():
    best = roofline.largest_batch(26e9, CACHES[8], EIGHT)
    assert roofline.serving_curve(np.array([best, best + 1]), 13e9, 26e9, CACHES[8], EIGHT).fits.tolist() == [
        True,
        False,
    ]
    assert roofline.largest_batch(26e9, CACHES[8], V5E) == 0


def test_what_fills_a_memory_to_its_last_byte_fits():
    device = scaling.Accelerator("x", 1.0, 1.0, memory=100)
    assert [roofline.largest_batch(held, 20, device) for held in (20, 40, 41, 80, 81, 100, 120)] == [
        4,
        3,
        2,
        1,
        0,
        0,
        0,
    ]
    assert roofline.serving_curve(np.array([2, 3, 4]), 1.0, 40.0, 20.0, device).fits.tolist() == [True, True, False]


def test_several_devices_at_the_shares_that_they_reach_have_the_product_of_all():
    half = V5E.times(4, flops=0.5, bandwidth=0.8)
    assert (half.flops, half.bandwidth, half.memory) == (
        2 * V5E.flops,
        pytest.approx(3.2 * V5E.bandwidth),
        4 * V5E.memory,
    )
    assert half.name == "4 × TPU v5e" and V5E.times() == V5E
    assert all(each.source and each.intensity > 100 for each in accelerators.PUBLISHED)


def test_a_program_takes_the_longer_one_of_its_arithmetic_and_its_memory():
    for bytes_moved, seconds in ((0, 2.0), (2.0 * V5E.bandwidth, 2.0), (6.0 * V5E.bandwidth, 6.0)):
        assert roofline.program_time(2 * V5E.flops, bytes_moved, V5E) == pytest.approx(seconds)
    assert roofline.program_time(V5E.intensity * 1e9, 1e9, V5E) == pytest.approx(1e9 / V5E.bandwidth), (
        "the ridge, where both are equal"
    )


def test_float32_has_the_rate_of_tf32_on_gpus_and_that_of_bfloat16_on_tpus():
    gpus = [each for each in accelerators.PUBLISHED if "TPU" not in each.name]
    assert all(each.at("float32").flops == pytest.approx(each.flops / 2, rel=0.02) for each in gpus) and len(gpus) == 8
    assert V5E.at("float32").flops == V5E.at("bfloat16").flops == V5E.flops
    assert accelerators.H100.times(4, flops=0.5).at("float32").flops == pytest.approx(
        2 * accelerators.H100.at("float32").flops
    )


def test_what_bounds_a_program_is_the_longer_one():
    assert roofline.bound(V5E.flops, 0.9 * V5E.bandwidth, V5E) == "arithmetic"
    assert roofline.bound(V5E.flops, 1.1 * V5E.bandwidth, V5E) == "memory"


def test_a_device_is_known_by_the_name_that_jax_gives_it_and_a_variant_is_another_one():
    kinds = "NVIDIA H100 80GB HBM3", "NVIDIA H100 PCIe", "TPU v5 lite", "NVIDIA A100-SXM4-40GB", "cpu"
    known = accelerators.H100, accelerators.H100_PCIE, V5E, None, None
    assert tuple(map(accelerators.of_kind, kinds)) == known
    kinds = [kind for each in accelerators.PUBLISHED for kind in each.kinds]
    assert len(set(kinds)) == len(kinds) >= len(accelerators.PUBLISHED)


test_mistakes_are_refused = refusals(
    (lambda: scaling.Accelerator("x", 0.0, 1.0), r"flops = 0 is outside \(0"),
    (lambda: scaling.Accelerator("x", 1.0, 1.0, float32_flops=0.0), r"float32_flops = 0 is outside \(0"),
    (lambda: V5E.at("int8"), "dtype = 'int8'"),
    (lambda: roofline.program_time(1.0, -1.0, V5E), "moved = -1"),
    (lambda: V5E.times(0), "chips = 0"),
    (lambda: V5E.times(bandwidth=0.0), "bandwidth = 0"),
    (lambda: roofline.step_time(-1, 1.0, 1.0, 1.0, V5E), "batch = -1"),
    (lambda: roofline.serving_curve(np.array([0]), 1.0, 1.0, 1.0, V5E), "batches"),
    (lambda: roofline.critical_batch(V5E, active_share=1.5), "active_share = 1.5"),
    (
        lambda: roofline.largest_batch(1.0, 1.0, scaling.Accelerator("laptop", 1e12, 4e10)),
        "memory of laptop is not stated",
    ),
)
