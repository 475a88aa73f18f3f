"""SmolLM2 beside llama.cpp, through the plain bindings of llama-cpp-python: the same works with small weights, and
whole replies.

llama.cpp reads GGUF files alone, and computes with their weights as they are packed, in 4 bits. Both sides round
weights in their way, so that nothing is compared but times per token: replies may differ.
"""

import contextlib
import ctypes
import dataclasses
import functools
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from experiments.bench import smollm2
from experiments.bench.lazily import chat_models, paired_timing, smollm2_file, writing_tasks
from experiments.bench.side import Side
from experiments.bench.workloads import Case, Way, Workload

LLAMA, OURS = "llama_cpp", "ours"
"""The sides' names."""


class LlamaSide(Side):
    """Any number of works with one file."""

    model: Any = None

    def missing(self) -> str:
        """Why llama.cpp cannot be used; empty where it can."""
        try:
            import llama_cpp  # noqa: F401
        except (ImportError, OSError, RuntimeError) as error:
            return (
                f"{error}: llama.cpp needs the package llama-cpp-python in the peers' environment, which pip builds "
                "with gcc and cmake"
            )
        return ""

    def _way(self, workload: Workload, arrays: dict[str, Any], weights: str, **_: Any) -> Way:
        """Opens the file `weights`, once, and makes a context with room for the texts. The answer is tokens (b, n)."""
        import llama_cpp

        if self.model is None:
            of_model = llama_cpp.llama_model_default_params()
            of_model.n_gpu_layers = 0
            self.model = llama_cpp.llama_model_load_from_file(weights.encode(), of_model)
            if not self.model:
                raise RuntimeError(f"llama.cpp cannot read {weights}")
        options = llama_cpp.llama_context_default_params()
        room = workload.tokens + workload.steps
        options.n_ctx = workload.batch * 256 * -(-room // 256)  # shared out among sequences in multiples of 256
        options.n_batch = options.n_ubatch = max(workload.batch * workload.tokens, 32)
        options.n_seq_max = workload.batch
        options.n_threads = options.n_threads_batch = int(os.environ.get("BENCH_THREADS", "0")) or os.cpu_count() or 1
        context = llama_cpp.llama_init_from_model(self.model, options)
        if not context:
            raise RuntimeError("llama.cpp made no context")
        vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))
        batch, stop = llama_cpp.llama_batch_init(options.n_batch, 0, 1), arrays.get("stop", ())

        def following(ids: np.ndarray, start: int) -> np.ndarray:
            """The likeliest token (b,) behind ids (b, s), which begin at position `start`; several texts are sequences
            of one context.
            """
            last = ids.shape[1] - 1
            batch.n_tokens = ids.size
            for number, (text, position) in enumerate(np.ndindex(ids.shape)):
                batch.token[number], batch.pos[number] = int(ids[text, position]), start + position
                batch.n_seq_id[number], batch.seq_id[number][0], batch.logits[number] = 1, text, position == last
            if failed := llama_cpp.llama_decode(context, batch):
                raise RuntimeError(f"llama.cpp ended with {failed}")
            rows = (llama_cpp.llama_get_logits_ith(context, text * ids.shape[1] + last) for text in range(len(ids)))
            pointers = (ctypes.cast(row, ctypes.POINTER(ctypes.c_float)) for row in rows)
            logits: list[np.ndarray] = [np.ctypeslib.as_array(row, (vocabulary,)) for row in pointers]
            return np.stack(logits).argmax(-1).astype(np.int32)

        def write() -> np.ndarray:
            """Goes on greedily by `steps` tokens, fewer where a text that is alone has had a stop token. The ids give
            the first.
            """
            llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), False)
            tokens = [following(arrays["ids"], 0)]
            for step in range(1, workload.steps):
                if workload.batch == 1 and tokens[-1][0] in stop:
                    break
                tokens.append(following(tokens[-1][:, None], workload.tokens + step - 1))
            return np.stack(tokens, 1)

        return Way(write, lambda tokens: {"tokens": tokens})


@dataclasses.dataclass(frozen=True)
class Packed:
    """What is timed: in words, as works of ours in the form of weights that is its fastest, and the threshold.

    task: of `writing_tasks`, whose messages the replies answer, one work each, whose times count together; none where
        ids are random.
    """

    words: str
    workload: Workload
    threshold: str = ""
    task: str = ""


REPLY = Workload("reply", "smollm2", tokens=128, steps=96, dtype="int8")
LOOKUP = dataclasses.replace(REPLY, kind="lookup")
PACKED = {
    "prefill": Packed("512 tokens read", smollm2.in_bfloat16(smollm2.PREFILL), "llama_prefill"),
    "decode": Packed("32 tokens of one text", dataclasses.replace(smollm2.DECODE, dtype="int8"), "llama_decode"),
    "decode_8": Packed(
        "32 tokens of each of 8 texts", dataclasses.replace(smollm2.DECODE_8, dtype="int8"), "llama_decode_8"
    ),
}
REPLIES = {
    "rewriting": Packed("a text corrected, with prompt lookup", LOOKUP, "llama_lookup", "editing"),
    "rewriting_plain": Packed("the same without", REPLY, task="editing"),
    "summarising": Packed("a text summarised, with prompt lookup", LOOKUP, "llama_lookup", "summarising"),
    "summarising_plain": Packed("the same without", REPLY, task="summarising"),
}
"""Replies of the real model to their end, 96 tokens at most: three each, and none chosen for its result."""


def measure(works: Mapping[str, Packed], case: Case, setting: Any) -> Any:
    """Ours in turn with llama.cpp, whose weights are those of the file; without llama.cpp ours alone."""
    from experiments.bench import duel, weights
    from experiments.bench.findings import Findings, Ratio, spread
    from gendiff.runs.reporting.results import Table

    working, pairs = setting.case_folder(case.name), setting.pairs(case)
    folder = weights.folder(setting.fitted(case.workload), setting.folder)
    requests = {
        name: [
            duel.request(*part, working, f"{name}_{n}", folder) for n, part in enumerate(_parts(works[name], setting))
        ]
        for name in works
    }

    def ready(side: str, name: str) -> int:
        """Makes a side ready for a work, and counts the tokens that it reads or writes."""
        count = 0
        for number, part in enumerate(requests[name]):
            way, workload = f"{name}_{number}", part["workload"]
            sides[side].ask(
                "prepare", name=way, **part | ({"weights": str(smollm2_file.path())} if side == LLAMA else {})
            )
            file = working / f"{side}_{way}.npz"
            sides[side].ask("output", name=way, to=str(file))
            with np.load(file) as stored:
                count += (
                    workload["batch"] * workload["tokens"]
                    if workload["kind"] == "prefill"
                    else int((stored["tokens"] >= 0).sum())
                )
        return count

    def run(side: str, name: str) -> float:
        return sum(sides[side].ask("run", name=f"{name}_{number}") for number in range(len(requests[name])))

    with contextlib.ExitStack() as stack:
        sides, why = {OURS: stack.enter_context(setting.start(OURS))}, _absent(setting)
        if not why:
            sides[LLAMA] = stack.enter_context(setting.start(LLAMA))
        tokens = {name: {side: ready(side, name) for side in sides} for name in works}
        calls = {name: {side: functools.partial(run, side, name) for side in sides} for name in works}
        seconds = {name: paired_timing.interleave(of_sides, pairs) for name, of_sides in calls.items()}
    rows = tuple(
        (
            work.words,
            side.replace("_", "."),
            work.workload.dtype if side == OURS else "Q4_1, as shipped",
            *spread(spent),
        )
        + (tokens[name][side], tokens[name][side] / spread(spent)[0])
        for name, work in works.items()
        for side, spent in seconds[name].items()
    )
    columns = ("work", "side", "weights", "median s", "least", "most", "tokens", "tokens per second")
    table = Table("Language models with packed weights", columns, rows)
    if why:
        return Findings(tables=(table,), skipped={f"{case.name}: llama.cpp": why})
    each = {
        name: [[spent / tokens[name][side] for spent in seconds[name][side]] for side in (LLAMA, OURS)]
        for name in works
    }
    words = "time per token of llama.cpp with 4 bits over ours in"
    ratios = (
        Ratio(
            f"{case.name}_{name}",
            f"{case.name}: {words} {work.workload.dtype}, {work.words}",
            duel.ratio(each[name][0], each[name][1]),
            pairs,
            work.threshold,
        )
        for name, work in works.items()
    )
    return Findings(ratios=tuple(ratios), tables=(table,))


def _parts(work: Packed, setting: Any) -> Iterator[tuple[Workload, dict[str, np.ndarray]]]:
    """What is done one after the other, with its arrays."""
    if not work.task or setting.config.tiny:
        workload = setting.fitted(work.workload)
        yield workload, smollm2.inputs(workload)
        return
    chat = chat_models.opened()
    for message in writing_tasks.TASKS[work.task]:
        ids = chat_models.question(chat, message)
        yield (
            dataclasses.replace(work.workload, tokens=len(ids)),
            {"ids": ids[None], "stop": np.array([chat.tokenizer.end], np.int32)},
        )


def _absent(setting: Any) -> str:
    """Why llama.cpp takes no part."""
    if setting.peer is None or setting.config.tiny:
        return (
            "it needs --peers"
            if setting.peer is None
            else "it reads the real file alone, and takes no part in a smoke run"
        )
    with setting.start(LLAMA) as side:
        return side.ask("missing")


QUESTION = "the same three with small weights, beside llama.cpp with 4 bits"
CASES = (
    Case("lm_llama_cpp", QUESTION, smollm2.PREFILL, measure=functools.partial(measure, PACKED), **smollm2.REAL),
    Case(
        "lm_replies",
        "replies that repeat their question, beside llama.cpp",
        REPLY,
        measure=functools.partial(measure, REPLIES),
        **smollm2.REAL,
    ),
)
