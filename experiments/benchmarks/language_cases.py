"""The cases with a language model: SmolLM2-135M-Instruct, whose weights a package brings, beside transformers and llama.cpp."""

import contextlib
import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmarks import cold_start as cold
from experiments.benchmarks import duel, findings, language_work, workloads
from experiments.benchmarks.config import Setting
from experiments.benchmarks.duel import OURS, Case
from experiments.benchmarks.findings import Findings, Ratio
from experiments.benchmarks.side_process import SideProcess
from experiments.benchmarks.workloads import Workload
from experiments.language.writing_tasks import TASKS
from gendiff.commands.chat import models
from gendiff.pipelines import Chat
from gendiff.runs import interleaving
from gendiff.runs.reporting.results import Cell, Table
from gendiff.weights import smollm2

LLAMA = "llama_cpp"
"""The side's name."""
_PREFILL = Workload("prefill", "smollm2", tokens=512)
_DECODE = Workload("generate", "smollm2", tokens=16, steps=32)
_DECODE_8 = dataclasses.replace(_DECODE, batch=8)
_FIRST = Workload("generate", "smollm2", tokens=32)
_MARKED = Workload("watermark", batch=8, size=49152, tokens=64)
_REPLY = Workload("reply", "smollm2", tokens=128, steps=96, dtype="int8")


@dataclasses.dataclass(frozen=True)
class Packed:
    """What is timed beside llama.cpp: in words, as works of ours in the form of weights that is its fastest, and the threshold.

    messages: what the replies answer, one work each, whose times count together; none where ids are random.
    """

    words: str
    workload: Workload
    threshold: str = ""
    messages: tuple[str, ...] = ()


PACKED = {
    "prefill": Packed("512 tokens read", dataclasses.replace(_PREFILL, dtype="bfloat16"), "llama_prefill"),
    "decode": Packed("32 tokens of one text", dataclasses.replace(_DECODE, dtype="int8"), "llama_decode"),
    "decode_8": Packed("32 tokens of each of 8 texts", dataclasses.replace(_DECODE_8, dtype="int8"), "llama_decode_8"),
}
_LOOKUP = dataclasses.replace(_REPLY, kind="lookup")
REPLIES = {
    "rewriting": Packed("a text corrected, with prompt lookup", _LOOKUP, "llama_lookup", TASKS["editing"]),
    "rewriting_plain": Packed("the same without", _REPLY, messages=TASKS["editing"]),
    "summarising": Packed("a text summarised, with prompt lookup", _LOOKUP, "llama_lookup", TASKS["summarising"]),
    "summarising_plain": Packed("the same without", _REPLY, messages=TASKS["summarising"]),
}
"""Replies of the real model to their end, 96 tokens at most: three each, and none chosen for its result."""
BESIDE_LLAMA = (*PACKED.values(), *REPLIES.values())


def beside_llama_cpp(works: Mapping[str, Packed], case: Case, setting: Setting) -> Findings:
    """Ours in turn with llama.cpp, whose weights are those of the file, in 4 bits; without llama.cpp ours alone.

    Both compute with rounded weights, and not with the same ones, so that nothing is compared but times per token: replies may differ.
    """
    place, pairs = setting.folder / case.name, min(case.pairs, setting.config.pairs)
    place.mkdir(parents=True)
    weights = duel.weights_of(setting.fitted(case.workload), place, setting)
    chat = models.opened() if any(work.messages for work in works.values()) and not setting.config.tiny else None
    requests = {
        name: [
            workloads.request(workload, place, f"{name}_{number}", weights, given)
            for number, (workload, given) in enumerate(_parts(work, setting, chat))
        ]
        for name, work in works.items()
    }
    del chat  # nothing large stays in this process while others are timed
    with contextlib.ExitStack() as stack:
        sides = {OURS: stack.enter_context(setting.start(OURS))}
        why = _absent(setting)
        if not why:
            sides[LLAMA] = stack.enter_context(setting.start(LLAMA))
        tokens = {side: {name: _ready(sides[side], side, name, parts) for name, parts in requests.items()} for side in sides}
        seconds = {
            name: interleaving.interleave({side: functools.partial(_run, sides[side], name, len(parts)) for side in sides}, pairs)
            for name, parts in requests.items()
        }
    each = {name: {side: tuple(spent / tokens[side][name] for spent in seconds[name][side]) for side in sides} for name in works}
    table = _table(works, seconds, tokens)
    if why:
        return Findings(tables=(table,), skipped={f"{case.name}: llama.cpp": why})
    ratios = (
        Ratio(
            f"{case.name}_{name}",
            f"{case.name}: time per token of llama.cpp with 4 bits over ours in {work.workload.dtype}, {work.words}",
            duel.ratio(each[name][LLAMA], each[name][OURS]),
            pairs,
            work.threshold,
        )
        for name, work in works.items()
    )
    return Findings(ratios=tuple(ratios), tables=(table,))


def _parts(work: Packed, setting: Setting, chat: Chat | None) -> Iterator[tuple[Workload, dict[str, np.ndarray] | None]]:
    """What is done one after the other, with its arrays where they are not random."""
    if not work.messages or chat is None:
        yield setting.fitted(work.workload), None
        return
    for message in work.messages:
        ids = models.question(chat, message)
        yield dataclasses.replace(work.workload, tokens=len(ids)), {"ids": ids[None], "stop": np.array([chat.tokenizer.end], np.int32)}


def _absent(setting: Setting) -> str:
    """Why llama.cpp takes no part."""
    if setting.peer is None or setting.config.tiny:
        return "it needs --peers" if setting.peer is None else "it reads the real file alone, and takes no part in a smoke run"
    with setting.start(LLAMA) as side:
        return side.ask("missing")


def _ready(process: SideProcess, side: str, name: str, parts: Sequence[dict[str, Any]]) -> int:
    """Makes a side ready for a work, and counts the tokens that it reads or writes."""
    count = 0
    for number, part in enumerate(parts):
        workload, own = workloads.from_json(part["workload"]), f"{name}_{number}"
        process.ask("prepare", name=own, **part | ({"weights": str(smollm2.path())} if side == LLAMA else {}))
        process.ask("run", name=own)
        if workload.kind == "prefill":
            count += workload.batch * workload.tokens
        else:
            file = Path(part["arrays"]).with_name(f"{side}_{own}.npz")
            process.ask("output", name=own, to=str(file))
            with np.load(file) as stored:
                count += int((stored["tokens"] >= 0).sum())
    return count


def _run(process: SideProcess, name: str, parts: int) -> float:
    return sum(process.ask("run", name=f"{name}_{number}") for number in range(parts))


def _table(works: Mapping[str, Packed], seconds: dict[str, dict[str, tuple[float, ...]]], tokens: dict[str, dict[str, int]]) -> Table:
    rows = list[tuple[Cell, ...]]()
    for name, work in works.items():
        for side, spent in seconds[name].items():
            count = tokens[side][name]
            weights = work.workload.dtype if side == OURS else "Q4_1, as shipped"
            rows.append((work.words, side.replace("_", "."), weights, *findings.spread(spent), count, count / findings.spread(spent)[0]))
    columns = ("work", "side", "weights", "median s", "least", "most", "tokens", "tokens per second")
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
    _case(
        "lm_llama_cpp",
        "the same three with small weights, beside llama.cpp with 4 bits",
        _PREFILL,
        measure=functools.partial(beside_llama_cpp, PACKED),
    ),
    _case(
        "lm_replies", "replies that repeat their question, beside llama.cpp", _REPLY, measure=functools.partial(beside_llama_cpp, REPLIES)
    ),
    Case("text_watermark", "a green list on the logits of 8 texts, 49,152 tokens; the peer's is transformers'", _MARKED),
    _case("lm_cold_start", "from a cold process to the first token behind 32", _FIRST, measure=cold.measure, pairs=3),
)
