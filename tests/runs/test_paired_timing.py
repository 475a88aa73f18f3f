"""Work takes turns, is repeated where it is short, and costs what XLA states."""

import jax
import jax.numpy as jnp

from gendiff.runs import paired_timing, program_costs


def test_calls_take_turns_and_every_second_round_runs_backwards():
    order: list[str] = []
    seconds_of = paired_timing.interleave(
        {"a": lambda: order.append("a") or 1.0, "b": lambda: order.append("b") or 2.0}, 3
    )
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert seconds_of == {"a": (1.0, 1.0, 1.0), "b": (2.0, 2.0, 2.0)}


def test_short_work_is_repeated_until_it_takes_a_while_and_its_seconds_are_of_one(monkeypatch):
    now, done = [0.0], []
    monkeypatch.setattr(paired_timing.time, "perf_counter", lambda: now[0])

    def work(name, seconds):
        def call():
            done.append(name)
            now[0] += seconds

        return call

    seconds_of = paired_timing.timed({"short": work("short", 0.03), "long": work("long", 0.5)}, 2, least=0.1)
    assert done.count("short") == 2 + 2 * 4 and done.count("long") == 2 + 2
    assert [round(value, 6) for value in seconds_of["short"]] == [0.03, 0.03] and seconds_of["long"] == (0.5, 0.5)


def test_a_product_of_matrices_costs_its_operations_and_the_memory_of_its_matrices():
    square = jax.ShapeDtypeStruct((64, 64), jnp.float32)
    lowered = jax.jit(lambda x, y: x @ y).lower(square, square)
    assert program_costs.flops(lowered) == 2 * 64**3
    matrix = 4 * 64 * 64
    assert 3 * matrix <= program_costs.peak_bytes(lowered.compile()) < 10 * matrix
