"""What the stages of a run answer to held-out requests, how right the network's own labels are, and how well it has its skills."""

from dataclasses import dataclass

import jax
import numpy as np

from experiments.preferences.constitution import feedback, grammar, skills, train
from experiments.preferences.constitution.config import Config
from experiments.preferences.constitution.train import BASE, NETWORKS, SUPERVISED, Compared
from gendiff.core.types import Params
from gendiff.preferences.revision import Revised
from gendiff.runs import seeds_together
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder

ANSWERING = np.uint32(2**32 - 9)
"""What the key of answers to held-out requests folds into the key of a seed, the same one for all stages."""
SHOWN = 8
"""Revisions of the table."""


@dataclass(frozen=True)
class Marks:
    """Of one network's answers to n held-out requests, by the rules.

    violated: (n, principles) which principles each breaks. solved: (n,) whether its letters are right.
    """

    violated: np.ndarray
    solved: np.ndarray

    @property
    def any(self) -> np.ndarray:
        """(n,) whether it breaks a principle."""
        return self.violated.any(1)


@dataclass(frozen=True)
class Skilled:
    """Whether the base network agrees with the rules on its own drafts, those of all rounds, (n,) each.

    verdict: on whether the draft breaks the principle. place: on which sign does first, too. revision: on every token of the revision.
    """

    verdict: np.ndarray
    place: np.ndarray
    revision: np.ndarray


@dataclass(frozen=True)
class Agreement:
    """Of labels with the rules, on the pairs of which one answer breaks fewer principles.

    both, one: (m,) whether the label prefers that one, from both orders and from one. orders: share of questions whose two orders agree.
    labelled: how many pairs have a label; m of them can be checked.
    """

    both: np.ndarray
    one: np.ndarray
    orders: float
    labelled: int


@dataclass(frozen=True)
class Found:
    """Of one seed. marks: by the name of the network.

    shown: rows (request, draft, … after each round, principles) of the first revisions, of the first seed alone.
    """

    marks: dict[str, Marks]
    agreement: Agreement
    skilled: Skilled
    shown: tuple[tuple[str, ...], ...]


def of_all(config: Config, folder: RunFolder, progress: Progress) -> list[Found]:
    """Of every seed, from the networks of a run."""
    params = {name: train.restore(config, folder, name) for name in NETWORKS}
    found = []
    with progress.phase("judge"), progress.task("seeds", len(config.seeds)) as task:
        for number, seed in enumerate(config.seeds):
            of_seed = {name: seeds_together.of_seed(of, number) for name, of in params.items()}
            found.append(_of_seed(config, of_seed, seed, shown=SHOWN if number == 0 else 0))
            task.update(number + 1)
    return found


def marks(numbers: np.ndarray, answers: np.ndarray) -> Marks:
    """Of answers (n, 8) to requests by their numbers (n,)."""
    return Marks(skills.violated(answers), skills.solved(numbers, answers))


def agreement(pairs: Compared, kept: np.ndarray) -> Agreement:
    """Of the labels of the pairs at the places `kept`."""
    first, second = (skills.violated(answers[kept]).sum(1) for answers in (pairs.first, pairs.second))
    differ, better = first != second, first < second
    both, one = ((of[kept] > 0.5) == better for of in (pairs.judged.probability, pairs.judged.one_order))
    return Agreement(both[differ], one[differ], float(pairs.judged.agree[:, kept].mean()), len(kept))


def skilled(of: Revised) -> Skilled:
    """The base network as critic and reviser of its own drafts, against the rules; drafts with no sign in the place of one are left out."""
    draft, written = (np.concatenate(parts) for parts in (of.drafts[:-1], of.drafts[1:]))
    principle, said, signs = np.concatenate(of.principle), np.concatenate(of.critiques), skills.signs_of(draft)
    whole = (signs >= 0).all(1)
    draft, written, principle, said, signs = (each[whole] for each in (draft, written, principle, said, signs))
    truth = skills.criticisms(grammar.critiques(signs, principle))
    right = skills.responses(draft[:, 0::2], grammar.revised(signs, principle))
    return Skilled(said[:, 0] == truth[:, 0], (said == truth).all(1), (written == right).all(1))


def _of_seed(config: Config, params: dict[str, Params], seed: int, *, shown: int) -> Found:
    numbers, module = train.held_out(config), train.network(config)
    prompt, key = skills.prompts(numbers), jax.random.fold_in(jax.random.key(seed), ANSWERING)
    of_networks = {name: marks(numbers, feedback.answers(module, of, key, prompt)) for name, of in params.items()}
    pairs = train.compared(config, params[BASE], params[SUPERVISED], seed)
    agreed = agreement(pairs, pairs.labelled(config.least, config.preference_batch))
    revised, of = train.revisions(config, params[BASE], seed)
    return Found(of_networks, agreed, skilled(of), _shown(revised[:shown], of))


def _shown(numbers: np.ndarray, of: Revised) -> tuple[tuple[str, ...], ...]:
    requests = ["".join(grammar.LETTERS[letter] for letter in row) for row in grammar.requests(numbers)]
    texts = [skills.text(each[: len(numbers)]) for each in of.drafts]
    asked = [[grammar.PRINCIPLES[number] for number in each[: len(numbers)]] for each in of.principle]
    rows = zip(requests, *texts, strict=True)
    return tuple((*row, "; ".join(principles)) for row, principles in zip(rows, zip(*asked, strict=True), strict=True))
