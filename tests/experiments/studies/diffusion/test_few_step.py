"""The few-step experiment: students have equal operations, sets are drawn once, and the cut grid is the one that its
rule gives.
"""

import dataclasses

import numpy as np
import pytest

from experiments.diffusion import few_step, students
from experiments.diffusion.few_step import draws
from experiments.diffusion.few_step.draws import CERTIFIED, CUT, DDIM, LEARNED, UNTRAINED, Set, model
from experiments.diffusion.students import METHODS, REFLOW, STUDENTS
from gendiff.diffusion import grids

CONFIG = few_step.Config(students=METHODS, learned=tuple(LEARNED))


@pytest.mark.parametrize("name", METHODS)
def test_a_student_has_as_many_operations_as_its_teacher_or_four_times_as_many(name):
    student, teaching = STUDENTS[name], draws.teaching(CONFIG)
    steps, step = student.steps(teaching) * max(1, len(student.rounds)), student.evaluations(teaching) * CONFIG.batch
    spent, budget = steps * step + student.beside(teaching), CONFIG.train_steps * students.GRADIENT * CONFIG.batch
    budget *= 4 if name in ("consistency distillation", "consistency training", "MeanFlow") else 1
    assert abs(spent - budget) <= step * max(1, len(student.rounds))


def test_a_student_learns_at_least_one_step_however_few_its_teacher_had():
    few = draws.teaching(dataclasses.replace(CONFIG, train_steps=2, warmup=1))
    assert all(student.steps(few) == 1 for name, student in STUDENTS.items() if student.rounds or name == REFLOW)


def test_sets_are_drawn_once_and_students_within_what_they_learned():
    all_sets = draws.sets(CONFIG, 0)
    assert len(set(all_sets)) == len(all_sets) and all_sets[0] == Set(0, DDIM, CONFIG.reference)
    counts = {
        name: sorted(each.evaluations for each in all_sets if each.method == name)
        for name in (*METHODS, *LEARNED, UNTRAINED, CUT)
    }
    assert counts["progressive distillation"] == sorted(students.ROUNDS)
    assert counts["distribution matching"] == [1] and counts[UNTRAINED] == [CONFIG.judged]
    assert counts["MeanFlow"] == [1, 2, 4, 8]
    assert counts["DDIM, learned levels"] == counts["UniPC 2, learned levels"] == [CONFIG.equal]
    assert CERTIFIED in counts[CUT]


def test_the_grid_of_the_last_round_is_every_other_level_of_the_one_before():
    schedule = model(CONFIG).schedule
    for coarse, fine in zip(students.ROUNDS[1:], students.ROUNDS, strict=False):
        np.testing.assert_allclose(
            grids.trailing(schedule, fine).sigma[::2], grids.trailing(schedule, coarse).sigma, atol=1e-7
        )


def test_the_cut_levels_are_those_that_digits_resolve():
    levels = draws.cut(model(CONFIG).schedule, CERTIFIED)
    ratio = np.asarray(levels.sigma[:-1] / levels.alpha[:-1])
    assert ratio[0] == pytest.approx(13.55, rel=0.01) and ratio[-1] == pytest.approx(0.036, rel=0.05)
