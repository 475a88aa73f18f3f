"""What makes a model that goes on with texts into one that answers?

    python -m experiments run instruct

trains a small model of bytes on facts and on sheets of orders that nobody answers, and tunes it on orders
with responses: before, it goes on with the sheet; after, it answers held-out orders and ends. Two tunings go wrong
on purpose: on responses of other orders, and without loss on the end. SmolLM2-135M-Instruct is asked a hundred
questions as plain text, in a frame, and in its chat template. Three seeds are trained by one program. It takes about 12
minutes on 2 cores, of which SmolLM2 takes 4.

An order is "add 12 34?", and its response "046". The first training reads two kinds of documents: facts, as in "add 12
34 is 046.", and sheets, on which orders follow each other. So the network has read of results, and has read orders, but
never one that was answered.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
from jaxtyping import Bool, Int, Int32, Int64

from experiments.language import questions, replies
from experiments.language.replies import Marks
from experiments.preferences import responses, stages
from experiments.tasks import addition
from gendiff import language, networks
from gendiff.commands.chat import models
from gendiff.core.errors import ConfigError
from gendiff.core.types import Params
from gendiff.language import objective
from gendiff.preferences import instruction
from gendiff.preferences.instruction import Rows
from gendiff.runs import devices, meshes, vmapped_seeds
from gendiff.runs.progress import Progress
from gendiff.runs.ranges import Count, Distinct, Natural, Positive, Seed, Several
from gendiff.runs.reporting import figures, intervals
from gendiff.runs.reporting.answers import Answer, Change
from gendiff.runs.reporting.results import Figure
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.study import Measured, Measurements, Study, claim, control
from gendiff.training import optimizers

BASE, TUNED = "before tuning", "tuned"
SHUFFLED, ENDLESS = "control: responses of other orders", "control: no loss on the end"
FOLDERS = {BASE: "base", TUNED: "tuned", SHUFFLED: "shuffled", ENDLESS: "endless"}
TUNINGS = TUNED, SHUFFLED, ENDLESS
PLAIN, FRAME, TEMPLATE = "plain text", "between “Question:” and “Answer:”", "chat template"
OTHERS = "chat template, answers of other questions"

VERBS: dict[str, Callable[..., np.ndarray]] = {"add": np.add, "max": np.maximum, "min": np.minimum}
DIGITS, END = 2, 256
"""Of each number, of which a response has one more; and the token that ends a text, behind those of all bytes."""
FACTS, SHEET = 2, 3
"""How many facts, and how many orders, a document of the first training holds."""
ORDER, RESPONSE, STATED = len(b"add 12 34?\n"), len(b"046"), len(b"add 12 34 is ")
LENGTH = max(FACTS * len(b"add 12 34 is 046.\n"), SHEET * ORDER) + 1
"""Tokens of the longest document, its end included."""
LONGEST, EXAMPLES = ORDER + 1, 6
"""Tokens of a reply, at most, with room for a further order; replies of a table."""


@dataclasses.dataclass(frozen=True)
class Config:
    """The numbers that are turned."""

    seeds: Distinct[Seed] = (0, 1, 2)
    """Seeds of the small model, all of them trained by one program."""
    width: Annotated[int, msgspec.Meta(ge=16, le=2048, multiple_of=16)] = 64
    """Channels of a token."""
    depth: Annotated[int, msgspec.Meta(ge=1, le=64)] = 2
    """Blocks."""
    train_steps: Count = 600
    """Optimizer steps of the first training, on facts and sheets of orders."""
    batch: Several = 64
    """Documents per step."""
    learning_rate: Positive = 3e-3
    """Peak learning rate of AdamW; it falls along a cosine."""
    warmup: Natural = 100
    """Steps until the learning rate peaks."""
    pairs: Several = 8000
    """Orders with responses, on which the model is tuned."""
    tuning_steps: Count = 600
    """Optimizer steps of tuning."""
    tuning_batch: Count = 96
    """Orders per step of it."""
    tuning_rate: Positive = 2e-3
    """Learning rate of it, which falls along a cosine."""
    judged: Several = 600
    """Held-out pairs of numbers, each with one verb. No training sees one in either order."""
    questions: Annotated[int, msgspec.Meta(ge=4, le=100)] = 100
    """How many of the hundred questions SmolLM2 is asked, from the first on."""
    max_tokens: Count = 48
    """Tokens of its replies, at most."""
    tiny: bool = False
    """Ask a small network with random weights in place of SmolLM2: to see that everything runs."""


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other."""
    if config.warmup >= config.train_steps:
        raise ConfigError(
            f"--warmup {config.warmup} must be below --train-steps {config.train_steps}: both count steps"
        )
    if config.judged > (most := addition.unordered(DIGITS) // 2):
        raise ConfigError(f"--judged {config.judged} is above {most}, half of the pairs of numbers of {DIGITS} digits")
    if config.tuning_batch > config.pairs:
        raise ConfigError(f"--tuning-batch {config.tuning_batch} is above --pairs {config.pairs}")


def orders(verbs: Int[np.ndarray, "n"], pairs: Int[np.ndarray, "n 2"]) -> Int32[np.ndarray, "n o"]:
    """Orders by the numbers of their verbs and their pairs of numbers."""
    names = (tuple(VERBS)[verb] for verb in verbs)
    return _bytes(f"{name} {first:02} {second:02}?\n" for name, (first, second) in zip(names, pairs, strict=True))


def right_responses(verbs: Int[np.ndarray, "n"], pairs: Int[np.ndarray, "n 2"]) -> Int32[np.ndarray, "n 3"]:
    """Without an end."""
    results = np.stack([result(pairs[:, 0], pairs[:, 1]) for result in VERBS.values()])
    return _bytes(f"{result:03}" for result in results[verbs, np.arange(len(verbs))])


def facts(verbs: Int[np.ndarray, "n"], pairs: Int[np.ndarray, "n 2"]) -> Int32[np.ndarray, "n f"]:
    """Orders with their responses as statements."""
    between, behind = (np.tile(_bytes([text]), (len(verbs), 1)) for text in (" is ", ".\n"))
    return np.concatenate([orders(verbs, pairs)[:, :-2], between, right_responses(verbs, pairs), behind], 1)


def documents(count: int, seed: int, step: int, *, without: Int64[np.ndarray, "m 2"]) -> Int32[np.ndarray, "n s"]:
    """The documents (count, LENGTH) of a step of the first training: one half facts, one half sheets, −1 behind
    them.
    """
    half = count // 2
    lines = half * FACTS + (count - half) * SHEET
    pairs = addition.batch_at(DIGITS, lines, seed, step, without=without)
    verbs = np.random.default_rng((seed, step, 1)).integers(len(VERBS), size=lines)
    stated, listed = (slice(None, half * FACTS), slice(half * FACTS, None))
    texts = (
        facts(verbs[stated], pairs[stated]).reshape(half, -1),
        orders(verbs[listed], pairs[listed]).reshape(count - half, -1),
    )
    ended = [np.concatenate([body, np.full((len(body), 1), END, np.int32)], 1) for body in texts]
    return np.concatenate([np.pad(each, ((0, 0), (0, LENGTH - each.shape[1])), constant_values=-1) for each in ended])


def is_response(tokens: Int[np.ndarray, "n s"], finished: Bool[np.ndarray, "n"]) -> Bool[np.ndarray, "n"]:
    """Whether each reply has the form of a response: three digits and the end. −1 stands behind replies."""
    digits = ((tokens[:, :RESPONSE] >= ord("0")) & (tokens[:, :RESPONSE] <= ord("9"))).all(1)
    return digits & finished & ((tokens >= 0).sum(1) == RESPONSE + 1)


def is_order(tokens: Int[np.ndarray, "n s"]) -> Bool[np.ndarray, "n"]:
    """Whether each reply begins with a further order: it goes on with the sheet."""
    forms = np.stack([np.frombuffer(f"{name} 00 00?\n".encode(), np.uint8) for name in VERBS])
    start = tokens[:, None, :ORDER]
    return np.where(forms == ord("0"), (start >= ord("0")) & (start <= ord("9")), start == forms).all(2).any(1)


def text(tokens: Int[np.ndarray, " s"]) -> str:
    """A reply for readers; ∎ is its end."""
    return "".join("∎" if token == END else chr(token).replace("\n", "↵") for token in tokens if token >= 0)


def _bytes(lines: Iterable[str]) -> np.ndarray:
    """(n, k) int32 of lines that are equally long."""
    encoded = [line.encode() for line in lines]
    return np.frombuffer(b"".join(encoded), np.uint8).reshape(len(encoded), -1).astype(np.int32)


def network(config: Config) -> networks.LanguageModel:
    """The network of all stages."""
    sizes: dict[str, Any] = {"width": config.width, "depth": config.depth, "heads": 4, "mlp_width": 2 * config.width}
    return networks.LanguageModel(vocabulary=END + 1, context=LENGTH, positions="learned", **sizes)


def held_out(config: Config) -> tuple[np.ndarray, np.ndarray]:
    """The orders that are judged, as (verbs (n,), pairs (n, 2)); the same ones for all seeds."""
    return np.arange(config.judged) % len(VERBS), addition.held_out(DIGITS, config.judged, seed=0)


def examples(config: Config, name: str, seed: int) -> Rows:
    """Orders with responses, as a tuning of this name has them."""
    pairs = addition.batch_at(DIGITS, config.pairs, seed, 2**31 - 1, without=held_out(config)[1])
    verbs = np.random.default_rng((seed, 2)).integers(len(VERBS), size=config.pairs)
    right = np.roll(right_responses(verbs, pairs), int(name == SHUFFLED), 0)
    rows = instruction.rows(orders(verbs, pairs).tolist(), right.tolist(), end=END, length=ORDER + RESPONSE + 1)
    return Rows(rows.tokens, np.where(rows.tokens == END, np.float32(0), rows.weight)) if name == ENDLESS else rows


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """The first training, and each tuning from where it ended."""
    if not config.tiny:
        models.tokenizer()  # nothing is trained where the package of SmolLM2 is missing
    mesh, module, seeds = meshes.build(folder.mesh, ()), network(config), config.seeds
    loss, numbers = objective.next_token(networks.pure(module)), dict[str, Any](weight_decay=0.01, clip=1.0)

    def documents_at(step: int) -> language.Texts:
        """(batch, seeds, length) of a step."""
        return language.Texts(
            np.stack([documents(config.batch, seed, step, without=held_out(config)[1]) for seed in seeds], 1)
        )

    adamw = optimizers.adamw(config.learning_rate, warmup=config.warmup, total=config.train_steps, **numbers)
    options: dict[str, Any] = {"seeds": seeds, "progress": progress}
    first = stages.first(module, loss, adamw, seeds, mesh)
    stages.train(first, documents_at, steps=config.train_steps, folder=folder.inside(FOLDERS[BASE]), **options)
    adamw = optimizers.adamw(config.tuning_rate, warmup=0, total=config.tuning_steps, **numbers)
    tuning = stages.following(restore(config, folder, BASE), loss, adamw, seeds, mesh)
    for name in TUNINGS:
        texts = [language.Texts(*examples(config, name, seed)) for seed in seeds]
        batch_at = functools.partial(stages.batch_at, texts, seeds, config.tuning_batch)
        stages.train(tuning, batch_at, steps=config.tuning_steps, folder=folder.inside(FOLDERS[name]), **options)


def restore(config: Config, folder: RunFolder, name: str) -> Params:
    """The parameters of a network by its name; every leaf has an axis of seeds in front."""
    return stages.restore(network(config), folder.inside(FOLDERS[name]), config.seeds)


def measure(config: Config, folder: RunFolder, progress: Progress) -> Iterator[Measured]:
    """Replies of the small model to held-out orders at every stage, and of SmolLM2 to questions in three frames."""
    verbs, pairs = held_out(config)
    order, right = orders(verbs, pairs), right_responses(verbs, pairs)
    end = np.full((len(order), 1), END, np.int32)
    statements = facts(verbs, pairs)[:, :STATED]
    reply, complete, chance = (
        _writer(network(config), LONGEST),
        _writer(network(config), RESPONSE),
        _chances(network(config)),
    )
    with progress.phase("small model"):
        params = {name: restore(config, folder, name) for name in FOLDERS}
        texts = {name: [""] for name in FOLDERS}
        for number, seed in enumerate(config.seeds):
            for name, params_of in params.items():
                one = vmapped_seeds.of_seed(params_of, number)
                tokens, finished = jax.device_get(reply(one, order))
                measures: dict[str, Any] = {
                    what: intervals.share(hits) for what, hits in marks(tokens, finished, right).items()
                }
                measures["chance"] = float(np.asarray(chance(one, np.concatenate([order, right, end], 1))).mean())
                if name == BASE:
                    measures["stated"] = float((np.asarray(complete(one, statements)[0]) == right).all(1).mean())
                yield Measured(name, measures, seed, len(order), "replies")
                texts[name] = texts[name] if number else [text(row) for row in tokens[:EXAMPLES]]
    for name in TUNINGS:
        rows = examples(config, name, config.seeds[0])
        yield Measured(
            name,
            {"checker": "; ".join(instruction.findings(rows.tokens, rows.weight, end=END)) or "nothing"},
            group="sets",
        )
    for number, row in enumerate(order[:EXAMPLES]):
        yield Measured(text(row), {name: texts[name][number] for name in FOLDERS}, group="orders")
    yield from judge(config, smollm2(config, progress))


def marks(tokens: np.ndarray, finished: np.ndarray, right: np.ndarray) -> dict[str, np.ndarray]:
    """(n,) each, of the likeliest replies (n, s) to orders with these right responses (n, 3)."""
    responds, begins = is_response(tokens, finished), (tokens[:, :RESPONSE] == right).all(1)
    return {"continues": is_order(tokens), "responds": responds, "right": responds & begins, "begins": begins}


def smollm2(config: Config, progress: Progress) -> dict[str, Marks]:
    """SmolLM2's replies to all questions at once, by the frame in which they are asked."""
    chat, quiz = models.tiny() if config.tiny else models.opened(), questions.questions()[: config.questions]
    texts = [question for question, _ in quiz]
    result = {}
    for frame in (PLAIN, FRAME, TEMPLATE):
        prompts = [f"Question: {each}\nAnswer:" for each in texts] if frame == FRAME else texts
        with progress.phase(frame):
            result[frame] = replies.marks(
                models.answers(chat, prompts, config.max_tokens, template=frame == TEMPLATE), quiz
            )
    return result


def judge(config: Config, marked: dict[str, Marks]) -> Iterator[Measured]:
    """SmolLM2's right replies and ends, and how often a reply holds the answers of other questions by chance."""
    quiz = questions.questions()[: config.questions]
    useful = {frame: (each.right & each.ended).astype(np.float64) for frame, each in marked.items()}
    for frame, each in marked.items():
        measures: dict[str, Any] = {"holds": intervals.share(each.right), "ends": intervals.share(each.ended)}
        if frame == TEMPLATE:
            measures["gained"] = intervals.interval(
                intervals.difference_of_means, useful[TEMPLATE], useful[PLAIN], paired=True
            )
        yield Measured(frame, measures, n=len(quiz), group="questions")
    chance = intervals.interval(np.mean, replies.of_others(marked[TEMPLATE].texts, quiz))
    yield Measured(OTHERS, {"holds": chance}, n=len(quiz), group="questions")
    for number, (question, _) in enumerate(quiz[:12]):
        cut = {frame: each.texts[number].strip()[:120] or "∎" for frame, each in marked.items()}
        yield Measured(question, cut, group="SmolLM2's replies")


@functools.lru_cache(maxsize=4)
def _writer(network: networks.LanguageModel, most: int) -> Any:
    """(params, prompt) -> the likeliest tokens (n, most) behind prompts, −1 behind them, and whether they end (n,)."""

    def write(params: Params, prompt: jax.Array) -> tuple[jax.Array, jax.Array]:
        key, index = jax.random.key(0), jnp.arange(prompt.shape[0])  # nothing is drawn
        result = responses.write(network, params, key, prompt, index, most, temperature=0.0, stop=(END,))
        return result.tokens, result.finished

    return devices.jit(write, libraries=False)


@functools.lru_cache(maxsize=4)
def _chances(network: networks.LanguageModel) -> Any:
    """(params, rows) -> (n,) the probability of what stands behind each order, exact."""
    predict = networks.pure(network)
    return devices.jit(lambda params, rows: jnp.exp(responses.log_probs(predict, params, rows, ORDER)), libraries=False)


def _bars(file: str, group: str, measures: dict[str, str], caption: str) -> Callable[[Measurements, RunFolder], Figure]:
    def draw(measured: Measurements, folder: RunFolder) -> Figure:
        rows = [
            (name, measure, words)
            for name in measured.names(group)
            for measure, words in measures.items()
            if name != OTHERS
        ]
        shares = {f"{name}: {words}": measured.mean(name, measure) for name, measure, words in rows}
        return figures.bars(shares, folder.figure(file), caption, x_label="share")

    return draw


CLAIMS = (
    claim(
        BASE,
        "continues",
        ">=",
        0.9,
        role="E20",
        id="continues",
        figure="orders.png",
        reason="it has read orders on sheets alone",
    ),
    claim(
        BASE,
        "responds",
        "<=",
        0.05,
        role="E20",
        id="before",
        figure="orders.png",
        reason="it has read no response to an order",
    ),
    claim(
        TUNED,
        "responds",
        ">=",
        0.95,
        role="E21",
        id="answers",
        figure="orders.png",
        reason="the form is the same for all orders",
    ),
    claim(
        TUNED,
        "right",
        ">=",
        0.8,
        role="E21",
        id="right",
        figure="orders.png",
        reason="one in a hundred would be right by chance",
    ),
    claim(
        TEMPLATE,
        "holds",
        ">=",
        0.5,
        role="E21",
        id="template",
        figure="questions.png",
        reason="more often right than wrong",
    ),
    claim(TEMPLATE, "gained", ">=", 0.0, role="E21", id="gained", figure="questions.png", reason="no gain is 0"),
)
CONTROLS = (
    control(SHUFFLED, "right", against=TUNED, by="<=", id="shuffled", figure="orders.png"),
    control(ENDLESS, "responds", against=TUNED, by="<=", id="endless", figure="orders.png"),
    control(OTHERS, "holds", against=TEMPLATE, by="<=", id="others", figure="questions.png"),
)

_TINY: dict[str, Any] = {"width": 16, "depth": 1, "train_steps": 4, "warmup": 1, "batch": 8, "pairs": 24}
_TINY |= {"tuning_steps": 2, "tuning_batch": 8}
EXPERIMENT = Study(
    name="instruct",
    config=Config,
    presets={"full": Config()},
    smoke=Config(seeds=(0,), judged=30, questions=4, max_tokens=4, tiny=True, **_TINY),
    train=train,
    measure=measure,
    words={
        "continues": "orders after which it goes on with a further order",
        "responds": "orders to which it gives a response and ends",
        "right": "held-out orders that it answers rightly, and ends",
        "begins": "begins rightly",
        "chance": "chance of the right response and its end",
        "stated": "completes the same facts rightly as statements",
        "checker": "found",
        "holds": "questions whose reply by SmolLM2 holds the answer",
        "ends": "replies that end by themselves",
        "gained": "share that SmolLM2 answers rightly and ends, less that as plain text",
    },
    claims=CLAIMS,
    controls=CONTROLS,
    figures=(
        _bars(
            "orders",
            "replies",
            {"responds": "responds and ends", "right": "rightly"},
            "Share of held-out orders to which the small model replies with a response and its end, all seeds.",
        ),
        _bars(
            "questions",
            "questions",
            {"holds": "holds the answer", "ends": "ends by itself"},
            "Share of the questions whose reply by SmolLM2 holds the answer, and of the replies that end by "
            "themselves.",
        ),
    ),
    tables={
        "replies": (
            "Replies to held-out orders.",
            "Likeliest replies; the chance is exact, the product of the chances of each token. What the network lacks "
            "before tuning it learns in tuning. Tuning without loss on the end may begin with the right response, and "
            "does not stop there.",
        ),
        "sets": (
            "What preferences.instruction.findings says of the sets.",
            "It reads weights, not meaning: responses of other orders are no mistake that it could see.",
        ),
        "orders": (
            "Replies to the first orders, first seed.",
            f"↵ is a line's end, ∎ a text's. Replies are cut at {LONGEST} tokens.",
        ),
        "questions": ("SmolLM2's replies to all questions.", ""),
        "SmolLM2's replies": (
            "SmolLM2's replies to the first questions, cut at 120 characters.",
            "∎ is a reply that ends before its first word.",
        ),
    },
    answer=Answer(
        text="tuning on orders with responses: from {before:.0%} to {answers:.0%} of orders get a reply that ends, and "
        "{right:.0%} the right one",
        statements={
            "E20": "Before tuning, a small model goes on with a further order after {continues:.0%} of orders and "
            "answers {before:.0%}",
            "E21": "Tuned, a small model answers {right:.0%} of new orders rightly; SmolLM2 gives {gained:.2f "
            "interval} more right answers that end, by its template",
        },
        picture="orders.png",
        before=(
            Change(
                "2026-11-30",
                "9fdd4e3",
                "Claims are judged by the mean over seeds, no longer in each seed: the share of right answers failed "
                "in one seed and is open now.",
                "A rule that does not depend on the number of seeds.",
            ),
            Change(
                "2026-11-30",
                "a402b00",
                "Controls are compared with the tuned network or the right answers, no longer with thresholds.",
                "A control must fall short of what it controls.",
            ),
        ),
    ),
    more={"check": check},
).experiment()
