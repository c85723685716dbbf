"""Numbers that should not be believed as they stand, and what qualifies those that may be: plausibility checks on a study."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from autonas.evaluation.plausibility import CHECKS, title_of
from autonas.evaluation.plausibility.findings import outcome_findings, rung_findings
from autonas.evaluation.timing import reference_off
from autonas.objective import OBJECTIVES, Objective
from autonas.reporting.alike import Told, event_text, events
from autonas.reporting.comparison import sentence
from autonas.reporting.history import beats
from autonas.reporting.report import Alarm, FinalTrial, SeedNoise, Standing
from autonas.trial import Finding, Outcome

# By how much the reference of latencies may run quicker than its known time before its scale is in doubt.
SCALE_SHARE = 0.1
_LEAST_TRIALS = 3  # that make a metric which never moves remarkable
_TOLD = 3  # findings, or events of many trainings, that are told in full


def alarms(
    standings: Sequence[Standing],
    objectives: Sequence[Objective],
    noise: SeedNoise,
    *,
    num_documents: int | None,
    unplaced: Sequence[int],
) -> tuple[Alarm, ...]:
    """Everything found, alarms before notes."""
    trials = sorted((standing.trial for standing in standings), key=lambda trial: trial.number)
    found = [
        *_found(trials),
        *_worse_than_chance(trials),
        *_constant(trials, objectives),
        *_checks(trials),
        *_slower(trials),
        *_noisy(trials, objectives),
        *_scaled_wrongly(trials, objectives),
        *_behind_bigram(standings),
        *_statistics(trials, noise, num_documents),
    ]
    if unplaced:
        text = "These trials reached the last rung without a score for every objective and cannot be placed on the front."
        found.append(Alarm(severity="alarm", title="Scores are missing", text=text, trials=tuple(unplaced)))
    return tuple(sorted(found, key=lambda alarm: alarm.severity != "alarm"))


def _found(trials: Sequence[FinalTrial]) -> Iterator[Alarm]:
    """What the plausibility checks found in the last outcomes of trials and of their repeats, by check."""
    groups: dict[tuple[str, str], list[Told]] = {}
    for trial in trials:
        for run in trial.runs:
            rungs = run.rungs[: trial.outcome.rung + 1]
            for finding in dict.fromkeys((*_of_outcome(rungs[-1]), *rung_findings(rungs))):
                told = Told(number=trial.number, run=run, text=finding.text)
                groups.setdefault((finding.check, finding.severity), []).append(told)
    order = list(CHECKS)
    for check, severity in sorted(groups, key=lambda key: order.index(key[0]) if key[0] in CHECKS else len(order)):
        found = groups[check, severity]
        title = title_of(check)
        numbers = tuple(dict.fromkeys(told.number for told in found))
        yield Alarm(severity="alarm" if severity == "alarm" else "note", title=title, text=_told(found), trials=numbers)


def _told(found: Sequence[Told]) -> str:
    """What one check found in words: an event of many trainings once, of all others the first few."""
    if len({told.text for told in found}) == 1:  # of one, or of the data that all have in common: `trials` says whose
        return sentence(found[0].text)
    grouped = events(found)
    texts = [event_text(event) if len(event) > 1 else f"Trial {event[0].number}: {event[0].text}." for event in grouped[:_TOLD]]
    if rest := sum(map(len, grouped[_TOLD:])):
        texts.append(f"And so of {rest} more training{'' if rest == 1 else 's'}.")
    return " ".join(texts)


def _of_outcome(outcome: Outcome) -> tuple[Finding, ...]:
    """What is on record, and what can still be found in an outcome of before the checks were recorded."""
    recorded = {finding.check for finding in outcome.findings}
    return (*outcome.findings, *(f for f in outcome_findings(outcome) if f.check not in recorded))


def _worse_than_chance(trials: Sequence[FinalTrial]) -> Iterator[Alarm]:
    losers = [trial.number for trial in trials if "unigram" in trial.outcome.baselines and not beats(trial.outcome, "unigram")]
    if losers:
        text = (
            "Not better than a unigram model of the same tokens. Noise does not repeat itself, so their collapse means nothing."
        )
        yield Alarm(severity="alarm", title="Worse than counting tokens", text=text, trials=tuple(losers))


def _constant(trials: Sequence[FinalTrial], objectives: Sequence[Objective]) -> Iterator[Alarm]:
    if len(trials) < _LEAST_TRIALS:
        return
    judged = {objective.name for objective in objectives}
    for name in trials[0].scores:
        seen = {trial.scores[name].value for trial in trials if name in trial.scores}
        if len(seen) == 1:
            title = OBJECTIVES[name].title if name in OBJECTIVES else name
            text = (
                f"{title} is {seen.pop():g} for all {len(trials)} final trials. A metric that never moves may measure nothing."
            )
            yield Alarm(severity="alarm" if name in judged else "note", title=f"{title} never moves", text=text)


def _checks(trials: Sequence[FinalTrial]) -> Iterator[Alarm]:
    missing = [
        trial.number
        for trial in trials
        if any("leak" not in outcome.checks for run in trial.runs for outcome in run.rungs[-1:])
    ]
    if missing:
        text = "No leak test is on record for these models, so their losses are not known to be honest."
        yield Alarm(severity="alarm", title="Leak test missing", text=text, trials=tuple(missing))


def _slower(trials: Sequence[FinalTrial]) -> Iterator[Alarm]:
    """Trainings and samples that did not take the path that their device should have; their checks say why, in brackets."""
    for check, title, what in (
        ("training path", "Trained on a slower path", "training took longer than it had to"),
        ("decoding path", "Decoded on a slower path", "their samples took longer than they had to"),
    ):
        why: dict[str, list[int]] = {}
        for trial in trials:
            taken = {outcome.checks.get(check, "") for run in trial.runs for outcome in run.rungs}
            for reason in {path.partition(" (")[2].removesuffix(")") for path in taken} - {""}:
                why.setdefault(reason, []).append(trial.number)
        for reason, numbers in why.items():
            text = f"Scores are as good, but {what}: {reason}."
            yield Alarm(severity="note", title=title, text=text, trials=tuple(numbers))


def _noisy(trials: Sequence[FinalTrial], objectives: Sequence[Objective]) -> Iterator[Alarm]:
    by_name: dict[str, list[int]] = {}
    for trial in trials:
        for objective in objectives:
            if objective.name in trial.scores and "noisy" in trial.scores[objective.name].note:
                by_name.setdefault(objective.name, []).append(trial.number)
    for name, numbers in by_name.items():
        title = OBJECTIVES[name].title if name in OBJECTIVES else name
        text = "Repeated measurements did not settle; the value is kept with its wider interval."
        yield Alarm(severity="note", title=f"{title} is noisy", text=text, trials=tuple(numbers))


def _scaled_wrongly(trials: Sequence[FinalTrial], objectives: Sequence[Objective]) -> Iterator[Alarm]:
    """The reference that scales all latencies can be slowed, but nothing makes it quicker than it is."""
    off = {
        trial.number: min(found)
        for trial in trials
        if (found := [by for o in objectives if o.name in trial.scores and (by := reference_off(trial.scores[o.name].note))])
    }
    quicker = tuple(number for number, by in off.items() if by < -SCALE_SHARE)
    if quicker:
        text = (
            f"Beside these trials the reference model ran up to {-min(off.values()):.0%} quicker than the time by which all "
            "latencies are scaled: that was measured in a slow moment, and they are too high by as much. Their ratios hold. "
            "Delete latency/ in the cache folder, and search again where milliseconds matter."
        )
        yield Alarm(severity="alarm", title="Latencies are scaled wrongly", text=text, trials=quicker)


def _behind_bigram(standings: Sequence[Standing]) -> Iterator[Alarm]:
    front = [standing.trial for standing in standings if standing.on_front]
    behind = [trial.number for trial in front if "bigram" in trial.outcome.baselines and not beats(trial.outcome, "bigram")]
    if behind:
        text = "On the front by size, speed or collapse, but predicting no better than a bigram model of the same tokens."
        yield Alarm(severity="note", title="Behind a bigram model", text=text, trials=tuple(behind))


def _statistics(trials: Sequence[FinalTrial], noise: SeedNoise, num_documents: int | None) -> Iterator[Alarm]:
    if not trials:
        return
    if noise.repeats == 0:
        text = (
            f"No trial was trained again with another seed, so seed noise is the prior alone ({noise.prior_deviation:g} nats, "
            f"measured on tiny decoders). Intervals and probabilities rest on it."
        )
        yield Alarm(severity="note", title="Seed noise is assumed", text=text)
    if num_documents is None and len(trials) > 1:
        text = (
            "The trials were not scored on the same validation documents, so differences are unpaired and their errors larger."
        )
        yield Alarm(severity="note", title="Losses are not paired", text=text)
