"""The numbers of the run: every method at several counts, search against size by difficulty, doublings, budgets, and pictures."""

import numpy as np

from experiments.preferences.test_time import answers, choosing, findings, train
from experiments.preferences.test_time.choosing import COVERAGE, LEARNED, MAJORITY, ORACLE, WEIGHTED
from experiments.preferences.test_time.config import Config, counts
from experiments.preferences.test_time.findings import Found
from experiments.preferences.test_time.pictures import JUDGE, VERIFIERS
from gendiff.runs.reporting.formatting import Cell
from gendiff.runs.reporting.results import Table


def every(config: Config, found: Found, accuracies: dict[str, float]) -> tuple[Table, ...]:
    """All tables. accuracies: of verifiers of pictures and their judge on real digits that they have not seen."""
    return (
        _methods(config, found),
        _matched(config, found),
        _doublings(config, found),
        _budgets(config, found),
        _pictures(config, found, accuracies),
    )


def _methods(config: Config, found: Found) -> Table:
    rows: list[tuple[Cell, ...]] = []
    names = (COVERAGE, ORACLE, MAJORITY, LEARNED, WEIGHTED, *map(choosing.noisy, config.noises))
    for name, of in found.searched.items():
        for method in names:
            verified = method in (LEARNED, WEIGHTED)
            values = of.shares[method].mean(axis=(0, 2))
            rows.append((name, method, findings.spent(config, of.arm, config.samples, verified), *map(float, values)))
    of = found.searched[train.direct(config).name]
    formula = findings.coverage_by_formula(config, of).mean(0)
    apart = float(np.abs(formula - of.shares[COVERAGE].mean(axis=(0, 2))).max())
    cross = findings.crossover(config, of)
    where = "no noise is so in every seed" if cross is None else f"{cross[0]:.2f} in the mean, {cross[1]:.2f} to {cross[2]:.2f}"
    areas = ", ".join(f"{each.area.mean():.3f} ({name})" for name, each in found.searched.items())
    note = (
        f"Means over {len(config.seeds)} seeds and all blocks of n of the {config.samples} samples. Operations: per question, for "
        f"{config.samples} samples. Coverage by the unbiased formula of pass@k differs by at most {apart:.4f}. The learned verifier "
        f"scores a right answer above a wrong one with chance {areas}. Noise from which on the best of {config.samples} is worse than the "
        f"majority: {where}."
    )
    columns = ("network", "method", "operations", *(f"n = {count}" for count in counts(config)))
    return Table("Share of right answers by how one answer is made of n samples.", columns, tuple(rows), note, main=True)


def _matched(config: Config, found: Found) -> Table:
    """At the operations of one answer of the large network."""
    small, large = (found.searched[arm.name] for arm in (train.direct(config), train.large(config)))
    plain, verified = (findings.matched(config, reads) for reads in (False, True))
    ats = {name: counts(config).index(count) for name, count in (("plain", plain), ("verified", verified))}
    rows: list[tuple[Cell, ...]] = []
    groups = {"all": np.ones(config.questions, bool)} | {str(count): which for count, which in findings.by_carries(config).items()}
    for name, which in groups.items():
        taken = [small.shares[method][:, ats["plain"]][:, which].mean() for method in (MAJORITY, COVERAGE)]
        read = [small.shares[method][:, ats["verified"]][:, which].mean() for method in (LEARNED, WEIGHTED)]
        likeliest = [of.greedy[:, which].mean() for of in (small, large)]
        rows.append((name, int(which.sum()), *(float(value) for value in (*likeliest, *taken, *read))))
    new = answers.new_tokens(config, train.DIRECT)
    spent = train.asking_flops(config, config.large, new)
    costs = [train.training_flops(config, of.arm) for of in (large, small)]
    note = (
        f"One answer of the large network takes {spent:.3g} operations; they pay for {plain} samples of the small one, or {verified} that "
        "the verifier reads as well (counts are powers of 2). Training of the large network took "
        f"{costs[0] / costs[1]:.1f} times as many operations."
    )
    columns = ("carries", "sums", "small, likeliest", "large, likeliest", MAJORITY, COVERAGE, LEARNED, WEIGHTED)
    title = "A small network with search beside a larger one at equal operations, by difficulty."
    return Table(title, columns, tuple(rows), note, main=True)


def _doublings(config: Config, found: Found) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for at, halved in enumerate(range(config.halvings, -1, -1)):
        arm = train.direct(config, halved)
        values = found.shorter[at].mean(1)
        rows.append((train.steps(config, arm), train.training_flops(config, arm), *map(float, (values.mean(), values.min(), values.max()))))
    small = found.searched[train.direct(config).name]
    gains = np.array([findings.per_doubling(config, small, at).mean() for at in range(len(config.seeds))])
    note = (
        f"Right answers of one sample. Beside: a doubling of samples, by weighted vote, brings {gains.mean():.3f} in the mean of the first "
        f"{config.doublings}, {gains.min():.3f} to {gains.max():.3f} over the seeds."
    )
    columns = ("steps", "operations of training", "right", "least seed", "largest seed")
    return Table("What doublings of training bring to the small network that answers at once.", columns, tuple(rows), note)


def _budgets(config: Config, found: Found) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for tokens, of in zip(answers.budgets(config), found.budgets, strict=True):
        rows.append((f"{tokens}", *map(float, of.mean(1))))
    rows.append(("as it likes", *map(float, found.free.mean(1))))
    note = "The end of scratch-work is suppressed before so many tokens and forced after them. As it likes: forced when all is written."
    columns = ("tokens of scratch-work", *(f"seed {seed}" for seed in config.seeds))
    return Table("Share of right answers by the budget of scratch-work.", columns, tuple(rows), note)


def _pictures(config: Config, found: Found, accuracies: dict[str, float]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    shown = [at for at, count in enumerate(counts(config)) if count in (1, 8, config.samples)]
    for name in (*VERIFIERS, JUDGE):
        claimed, judged = (np.stack([getattr(of[name], part) for of in found.chosen]).mean(axis=(0, 2)) for part in ("claimed", "judged"))
        pairs = (float(values[at]) for at in shown for values in (claimed, judged))
        rows.append((name, accuracies[name], *pairs))
    heads = (f"n = {counts(config)[at]}: {who}" for at in shown for who in ("own", "judge"))
    columns = ("trained on", "accuracy on unseen real digits", *heads)
    note = (
        "Own: share of choices that the verifier itself calls right. Judge: a support vector machine that has seen other digits. "
        "What the first has above the second is exploited. Choosing by the judge itself is the most that choice can reach."
    )
    return Table("Pictures of a network without labels, steered to digits by choosing among noises.", columns, tuple(rows), note)
