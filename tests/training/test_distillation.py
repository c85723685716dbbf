"""A step that learns from a teacher: closed forms, and that a student comes nearer to what it is taught."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from autonas.model.transformer import build_model
from autonas.training.distillation import DistilledStep, Teaching, divergence
from autonas.training.loop import train
from autonas.training.steps import EagerStep
from tests.training.conftest import STEP_TOKENS, StateMaker, tiny_settings, tiny_spec


def test_the_divergence_is_that_of_the_textbook() -> None:
    rng = np.random.default_rng(0)
    student, teacher = (torch.from_numpy(rng.normal(size=(2, 3, 5))) for _ in range(2))
    for temperature in (1.0, 2.5):
        p = torch.softmax(teacher / temperature, -1).double()
        q = torch.softmax(student / temperature, -1).double()
        expected = temperature**2 * float((p * (p / q).log()).sum(-1).mean())
        assert float(divergence(student, teacher, temperature)) == pytest.approx(expected, rel=1e-5)
    assert float(divergence(teacher, teacher, 2.0)) == pytest.approx(0.0, abs=1e-6)


def test_a_student_that_says_what_its_teacher_says_learns_from_the_text_alone(make_state: StateMaker) -> None:
    """At weight w the divergence is 0 there and so is its gradient: what is left is (1 - w) times that of the text."""
    plain, taught = make_state(), make_state()
    twin = build_model(taught.model.spec, 1)
    EagerStep()(plain)
    loss = DistilledStep(Teaching(logits=twin, weight=0.25, temperature=1.0))(taught)
    expected = plain.optimizer.flat.gradients
    torch.testing.assert_close(taught.optimizer.flat.gradients, 0.75 * expected, rtol=1e-3, atol=1e-6)
    assert loss[0] == pytest.approx(float(torch.stack([torch.tensor(np.log(64.0))])), abs=0.2)


def test_micro_batches_do_not_change_the_gradients(make_state: StateMaker) -> None:
    teacher = build_model(tiny_spec(), 7)
    whole, parts = make_state(), make_state()
    parts.micro_windows = 1
    for state in (whole, parts):
        DistilledStep(Teaching(logits=teacher, weight=0.5, temperature=2.0))(state)
    torch.testing.assert_close(parts.optimizer.flat.gradients, whole.optimizer.flat.gradients, rtol=1e-4, atol=1e-6)


def test_a_student_comes_nearer_to_its_teacher_than_one_that_reads_alone(make_state: StateMaker) -> None:
    teacher = make_state(settings=tiny_settings(learning_rate=4e-3))
    for _ in train(teacher, until_tokens=150 * STEP_TOKENS):
        pass
    small = tiny_spec(layers=1, width=8)
    states = [make_state(spec=small, seed=3) for _ in range(2)]
    states[1].step = DistilledStep(Teaching(logits=teacher.model.eval(), weight=0.9, temperature=1.0))
    for state in states:
        for _ in train(state, until_tokens=100 * STEP_TOKENS):
            pass
    tokens = torch.from_numpy(states[0].windows.take(1000, 32))[:, :-1]
    with torch.no_grad():
        alone, taught = (float(divergence(state.model.eval()(tokens), teacher.model(tokens), 1.0)) for state in states)
    assert taught < alone
    assert set(states[1].paths) == {"eager distilled"}
