"""The cases with a language model: SmolLM2-135M-Instruct, whose weights a package brings, beside transformers and llama.cpp."""

import dataclasses
import functools
from typing import Any

from experiments.benchmarks import cold_start as cold
from experiments.benchmarks import duel, findings, language_work, workloads
from experiments.benchmarks.config import Setting
from experiments.benchmarks.duel import OURS, Case
from experiments.benchmarks.findings import Findings, Ratio
from experiments.benchmarks.workloads import Workload
from experiments.framework import interleaving
from experiments.reporting.results import Cell, Table
from gendiff.weights import smollm2

LLAMA = "llama_cpp"
"""The side's name."""
_PREFILL = Workload("prefill", "smollm2", tokens=512)
_DECODE = Workload("generate", "smollm2", tokens=16, steps=32)
_DECODE_8 = dataclasses.replace(_DECODE, batch=8)
_FIRST = Workload("generate", "smollm2", tokens=32)
PACKED: dict[str, tuple[str, Workload, str]] = {
    "prefill": ("512 tokens read", dataclasses.replace(_PREFILL, dtype="bfloat16"), "llama_prefill"),
    "decode": ("32 tokens of one text", dataclasses.replace(_DECODE, dtype="int8"), "llama_decode"),
    "decode_8": ("32 tokens of each of 8 texts", dataclasses.replace(_DECODE_8, dtype="int8"), "llama_decode_8"),
}
"""What is timed beside llama.cpp: in words, as work of ours in the form of weights that is its fastest, and the threshold."""


def beside_llama_cpp(case: Case, setting: Setting) -> Findings:
    """Ours in turn with llama.cpp, whose weights are those of the file, in 4 bits; without llama.cpp ours alone.

    Both compute with rounded weights, and not with the same ones, so that nothing is compared but times.
    """
    place, pairs = setting.folder / case.name, min(case.pairs, setting.config.pairs)
    place.mkdir(parents=True)
    works = {name: setting.fitted(workload) for name, (_, workload, _) in PACKED.items()}
    weights = duel.weights_of(works["prefill"], place, setting)
    requests = {name: workloads.request(workload, place, name, weights) for name, workload in works.items()}
    with setting.start(OURS) as mine:
        for name, request in requests.items():
            mine.ask("prepare", name=name, **request)
        if why := _absent(setting):
            seconds = {name: {OURS: tuple(mine.ask("run", name=name) for _ in range(pairs))} for name in works}
            return Findings(tables=(_table(works, seconds),), skipped={f"{case.name}: llama.cpp": why})
        with setting.start(LLAMA) as theirs:
            for name, request in requests.items():
                theirs.ask("prepare", name=name, **request | {"weights": str(smollm2.path())})
                theirs.ask("run", name=name)
            seconds = {
                name: interleaving.interleave(
                    {OURS: functools.partial(mine.ask, "run", name=name), LLAMA: functools.partial(theirs.ask, "run", name=name)}, pairs
                )
                for name in works
            }
    ratios = (
        Ratio(
            f"{case.name}_{name}",
            f"{case.name}: time of llama.cpp with 4 bits over ours in {workload.dtype}, {PACKED[name][0]}",
            duel.ratio(seconds[name][LLAMA], seconds[name][OURS]),
            pairs,
            PACKED[name][2],
        )
        for name, workload in works.items()
    )
    return Findings(ratios=tuple(ratios), tables=(_table(works, seconds),))


def _absent(setting: Setting) -> str:
    """Why llama.cpp takes no part."""
    if setting.peer is None or setting.config.tiny:
        return "it needs --peers" if setting.peer is None else "it reads the real file alone, and takes no part in a smoke run"
    with setting.start(LLAMA) as side:
        return side.ask("missing")


def _table(works: dict[str, Workload], seconds: dict[str, dict[str, tuple[float, ...]]]) -> Table:
    rows = list[tuple[Cell, ...]]()
    for name, workload in works.items():
        tokens = workload.batch * (workload.tokens if workload.kind == "prefill" else workload.steps)
        for side, spent in seconds[name].items():
            weights = workload.dtype if side == OURS else "Q4_1, as shipped"
            rows.append((PACKED[name][0], side.replace("_", "."), weights, *findings.spread(spent), tokens / findings.spread(spent)[0]))
    columns = ("work", "side", "weights", "median s", "least", "most", "tokens per second")
    return Table("Language models with packed weights", columns, tuple(rows))


_LONG = {"compiled": "it compiles for a minute: lm_decode has it, for one text in float32"}


def _case(name: str, question: str, workload: Workload, threshold: str = "", **options: Any) -> Case:
    return Case(name, question, workload, threshold, absent=language_work.absent, **{"pairs": 5, **options})


def _half(workload: Workload) -> Workload:
    return dataclasses.replace(workload, dtype="bfloat16")


ALL = (
    _case("lm_prefill", "SmolLM2-135M, 512 tokens read", _PREFILL, "language_prefill"),
    _case("lm_decode", "the same model, 32 tokens of one text behind 16, greedy", _DECODE, "language_decode"),
    _case("lm_decode_8", "32 tokens of each of 8 texts", _DECODE_8, "language_decode", left_out=_LONG),
    _case("lm_prefill_bf16", "512 tokens read, weights in bfloat16", _half(_PREFILL)),
    _case("lm_decode_bf16", "32 tokens of one text in bfloat16", _half(_DECODE), left_out=_LONG),
    _case("lm_decode_8_bf16", "32 tokens of each of 8 texts in bfloat16", _half(_DECODE_8), left_out=_LONG),
    _case("lm_llama_cpp", "the same three with small weights, beside llama.cpp with 4 bits", _PREFILL, measure=beside_llama_cpp),
    _case("lm_cold_start", "from a cold process to the first token behind 32", _FIRST, measure=cold.measure, pairs=3),
)
