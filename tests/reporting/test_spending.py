"""What had been spent by a moment: every job that had ended counts, whether its trial waits or not, by whichever clock."""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autonas.cost import training_flops_per_token
from autonas.reporting.front import build_report
from autonas.reporting.side_by_side import compare
from autonas.reporting.spending import spending_rule, spent_by, total_flops
from autonas.trial import JobSpan, StudyRecord
from tests.reporting.studies import make_waiting_study as waiting
from tests.reporting.studies import without_spans

BEGIN = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)


def ended_by(study: StudyRecord, moment: str) -> tuple[float, float, int, float]:
    """Seconds, those without repeats, tokens and FLOPs of all jobs that had ended: by looking at each of them."""
    now = datetime.datetime.fromisoformat(moment)
    jobs = [
        (trial, outcome)
        for trial in study.trials
        for outcome in trial.rungs
        if outcome.span is not None
        and datetime.datetime.fromisoformat(outcome.span.began_at) + datetime.timedelta(seconds=outcome.span.seconds) <= now
    ]
    return (
        math.fsum(outcome.seconds for _, outcome in jobs),
        math.fsum(outcome.seconds for trial, outcome in jobs if trial.repeat_of is None),
        sum(outcome.new_tokens for _, outcome in jobs),
        math.fsum(training_flops_per_token(trial.spec) * outcome.new_tokens for trial, outcome in jobs if trial.spec),
    )


@pytest.mark.parametrize("repeats", [0, 3])
def test_what_waits_has_been_paid_for(repeats: int) -> None:
    study = waiting(repeats=repeats)
    spent = spent_by(study)
    assert list(spent) == [number for number, _ in study.timeline]
    for number, moment in study.timeline:
        found = spent[number]
        assert (found.seconds, found.search_s, found.tokens, found.flops) == pytest.approx(ended_by(study, moment))
    first = study.timeline[0][0]
    every_first_rung = math.fsum(t.rungs[0].seconds for t in study.trials if t.repeat_of is None)
    assert spent[first].seconds >= every_first_rung, "all first rungs were over when the first trial ended"
    assert spent[first].seconds > 2 * math.fsum(outcome.seconds for outcome in study.trials[first].rungs)


def test_the_hypervolume_and_comparisons_are_charged_the_same() -> None:
    study = waiting(repeats=2)
    for point in build_report(study).hypervolume:
        truth = ended_by(study, dict(study.timeline)[point.trial])
        assert (point.train_s, point.search_s, point.tokens) == pytest.approx(truth[:3])
    other = dataclasses.replace(waiting(seed=1), name="other")
    ours, _ = compare([study, other]).volumes
    for each in ours.points:
        assert each.trial is not None
        truth = ended_by(study, dict(study.timeline)[each.trial])
        assert (each.train_s, each.flops) == pytest.approx((truth[0], truth[3]))


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([-7200.0, -3.0, 0.0, 0.4, 90.0, 86_400.0]), st.floats(-5000.0, 5000.0))
def test_clocks_that_differ_change_nothing(a_s: float, b_s: float) -> None:
    """But for the time that word of an outcome takes, which may hide a job that ended within it."""
    true, told = spent_by(waiting()), spent_by(waiting(clocks={"a": a_s, "b": b_s}))
    for number, found in true.items():
        assert told[number].seconds == pytest.approx(found.seconds) and told[number].tokens == found.tokens


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_whatever_clocks_say_it_never_falls_and_is_all_in_the_end(data: st.DataObject) -> None:
    """Spans at random places, some missing, and a timeline that jumps: as clocks that are set in the middle of a study do."""
    study = waiting(repeats=2)
    offset = st.one_of(st.none(), st.floats(-9000.0, 9000.0))
    trials = []
    for trial in study.trials:
        rungs = []
        for outcome in trial.rungs:
            by = data.draw(offset)
            began = None if by is None else (BEGIN + datetime.timedelta(seconds=by)).isoformat()
            span = None if began is None else JobSpan(worker="a:1", began_at=began, seconds=outcome.seconds)
            rungs.append(dataclasses.replace(outcome, span=span))
        trials.append(dataclasses.replace(trial, rungs=tuple(rungs)))
    jumped = tuple((number, data.draw(st.sampled_from([text, BEGIN.isoformat()]))) for number, text in study.timeline)
    study = dataclasses.replace(study, trials=tuple(trials), timeline=jumped)
    spent = list(spent_by(study).items())
    for (_, before), (number, after) in itertools.pairwise(spent):
        own = math.fsum(outcome.seconds for outcome in next(t for t in trials if t.number == number).rungs)
        assert before.seconds <= after.seconds and before.tokens <= after.tokens and before.flops <= after.flops
        assert before.search_s <= after.search_s <= after.seconds and after.seconds >= own
    assert spent[-1][1].seconds == pytest.approx(sum(outcome.seconds for trial in trials for outcome in trial.rungs))
    assert spent[-1][1].flops == pytest.approx(total_flops(study))
    assert spent_by(study) == dict(spent)


def test_without_spans_a_job_counts_with_its_trial_and_the_report_says_so() -> None:
    study = without_spans(waiting())
    spent, total = spent_by(study), 0.0
    for number, _ in study.timeline:
        total += math.fsum(outcome.seconds for outcome in study.trials[number].rungs)
        assert spent[number].seconds == pytest.approx(total)
    report = build_report(study)
    assert "No training job left word" in report.hypervolume_rule
    assert "from its end on" in build_report(waiting()).hypervolume_rule
    one = dataclasses.replace(study.trials[0], rungs=waiting().trials[0].rungs)
    some = dataclasses.replace(study, trials=(one, *study.trials[1:]))
    assert "Of 24 training jobs only 2 left word" in spending_rule(some)
    assert "by their number" in spending_rule(dataclasses.replace(waiting(), timeline=()))
    assert spending_rule(dataclasses.replace(study, trials=())) == ""


def test_a_comparison_says_which_study_is_charged_late() -> None:
    dated, undated = waiting(), dataclasses.replace(without_spans(waiting(seed=1)), name="earlier")
    titles = [alarm.title for alarm in compare([dated, undated]).alarms if "spent" in alarm.title]
    assert titles == ["What earlier had spent by when is told too late"]
    assert not any("spent" in alarm.title for alarm in compare([dated, dataclasses.replace(dated, name="again")]).alarms)


def test_a_trial_that_still_waits_has_been_paid_for() -> None:
    whole = waiting()
    last = whole.timeline[-1][0]
    trials = tuple(dataclasses.replace(t, state="live", rungs=t.rungs[:1]) if t.number == last else t for t in whole.trials)
    study = dataclasses.replace(whole, trials=trials, timeline=whole.timeline[:-1])
    report = build_report(study)
    assert report.hypervolume[-1].train_s == pytest.approx(report.train_seconds), "its first rung was over long before"
    assert list(spent_by(study))[-1] == last
