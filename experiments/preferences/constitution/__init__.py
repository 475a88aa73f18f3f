"""Can a network improve its own answers by principles: critique and revision first, then preferences that it labels
itself?

    python -m experiments run constitution

trains one small network in four tagged skills: answer, criticise, revise, judge. Answers spell a word backwards with a
sign behind each letter, and four principles about the signs can be checked by rules. The network is then tuned on its
own revisions, and by DPO on pairs that it has judged itself, in both orders; three seeds are trained by one program. It
takes about 15 minutes on 2 cores. Expect violations to halve and to fall again while the letters stay right. Controls
tune on drafts without a revision and on labels of a coin. The critic's competence is trained on examples that the rules
wrote; it does not emerge.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import jax
import msgspec
import numpy as np
import optax

from experiments.preferences import stages
from experiments.preferences.constitution import feedback, grammar, skills
from experiments.preferences.constitution.feedback import Compared, PreferenceLoss, Preferred
from gendiff import language, networks
from gendiff.core.errors import ConfigError
from gendiff.core.types import Params
from gendiff.language import objective
from gendiff.metrics import proportions
from gendiff.preferences import judging
from gendiff.preferences.constitutional_critique import Revised
from gendiff.runs import meshes, ranges, vmapped_seeds
from gendiff.runs.progress import Progress
from gendiff.runs.ranges import Count, Distinct, Natural, Seed, Several
from gendiff.runs.reporting import figures, intervals
from gendiff.runs.reporting.answers import Answer, Cell, Change
from gendiff.runs.reporting.results import Figure
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.study import Measured, Measurements, Study, claim, control
from gendiff.training import optimizers

BASE, SUPERVISED, PREFERENCE = "base", "tuned on its revisions", "and on its own labels"
UNREVISED, SHUFFLED = "control: tuned on its drafts", "control: and on labels of a coin"
FOLDERS = {
    BASE: "base",
    SUPERVISED: "supervised",
    PREFERENCE: "preference",
    UNREVISED: "unrevised",
    SHUFFLED: "shuffled",
}
"""What is trained: the three stages, and the controls of the second and the third."""
LABELS, CRITIC = "labels of the network", "base network as critic"
RATES = {BASE: 3e-3, SUPERVISED: 1e-3, PREFERENCE: 1e-4}
"""Peak learning rates of AdamW, which fall along a cosine."""
REVISING, FIRST_ANSWERS, SECOND_ANSWERS, ANSWERING = (np.uint32(2**32 - number) for number in (6, 7, 8, 9))
"""What keys of draws fold into the key of a seed: no training does. ANSWERING: of answers to held-out requests, for all
networks.
"""


@dataclasses.dataclass(frozen=True)
class Config:
    """The numbers that are turned."""

    seeds: Distinct[Seed] = (0, 1, 2)
    """Seeds of training, all of them trained by one program."""
    width: Annotated[int, msgspec.Meta(ge=16, le=2048, multiple_of=16)] = 64
    """Channels of a token."""
    depth: Annotated[int, msgspec.Meta(ge=1, le=64)] = 3
    """Blocks."""
    train_steps: Count = 800
    """Optimizer steps of the base network, which learns all four skills."""
    batch: Annotated[int, msgspec.Meta(ge=4, le=2**20, multiple_of=4)] = 128
    """Rows per step: a quarter critiques, a quarter revisions, the others judgements."""
    warmup: Natural = 100
    """Steps until the learning rate peaks."""
    rounds: Annotated[int, msgspec.Meta(ge=1, le=64)] = 4
    """Rounds of critique and revision, each by a principle of its own."""
    revised: Several = 2000
    """Requests whose answers the network revises."""
    tuning_steps: Count = 250
    """Optimizer steps of supervised tuning on these."""
    tuning_batch: Count = 96
    """Answers per step of it."""
    pairs: Several = 8000
    """Requests with two answers each, which the network judges."""
    least: Annotated[float, msgspec.Meta(ge=0, lt=0.5)] = 0.09
    """Pairs whose probability is nearer to one half have no label. One principle of four that is sure of itself moves
    it by 0.125.
    """
    preference_steps: Count = 100
    """Optimizer steps of preference tuning (DPO). A pilot with another seed chose them, the rate and `least`: more
    spoils answers.
    """
    preference_batch: Count = 64
    """Pairs per step of it."""
    judged: Several = 2000
    """Held-out requests."""


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other."""
    if config.warmup >= config.train_steps:
        raise ConfigError(
            f"--warmup {config.warmup} must be below --train-steps {config.train_steps}: both count steps"
        )
    if config.judged > (most := grammar.REQUESTS // 2):
        raise ConfigError(f"--judged {config.judged} is above {most}, half of the {grammar.REQUESTS} requests")
    for name in ("revised", "pairs"):
        if getattr(config, name) > (most := grammar.REQUESTS - config.judged):
            raise ConfigError(
                f"--{name} {getattr(config, name)} is above {most}, the requests that --judged {config.judged} leaves"
            )
    ranges.at_most("tuning-batch", config.tuning_batch, "revised", config.revised)
    ranges.at_most("preference-batch", config.preference_batch, "pairs", config.pairs)


def network(config: Config) -> networks.LanguageModel:
    """The network of all stages. Positions are learned, for the parts of all rows stand at the same ones."""
    sizes: dict[str, Any] = {"width": config.width, "depth": config.depth, "heads": 4, "mlp_width": 2 * config.width}
    return networks.LanguageModel(vocabulary=skills.VOCABULARY, context=skills.LENGTH, positions="learned", **sizes)


def held_out(config: Config) -> np.ndarray:
    """The numbers of the requests that no stage sees, the same ones for all seeds."""
    return _shuffled_requests()[: config.judged]


def stage_requests(config: Config, seed: int, count: int, stage: int) -> np.ndarray:
    """The numbers of `count` different requests that are not held out, by which a stage of a seed goes."""
    return np.random.default_rng((seed, stage)).permutation(_shuffled_requests()[config.judged :])[:count]


def revisions(config: Config, base: Params, seed: int) -> tuple[np.ndarray, Revised]:
    """The requests (n,) of supervised tuning, and the base network's answers with its revisions."""
    numbers = stage_requests(config, seed, config.revised, 1)
    key = jax.random.fold_in(jax.random.key(seed), REVISING)
    return numbers, feedback.revisions(network(config), base, key, skills.prompts(numbers), config.rounds)


def compared(config: Config, base: Params, tuned: Params, seed: int) -> Compared:
    """Pairs of answers of the tuned network, judged by the base network."""
    numbers, module = stage_requests(config, seed, config.pairs, 2), network(config)
    prompt, key = skills.prompts(numbers), jax.random.key(seed)
    first, second = (
        feedback.answers(module, tuned, jax.random.fold_in(key, part), prompt)
        for part in (FIRST_ANSWERS, SECOND_ANSWERS)
    )
    return Compared(numbers, first, second, feedback.judgements(module, base, prompt, first, second))


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """All stages. What lies between two of them is a function of the first, so that a resumed run computes the same
    again.
    """
    mesh, module, seeds = meshes.build(folder.mesh, ()), network(config), config.seeds
    next_token = objective.next_token(networks.pure(module))

    def adamw(name: str, steps: int) -> optax.GradientTransformation:
        warmup = config.warmup if name == BASE else 0
        return optimizers.adamw(RATES[name], warmup=warmup, total=steps, weight_decay=0.01, clip=1.0)

    def stage(name: str, run: Any, batch_at: Callable[[int], Any], steps: int) -> None:
        stages.train(run, batch_at, steps=steps, seeds=seeds, folder=folder.inside(FOLDERS[name]), progress=progress)

    skilled = stages.first(module, next_token, adamw(BASE, config.train_steps), seeds, mesh)
    stage(BASE, skilled, functools.partial(skill_rows_at, config), config.train_steps)
    base = restore(config, folder, BASE)

    progress.line(f"revise {config.revised} answers in {config.rounds} rounds, {len(seeds)} seeds")
    answers = [revisions(config, vmapped_seeds.of_seed(base, number), seed) for number, seed in enumerate(seeds)]
    tuning = stages.following(base, next_token, adamw(SUPERVISED, config.tuning_steps), seeds, mesh)
    for name in (SUPERVISED, UNREVISED):
        texts = [answer_texts(numbers, each.last if name == SUPERVISED else each.first) for numbers, each in answers]
        stage(name, tuning, functools.partial(stages.batch_at, texts, seeds, config.tuning_batch), config.tuning_steps)

    tuned = restore(config, folder, SUPERVISED)
    progress.line(f"judge {config.pairs} pairs, {len(seeds)} seeds")
    pairs = []
    for number, seed in enumerate(seeds):
        one, other = (vmapped_seeds.of_seed(params, number) for params in (base, tuned))
        pairs.append((compared(config, one, other, seed), other, seed))
    loss = PreferenceLoss(networks.pure(module))
    preferring = stages.following(tuned, loss, adamw(PREFERENCE, config.preference_steps), seeds, mesh)
    for name in (PREFERENCE, SHUFFLED):
        labelled = [preferred(config, *each, by_coin=name == SHUFFLED) for each in pairs]
        stage(
            name,
            preferring,
            functools.partial(stages.batch_at, labelled, seeds, config.preference_batch),
            config.preference_steps,
        )


def skill_rows_at(config: Config, step: int) -> language.Texts:
    """(batch, seeds, length) rows of a step, of requests that are not held out."""
    free, rows = _shuffled_requests()[config.judged :], []
    for seed in config.seeds:
        rng = np.random.default_rng((seed, step))
        rows.append(skills.rows(rng, rng.choice(free, config.batch)))
    return language.Texts(np.stack([each.tokens for each in rows], 1), np.stack([each.weight for each in rows], 1))


def answer_texts(numbers: np.ndarray, response: np.ndarray) -> language.Texts:
    """Requests and answers (n, 8) as texts, of which the answers are learned."""
    rows = skills.answer_rows(skills.prompts(numbers), response)
    return language.Texts(rows.tokens, rows.weight)


def preferred(config: Config, pairs: Compared, tuned: Params, seed: int, *, by_coin: bool = False) -> Preferred:
    """The pairs that have a label, in its order. by_coin: in the order of a coin: what preference tuning does without
    judgement.
    """
    rows = pairs.labelled(config.least, config.preference_batch)
    log_odds = pairs.judged.probability[rows] - 0.5
    if by_coin:
        log_odds = np.random.default_rng((seed, 3)).permuted(np.resize((-1.0, 1.0), len(rows)))
    prompt = skills.prompts(pairs.numbers[rows])
    both = (np.concatenate([prompt, response[rows]], 1) for response in (pairs.first, pairs.second))
    chosen, rejected = (np.asarray(texts) for texts in judging.ordered(log_odds, *both))
    return Preferred(
        chosen, rejected, *(feedback.log_probs(network(config), tuned, texts) for texts in (chosen, rejected))
    )


def restore(config: Config, folder: RunFolder, name: str) -> Params:
    """The parameters of a network by its name; every leaf has an axis of seeds in front."""
    return stages.restore(network(config), folder.inside(FOLDERS[name]), config.seeds)


@functools.lru_cache(maxsize=1)
def _shuffled_requests() -> np.ndarray:
    return np.random.default_rng(0).permutation(grammar.REQUESTS)


def measure(config: Config, folder: RunFolder, progress: Progress) -> Iterator[Measured]:
    """What the stages of a run answer to held-out requests, how right the network's own labels are, and how well it has
    its skills.
    """
    params = {name: restore(config, folder, name) for name in FOLDERS}
    numbers, module = held_out(config), network(config)
    with progress.phase("judge"), progress.task("seeds", len(config.seeds)) as task:
        for number, seed in enumerate(config.seeds):
            one = {name: vmapped_seeds.of_seed(each, number) for name, each in params.items()}
            key, prompt = jax.random.fold_in(jax.random.key(seed), ANSWERING), skills.prompts(numbers)
            answers = {name: feedback.answers(module, each, key, prompt) for name, each in one.items()}
            yield from judge(seed, numbers, answers)
            pairs = compared(config, one[BASE], one[SUPERVISED], seed)
            yield agreement(seed, pairs, pairs.labelled(config.least, config.preference_batch))
            requests, revised = revisions(config, one[BASE], seed)
            yield critic(seed, revised)
            if number == 0:
                yield from _examples(requests, revised)
            task.update(number + 1)


def judge(seed: int, numbers: np.ndarray, answers: dict[str, np.ndarray]) -> Iterator[Measured]:
    """Answers (n, 8) to requests by their numbers (n,), by the rules."""
    violated = {name: skills.violated(each) for name, each in answers.items()}
    broken = {name: each.any(1) for name, each in violated.items()}
    solved = {name: skills.solved(numbers, each) for name, each in answers.items()}
    before = {SUPERVISED: BASE, UNREVISED: BASE, PREFERENCE: SUPERVISED, SHUFFLED: SUPERVISED}
    for name, hits in broken.items():
        measures: dict[str, Any] = {"broken": intervals.share(hits)}
        measures |= {
            principle: float(share) for principle, share in zip(grammar.PRINCIPLES, violated[name].mean(0), strict=True)
        }
        measures["solved"] = intervals.share(solved[name])
        rows = (each.astype(np.float64) for each in (hits, broken[BASE]))
        fine = not broken[BASE].any()
        measures["left"] = float("nan") if fine else intervals.interval(intervals.ratio_of_means, *rows, paired=True)
        if name in before:
            measures["p"] = proportions.mcnemar(broken[before[name]], hits).p_value
        rows = (each.astype(np.float64) for each in (solved[BASE], solved[name]))
        measures["lost"] = intervals.interval(intervals.difference_of_means, *rows, paired=True)
        yield Measured(name, measures, seed, len(numbers), "answers")


def agreement(seed: int, pairs: Compared, labelled: np.ndarray) -> Measured:
    """Of the labels of these pairs with the rules, where one answer of a pair breaks fewer principles."""
    first, second = (skills.violated(answers[labelled]).sum(1) for answers in (pairs.first, pairs.second))
    differ, better = first != second, first < second
    both, one = (
        ((each[labelled] > 0.5) == better)[differ] for each in (pairs.judged.probability, pairs.judged.one_order)
    )
    measures = {
        "pairs": len(pairs.numbers),
        "labelled": len(labelled),
        "decided": len(both),
        "agreement": intervals.share(both) if len(both) else float("nan"),
        "one order": _share(one),
        "orders": float(pairs.judged.agree[:, labelled].mean()),
    }
    return Measured(LABELS, measures, seed, max(len(both), 1), "labels")


def critic(seed: int, revised: Revised) -> Measured:
    """The base network on its own drafts, those of all rounds, against the rules; drafts with no sign where one belongs
    are left out.
    """
    draft, written = (np.concatenate(parts) for parts in (revised.drafts[:-1], revised.drafts[1:]))
    principle, critique, signs = (
        np.concatenate(revised.principle),
        np.concatenate(revised.critiques),
        skills.signs_of(draft),
    )
    complete = (signs >= 0).all(1)
    draft, written, principle, critique, signs = (
        each[complete] for each in (draft, written, principle, critique, signs)
    )
    truth = skills.criticisms(grammar.critiques(signs, principle))
    right = skills.responses(draft[:, 0::2], grammar.revised(signs, principle))
    hits = {
        "verdict": critique[:, 0] == truth[:, 0],
        "position": (critique == truth).all(1),
        "revision": (written == right).all(1),
    }
    return Measured(CRITIC, {name: _share(each) for name, each in hits.items()}, seed, max(len(draft), 1), "skills")


def _examples(numbers: np.ndarray, revised: Revised, count: int = 8) -> Iterator[Measured]:
    requests = ["".join(grammar.LETTERS[letter] for letter in row) for row in grammar.requests(numbers[:count])]
    drafts = [skills.text(each[:count]) for each in revised.drafts]
    for row, request in enumerate(requests):
        texts = {f"round {number}" if number else "draft": each[row] for number, each in enumerate(drafts)}
        principles = "; ".join(grammar.PRINCIPLES[each[row]] for each in revised.principle)
        yield Measured(request, texts | {"principles": principles}, group="revisions")


def _share(hits: np.ndarray) -> float | None:
    return float(hits.mean()) if len(hits) else None


def _bars(file: str, measure: str, caption: str) -> Callable[[Measurements, RunFolder], Figure]:
    def draw(measured: Measurements, folder: RunFolder) -> Figure:
        shares = {name: measured.mean(name, measure) for name in measured.names("answers")}
        return figures.bars(shares, folder.figure(file), caption, x_label="share")

    return draw


_SIZES: dict[str, Any] = {
    "width": 16,
    "depth": 1,
    "batch": 8,
    "revised": 8,
    "tuning_batch": 8,
    "pairs": 40,
    "preference_batch": 8,
}
_STEPS: dict[str, Any] = {"train_steps": 4, "warmup": 1, "tuning_steps": 2, "preference_steps": 2}
CHANCE = "one in a hundred by chance"
FIGURE: dict[str, Any] = {"figure": "violations.png"}

EXPERIMENT = Study(
    name="constitution",
    config=Config,
    presets={"full": Config()},
    smoke=Config(seeds=(0,), rounds=2, least=0.0, judged=40, **_SIZES, **_STEPS),
    train=train,
    measure=measure,
    words={
        "broken": "breaks a principle",
        **{principle: f"breaks: {principle}" for principle in grammar.PRINCIPLES},
        "solved": "right letters",
        "left": "answers that break a principle, over those of the base network",
        "p": "McNemar's one-sided p that fewer answers break a principle than before this tuning",
        "lost": "share of right answers of the base network, less its share",
        "decided": "of these told apart by the rules",
        "agreement": "agree with the rules",
        "one order": "asked in one order",
        "orders": "orders agree",
        "verdict": "verdict is right",
        "position": "and the place",
        "revision": "revision is right",
    },
    claims=(
        claim(
            SUPERVISED,
            "left",
            "<=",
            0.5,
            role="E25",
            id="halved",
            reason="tuning on drafts leaves nearly all of them",
            **FIGURE,
        ),
        claim(SUPERVISED, "p", "<=", 0.01, role="E25", id="fell-supervised", reason=CHANCE, **FIGURE),
        claim(PREFERENCE, "p", "<=", 0.01, role="E25", id="fell-preference", reason=CHANCE, **FIGURE),
        claim(
            PREFERENCE,
            "lost",
            "<=",
            0.02,
            role="E25",
            id="success",
            reason="harmless answers must still be answers",
            **FIGURE,
        ),
        claim(LABELS, "agreement", ">=", 0.9, role="E25", id="agreement", reason="a coin has one half"),
    ),
    controls=(
        control(UNREVISED, "left", against=SUPERVISED, by=">=", id="unrevised", **FIGURE),
        control(SHUFFLED, "p", against=PREFERENCE, by=">=", margin=0.04, id="shuffled", **FIGURE),
    ),
    figures=(
        _bars("violations", "broken", "Share of answers that break a principle, means over seeds."),
        _bars("success", "solved", "Share of answers whose letters are right, means over seeds."),
    ),
    tables={
        "answers": ("Answers to held-out requests.", ""),
        "labels": (
            "The labels of the network's own judgement.",
            "A label is the mean over the four principles of the probability that the first answer is better, both "
            "orders averaged. Orders agree: the share of questions about labelled pairs in which both orders prefer "
            "the same answer. Most questions are about a principle that both answers keep.",
        ),
        "skills": (
            "The base network as critic and reviser of its own drafts, against the rules.",
            "The critic's competence is trained, not emergent: the base network learned to criticise, to revise and to "
            "judge from examples that the rules wrote. The run asks whether such a network can then improve its own "
            "answers without further examples.",
        ),
        "revisions": ("Revisions by the network itself, first seed.", ""),
    },
    answer=Answer(
        text="yes: answers that break a principle fall from {base:.0%} to {revised:.0%} by its revisions and to "
        "{labelled:.0%} by its own labels",
        statements={
            "E25": "Tuning on its own revisions leaves {halved:.2f interval} of the answers that break a principle; it "
            "labels its pairs itself. Rules taught its critic"
        },
        numbers={
            "base": Cell("Answers to", (BASE,), "breaks a principle"),
            "revised": Cell("Answers to", (SUPERVISED,), "breaks a principle"),
            "labelled": Cell("Answers to", (PREFERENCE,), "breaks a principle"),
        },
        picture="violations.png",
        before=(
            Change(
                "2026-11-27",
                "b3b758d",
                "8,000 pairs in place of 3,000, of which surer ones are labelled; 100 steps of preference tuning at "
                "1e-4 in place of 150 at 3e-4.",
                "A pilot with a seed that the run does not have labelled too few pairs and spoiled answers; thresholds "
                "stayed.",
            ),
            Change(
                "2026-11-30",
                "a402b00",
                "Controls are compared with the networks that learned from revisions and from labels, no longer with "
                "thresholds.",
                "The control of labels shared the threshold of the claim.",
            ),
        ),
    ),
    more={"check": check},
).experiment()
