"""Guidance in one batched pass against two passes, and both against the peer's batched pass."""

import dataclasses

from experiments.benchmarks import duel, pairs
from experiments.benchmarks.findings import Findings, Ratio
from experiments.benchmarks.setting import Setting
from experiments.benchmarks.workloads import Workload

BATCHED = Workload("sample", "digits", batch=64, steps=5, guidance=3.0)


def measure(setting: Setting) -> Findings:
    """Two duels, of which each mode of guidance is one, and the ratio between ours."""
    batched = BATCHED
    modes: tuple[str, ...] = duel.MODES
    if setting.config.tiny:
        batched, modes = dataclasses.replace(BATCHED, network="tiny_digits", batch=2), modes[:1]
    one = duel.fight(setting, "guidance_batched", batched, modes)
    two = duel.fight(setting, "guidance_two", dataclasses.replace(batched, passes="two"), modes[:1])
    each = pairs.ratio(two.seconds["ours"], one.seconds["ours"])
    said = "guidance: one batched pass over two passes, ours"
    return Findings(duels=(one, two), ratios=(Ratio("guidance_passes", said, each, len(one.seconds["ours"])),))
