"""What the run shows beside its claims: drawings, captions, questions with their answers, and losses beside those of the twins."""

import numpy as np

from experiments.multimodal import documents, tasks
from experiments.multimodal.config import BOTH, CAPTIONS, PAIRS, PICTURES, Config
from experiments.multimodal.findings import SHOWN, Found
from experiments.tasks import scene_questions
from gendiff.data import digits
from gendiff.runs.reporting import figures, intervals
from gendiff.runs.reporting.formatting import Cell
from gendiff.runs.reporting.results import Figure, Table
from gendiff.runs.run_folder import RunFolder

NOT_SELECTED = "Not selected."


def every(config: Config, folder: RunFolder, found: list[Found]) -> tuple[Figure, ...]:
    """All figures."""
    first = found[0]
    caption = f"Pictures of the captions of the digits in turn, seed {config.seeds[0]}, guidance {config.guidance:g}. {NOT_SELECTED}"
    heads = [str(digit) for digit in range(digits.CLASSES)]
    drawn = figures.grid(first.pictures, digits.CLASSES, folder.figure("drawn"), caption, heads=heads)
    scenes = tasks.unseen_scenes(config).pictures[:SHOWN]
    caption = f"Scenes with held-out pairs of colour and shape, about which the table has the questions. {NOT_SELECTED}"
    return drawn, figures.grid(scenes, digits.CLASSES, folder.figure("scenes"), caption)


def tables(config: Config, found: list[Found]) -> tuple[Table, ...]:
    """Losses beside those of the twins, captions, answers by kind of question, and questions with their answers."""
    return _losses(config, found), _captions(config, found[0]), _kinds(config, found), _answers(config, found[0])


def _losses(config: Config, found: list[Found]) -> Table:
    rows = []
    for name, what in ((BOTH, "both directions"), (CAPTIONS, "twin that captions"), (PICTURES, "twin that draws")):
        cells: list[Cell] = []
        for losses in ([of.text_loss for of in found], [of.picture_loss for of in found]):
            cells.append(_over_seeds([float(of[name].mean()) for of in losses]) if name in losses[0] else None)
        rows.append((what, *cells))
    note = (
        f"Nats per token of captions of held-out digits, and mean squared error of the target of held-out pictures; means over "
        f"{len(config.seeds)} seeds, with intervals over them. Each network takes {documents.steps(config, BOTH)} steps of {config.batch} "
        "documents of each kind that it learns."
    )
    return Table("What both directions cost each other.", ("network", "loss of captions", "loss of pictures"), tuple(rows), note, True)


def _over_seeds(values: list[float]) -> Cell:
    """Their mean with its interval; the value itself of one seed."""
    return values[0] if len(values) == 1 else intervals.over_seeds(np.mean, values)


def _captions(config: Config, found: Found) -> Table:
    task = tasks.held_out_digits()
    rows = tuple(zip(task.answers, found.captions, strict=False))
    note = f"The first held-out digits, seed {config.seeds[0]}. {NOT_SELECTED}"
    return Table("Captions of digits.", ("caption by its label", "written caption"), rows, note)


def _kinds(config: Config, found: list[Found]) -> Table:
    rows = []
    unseen, seen = tasks.unseen_scenes(config), tasks.seen_scenes(config)
    for kind in scene_questions.KINDS:
        cells: list[Cell] = []
        for task, right in (
            (seen, [of.seen for of in found]),
            (unseen, [of.answered for of in found]),
            (unseen, [of.blind for of in found]),
        ):
            of_kind = np.array([scene_questions.kind(question) == kind for question in tasks.questions(task)])
            chosen = np.concatenate([each[of_kind] for each in right])
            cells.append(intervals.share(chosen) if len(chosen) else None)
        rows.append((kind, *cells))
    pairs = " and ".join(f"{colour} {shape}" for colour, shape in PAIRS[: config.held_out_pairs])
    note = f"Shares of right answers over {len(found)} seeds. No scene and no question of training has a {pairs}."
    columns = ("question", "pairs of training", "held-out pairs", "held-out pairs, another scene")
    return Table("Right answers by kind of question.", columns, tuple(rows), note, True)


def _answers(config: Config, found: Found) -> Table:
    task = tasks.unseen_scenes(config)
    questions = tasks.questions(task)[:SHOWN]
    rows = tuple(zip(questions, task.answers, found.answers, strict=False))
    note = f"The scenes of the figure, row by row, seed {config.seeds[0]}. {NOT_SELECTED}"
    return Table("Questions about held-out pairs.", ("question", "answer", "likeliest answer"), rows, note)
