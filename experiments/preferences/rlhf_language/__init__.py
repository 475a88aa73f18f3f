"""Does RLHF make a real language model more useful, and what happens when its reward model is optimised too far?

    python -m experiments run rlhf-language

People say what they are about to do, and a reply is of use where it encourages them, names what they spoke of, advises,
and reads well. A reward model, logistic regression of frozen features of MiniLM, learns the first three from 192
rankings of written replies in which neither length nor style pays. Adapters of low rank on SmolLM2-135M-Instruct learn
from its scores by GRPO: with a KL penalty and without one, with two seeds, and with a weak one. The judge is a rule
that nothing learns from, and judges replies to families of requests that nothing was trained on. Expect the scores to
rise in all, and the judge's share where there is a penalty; without one scores rise further and the share less, or it
falls: over-optimisation. The controls: best of 4 replies of the model that is not tuned, a random reward, shuffled
rankings, and the rule that longer is better. About 50 minutes on 2 cores.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.preferences.rlhf_language import adapters, rankings, requests, reward_model
from experiments.preferences.rlhf_language.adapters import ARMS, FREE, NEAR, RANDOM, Replies
from experiments.preferences.rlhf_language.config import Config, check
from experiments.preferences.rlhf_language.requests import PARTS, Request
from experiments.preferences.rlhf_language.reward_model import RewardModel
from gendiff.commands.images import image_training
from gendiff.core.types import Params
from gendiff.preferences.best_of_n import kl_bound
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import figures, intervals
from gendiff.runs.reporting.answers import Answer, Change
from gendiff.runs.reporting.figures import Curve, Panel
from gendiff.runs.reporting.results import Figure
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.study import Measured, Measurements, Study, claim, control

__all__ = ["EXPERIMENT", "Config"]

PLAIN, BEST = "not tuned", "best of several, not tuned"
FURTHER = "without the penalty, beside with it"
MODEL, LONGER, SHUFFLED = "reward model", "the longer one is better", "reward model of shuffled rankings"
LISTED = 6
"""Requests in the table of replies."""


def judged(config: Config) -> list[Request]:
    """Requests of families that nothing was trained on."""
    return requests.requests(requests.NEW, config.requests)


@dataclasses.dataclass(frozen=True)
class Scores:
    """Of replies to requests, several times: proxy, kl and words (times, r), and parts (times, r, 4).

    proxy: of the reward model. parts: of the judge. kl: log π/π₀. words: of a reply.
    """

    proxy: np.ndarray
    parts: np.ndarray
    kl: np.ndarray
    words: np.ndarray

    @property
    def useful(self) -> np.ndarray:
        """(r,) share of the replies to each request that are of use."""
        return self.parts.all(2).mean(0)

    def best(self, count: int) -> "Scores":
        """Of each `count` replies to a request the one that the reward model scores highest."""
        chosen = self.proxy.reshape(-1, count, self.proxy.shape[1]).argmax(1)
        rows = chosen + count * np.arange(len(chosen))[:, None]
        columns = np.arange(rows.shape[1])
        kl = np.full(rows.shape, kl_bound(count))
        return Scores(self.proxy[rows, columns], self.parts[rows, columns], kl, self.words[rows, columns])


def scores(model: RewardModel, known: Sequence[Request], result: Replies) -> Scores:
    """Of the reward model and of the judge."""
    texts, names = ([getattr(request, field) for request in known] for field in ("text", "name"))
    return Scores(
        np.array([reward_model.scored(model, texts, part) for part in result.texts]),
        np.array([requests.parts(part, names) for part in result.texts]),
        result.kl,
        np.array([[len(text.split()) for text in part] for part in result.texts]),
    )


def measure(config: Config, folder: RunFolder, progress: Progress) -> Iterator[Measured]:
    """The reward model on other rankings, and replies of every model to requests of new families."""
    job = adapters.opened(config, folder, progress)
    known, write = judged(config), adapters.writer(job)
    with progress.phase("reward model"):
        model = adapters.learned_reward(config, job.chat)
        models = list(reward_models(config, model))
    trees: dict[tuple[str, int | None], Params] = {
        (arm, seed): adapters.change(job, folder, arm, seed) for arm in ARMS for seed in adapters.seeds(config, arm)
    }
    trees = {(PLAIN, None): jax.tree.map(jnp.zeros_like, next(iter(trees.values()))), **trees}
    results: dict[tuple[str, int | None], Scores] = {}
    examples: dict[str, list[str]] = {}
    for (name, seed), tree in trees.items():
        with progress.phase(name, seed=seed):
            times = config.draws * config.best if name == PLAIN else config.draws
            answers = adapters.replies(job, write, tree, known, times)
            results[name, seed] = scores(model, known, answers)
            examples.setdefault(name, answers.texts[0])
    results[BEST, None] = results[PLAIN, None].best(config.best)
    yield from policies(results)
    yield from models
    for arm in ARMS:
        for seed in adapters.seeds(config, arm):
            yield on_the_way(adapters.inside(folder, arm, seed), arm, seed)
    for at, request in list(enumerate(known))[:: max(1, len(known) // LISTED)][:LISTED]:
        cells = {name: texts[at].strip()[:160] for name, texts in examples.items()}
        yield Measured(request.text, cells, group="replies")


def reward_models(config: Config, model: RewardModel) -> Iterator[Measured]:
    """Their accuracy on rankings of new families in other words, and whether length alone pays."""
    rng, new = np.random.default_rng(1), judged(config)
    held_out = list(rankings.pairs(rng, new, rankings.NEW))
    both = (adapters.taught(config), rankings.TAUGHT), (new, rankings.NEW)
    lengths = [pair for each in both for pair in rankings.of_length(rng, *each)]
    margins, by_length, known = map(reward_model.differences, (held_out, lengths, adapters.ranked(config)))
    shuffled = reward_model.fit(known * rng.choice([-1.0, 1.0], (len(known), 1)))
    longer = reward_model.accuracy(by_length @ model.weights)
    by_name = {
        MODEL: reward_model.accuracy(margins @ model.weights),
        LONGER: rankings.longer(held_out),
        SHUFFLED: reward_model.accuracy(margins @ shuffled),
    }
    for name, right in by_name.items():
        measures: dict[str, Any] = {"accuracy": intervals.interval(np.mean, right)}
        for lacks in requests.RANKED:
            rows = [pair.lacks == lacks for pair in held_out]
            measures[f"accuracy: {lacks}"] = intervals.interval(np.mean, right[rows])
        if name == MODEL:
            measures["longer"] = intervals.interval(np.mean, longer)
            measures["length pays"] = intervals.interval(_from_half, longer)
        yield Measured(name, measures, n=len(held_out), group="reward models")


def policies(results: Mapping[tuple[str, int | None], Scores]) -> Iterator[Measured]:
    """Every model beside the one that is not tuned, and those without the penalty beside those with it."""
    plain = results[PLAIN, None]
    for (name, seed), each in results.items():
        measures: dict[str, Any] = {
            "proxy": intervals.interval(np.mean, each.proxy.mean(0)),
            "useful": intervals.interval(np.mean, each.useful),
            "KL": float(each.kl.mean()),
            "words": float(each.words.mean()),
        }
        if name != PLAIN:
            measures["proxy gained"] = _gain(each.proxy.mean(0), plain.proxy.mean(0))
            measures["gained"] = _gain(each.useful, plain.useful)
        yield Measured(name, measures, seed, each.parts[..., 0].size)
    for seed in [seed for name, seed in results if name == FREE]:
        near, free = results[NEAR, seed], results[FREE, seed]
        further = {
            "proxy further": _gain(free.proxy.mean(0), near.proxy.mean(0)),
            "useful lost": _gain(near.useful, free.useful),
        }
        yield Measured(FURTHER, further, seed, free.parts[..., 0].size, "further")
    for (name, seed), each in results.items():
        shares = {part: float(each.parts[..., at].mean()) for at, part in enumerate(PARTS)}
        yield Measured(name, shares, seed, each.parts[..., 0].size, "parts")


def on_the_way(part: RunFolder, arm: str, seed: int) -> Measured:
    """Along a training, in means over a fifth of its steps: where the judge's share peaks, and how far it falls.

    The interval of the fall is the t interval of the steps behind both ends.
    """
    lines = {name: image_training.loss_curve(arm, part, seed, name) for name in ("kl", "proxy", "useful")}
    kl, proxy, useful = (np.asarray(lines[name].y) for name in ("kl", "proxy", "useful"))
    peak = int(np.argmax(useful))
    numbers = {"useful at the peak": useful[peak], "KL at the peak": kl[peak], "proxy at the peak": proxy[peak]}
    numbers |= {"useful at the end": useful[-1], "KL at the end": kl[-1], "proxy at the end": proxy[-1]}
    steps = np.asarray(image_training.loss_curve(arm, part, seed, "useful", width=1).y)
    width = 1 + len(steps) - len(useful)
    ends = steps[peak : peak + width], steps[-width:]
    fall = intervals.over_seeds(intervals.difference_of_means, *ends, paired=False)
    measures: dict[str, Any] = {**{name: float(number) for name, number in numbers.items()}, "fall": fall}
    arrays = {"arm": arm, "way": np.stack([kl, proxy, useful])}
    return Measured(arm, measures, seed, width, "on the way", arrays)


def _gain(after: np.ndarray, before: np.ndarray) -> Any:
    return intervals.interval(intervals.difference_of_means, after, before, paired=True)


def _from_half(shares: np.ndarray) -> float:
    return abs(float(np.mean(shares)) - 0.5)


def way(measured: Measurements, folder: RunFolder) -> Figure:
    """Scores of the reward model and the judge's share against √KL."""
    rows = [each for each in measured if each.group == "on the way"]
    panels = [
        Panel(
            title,
            [
                Curve(
                    f"{each.name}, {each.seed}", np.sqrt(np.maximum(each.arrays["way"][0], 0)), each.arrays["way"][at]
                )
                for each in rows
            ],
        )
        for at, title in ((1, "score of the reward model"), (2, "share that the judge finds useful"))
    ]
    caption = (
        "Along each training, of the replies that GRPO draws, in means over a fifth of the steps: what it learns from, "
        "and the judge that it does not. The number is the seed."
    )
    return figures.small_multiples(
        panels, folder.figure("way"), caption, x_label="√KL to the model that is not tuned, √nats"
    )


def parts(measured: Measurements, folder: RunFolder) -> Figure:
    """Shares of what a useful reply does, for each model."""
    rows = {part: {name: measured.mean(name, part) for name in measured.names("parts")} for part in PARTS}
    caption = "Share of replies to requests of new families that do each thing: means over seeds."
    return figures.bars(rows, folder.figure("parts"), caption, x_label="share of replies", within=(0, 1))


SMALL_ERROR = "of four pairs, three; a coin has 0.5"
TENTH = "of ten replies, one more"
BY_JUDGE: dict[str, Any] = {"figure": "parts.png"}
BY_WAY: dict[str, Any] = {"role": "check", "figure": "way.png"}
STUDY = Study(
    name="rlhf-language",
    config=Config,
    presets={"full": Config()},
    smoke=Config(seeds=(0,), requests=2, lora=2, batch=1, group=2, steps=10, max_tokens=4, draws=1, best=2, tiny=True),
    train=adapters.train,
    measure=measure,
    words={
        "proxy": "score of the reward model, in standard deviations of the model that is not tuned",
        "useful": "share that the judge finds useful",
        "proxy gained": "score of the reward model, less that of the model that is not tuned",
        "gained": "share that the judge finds useful, less that of the model that is not tuned",
        "KL": "KL to the model that is not tuned, nats per reply",
        "words": "words of a reply",
        "proxy further": "score of the reward model, less that with the penalty",
        "useful lost": "share that the judge finds useful with the penalty, less that without",
        "accuracy": "share of rankings in the right order",
        "longer": "two wordings of one reply: share of pairs in which the longer one scores higher",
        "length pays": "two wordings of one reply: how far the share in which the longer one scores higher is from 0.5",
        "fall": "the judge's share at its peak, less that at the end",
    },
    claims=(
        claim(MODEL, "accuracy", ">=", 0.75, role="E22", id="reward-model", reason=SMALL_ERROR),
        claim(
            NEAR,
            "proxy gained",
            ">=",
            0.5,
            role="E22",
            id="proxy-gained",
            reason="half a standard deviation: a medium effect",
            figure="way.png",
        ),
        claim(NEAR, "gained", ">=", 0.1, role="E23", id="gained", reason=TENTH, **BY_JUDGE),
        claim(
            MODEL,
            "length pays",
            "<=",
            0.2,
            role="check",
            id="length",
            reason="of ten pairs the longer one wins three to seven",
        ),
        claim(
            FURTHER,
            "proxy further",
            ">=",
            0.5,
            id="further",
            reason="half a standard deviation: else the penalty changes little",
            **BY_WAY,
        ),
        claim(FURTHER, "useful lost", ">=", 0.1, id="overoptimised", reason="of ten replies, one fewer", **BY_WAY),
        claim(
            FREE,
            "fall",
            ">=",
            0.2,
            id="fall",
            reason="the highest of moving means of 64 replies lies about 0.08 above the last one by chance",
            **BY_WAY,
        ),
    ),
    controls=(
        control(BEST, "gained", against=NEAR, by="<=", margin=-0.05, id="best-of-n", **BY_JUDGE),
        control(RANDOM, "gained", against=NEAR, by="<=", margin=-0.1, id="random", **BY_JUDGE),
        control(NEAR, "fall", against=FREE, by="<=", margin=-0.1, id="fall-near", figure="way.png"),
        control(SHUFFLED, "accuracy", against=MODEL, by="<=", margin=-0.15, id="shuffled"),
        control(LONGER, "accuracy", against=MODEL, by="<=", margin=-0.15, id="longer"),
    ),
    figures=(way, parts),
    tables={
        "": (
            "Replies to requests of new families",
            "KL is a mean of log π/π₀; that of the best of several is its bound log n − (n − 1)/n.",
        ),
        "further": ("The model without the penalty beside the one with it", ""),
        "reward models": (
            "The reward model on rankings of new families in other words",
            "The two replies of a ranking differ in one thing, in length and in style, of which the last two are as "
            "often on either side.",
        ),
        "on the way": (
            "Along each training",
            "Of the replies that GRPO draws, in means over a fifth of the steps. The peak is chosen after the fact, so "
            "a fall is above 0 by chance. Its interval is that of the steps at both ends, whose requests differ.",
        ),
        "parts": ("What replies do", "A useful one does all four; no ranking is about the last one."),
        "replies": ("Replies to some requests, cut at 160 characters, of the first seed", ""),
    },
    answer=Answer(
        text="GRPO with a KL penalty makes {gained:.0%} more replies of SmolLM2 useful in families that it was not "
        "trained on; without one the judge finds {overoptimised:.0%} fewer useful than with it, at a higher reward",
        statements={
            "E22": "A reward model of 192 rankings is right in {reward-model:.2f interval} of new ones, and GRPO "
            "raises its score by {proxy-gained:.1f interval} standard deviations on SmolLM2",
            "E23": "By a rule that nothing learned from, a share {gained:.2f interval} more of SmolLM2's replies are "
            "useful after GRPO",
        },
        picture="way.png",
        before=(
            Change(
                "2026-12-02",
                "02d75fba",
                "From the next run on, the fall of the judge's share has the interval of its steps; here, none.",
                "Without one, all that two seeds differ by counts as scatter of seeds.",
            ),
        ),
    ),
    more={"check": check},
)
EXPERIMENT = STUDY.experiment()
