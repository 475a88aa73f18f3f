"""The bench's peer for language models, transformers, computes what ours does: a tiny one, in every mode that does not
compile.
"""

import sys
from pathlib import Path

import pytest

pytest.importorskip("transformers", reason="needs torch and transformers: make test-peers")

from experiments.bench import duel
from experiments.bench.config import LanguageConfig, Setting
from experiments.bench.workloads import Case, Workload

pytestmark = pytest.mark.peers


@pytest.mark.parametrize("kind", ["prefill", "generate"])
def test_both_sides_read_and_write_the_same(tmp_path, kind):
    workload = Workload(kind, "tiny_smollm2", batch=2, tokens=6, steps=8 if kind == "generate" else 1)
    setting = Setting(LanguageConfig(pairs=2, call_seconds=0.001), tmp_path, peer=Path(sys.executable))
    result = duel.fight(Case(kind, "", workload, left_out={"compiled": "it takes long"}), setting)
    assert (
        result.difference < 1e-5
        and set(result.tried) == {"eager", "static_cache"}
        and result.failed == {"compiled": "it takes long"}
    )
    assert result.mode is not None and result.flops > 1e4


def test_marks_of_both_sides_raise_as_many_logits_by_as_much(tmp_path):
    workload = Workload("watermark", batch=4, size=49152, tokens=3)
    setting = Setting(LanguageConfig(pairs=2, call_seconds=0.001), tmp_path, peer=Path(sys.executable))
    result = duel.fight(Case("watermark", "", workload, left_out={"compiled": "it takes long"}), setting)
    assert result.difference < 1e-5 and set(result.tried) == {"eager"}
