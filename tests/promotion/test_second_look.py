"""Promotions with several candidates on real small studies: the second look, who follows whom, kills in between, faults."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import autonas
from autonas import full_run
from autonas.api import promotions
from autonas.engine.base import JobProgress
from autonas.engine.inline import InlineEngine
from autonas.errors import StudyError, TrialFailure
from autonas.evaluation import collapse
from autonas.ledger import Ledger
from autonas.policy.replica import FullRun
from autonas.promotion import promote as promoting
from autonas.promotion.book import Book, books
from autonas.promotion.prediction import predict_run
from autonas.study.files import request_cancel
from autonas.trial import Failure, Job, Outcome, Score, from_json
from tests.promotion.conftest import INLINE, STEP, Run
from tests.studies import write_space

STEPS = 20
SPACE: dict[str, Any] = {
    "budget": {"trials": 7, "rungs": ["4K", "12K"], "repeats": 1, "min_survivors": 4, "sampler": "random", "seed": 3},
    "objectives": ["val_loss", "params", "collapse_rate"],
}


@pytest.fixture(scope="session")
def several(code_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished study `small` whose front has three trials at least, and nothing said of promotions."""
    folder = tmp_path_factory.mktemp("second-look")
    write_space(folder / "small.yaml", code_corpus, **SPACE)
    with contextlib.chdir(folder):
        autonas.search("small.yaml", engine=INLINE)
        assert len(autonas.front("small")) >= 3
    return folder


@pytest.fixture
def study(several: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(several, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    return Path("trials/small")


@pytest.fixture(scope="session")
def whole(several: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which a promotion was carried through that nothing interrupted; what was said is in `said`."""
    folder = tmp_path_factory.mktemp("whole") / "work"
    shutil.copytree(several, folder)
    said: list[str] = []
    with contextlib.chdir(folder):
        promote(say=said.append)
    (folder / "said").write_text("\n".join(said))
    return folder


def promote(**options: Any) -> Path:
    return autonas.promote("small", **{"steps": STEPS, "engine": INLINE, **options})


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def the_book(folder: Path = Path()) -> Book:
    (book,) = books(folder / "trials" / "small")
    return book


def outcome_of(folder: Path) -> tuple[Any, ...]:
    """All of a promotion that its seeds decide: the second look, its runs and their scores but for times."""
    book = the_book(folder)
    scores = {}
    for each in book.runs:
        path = folder / each.folder / "evaluation.json"
        if path.exists():
            scores[each.trial] = {n: s for n, s in read(path)["scores"].items() if "latency" not in n}
    return book.look, [(each.trial, each.state, each.why) for each in book.runs], book.closed, scores


# From the candidates to the run


def test_candidates_and_what_they_take_are_said_before_and_nothing_is_done(study: Path, run: Run) -> None:
    before = sorted(map(str, study.rglob("*")))
    code, out, err = run("promote", "small", "--engine", "inline", "--steps", str(STEPS), "--dry-run")
    assert code == 0, err
    assert "Before it a second look: trials " in out
    assert "are trained twice more each with new seeds (14.4 k tokens, about" in out
    assert "should its run diverge or collapse, the next takes its place" in out
    assert "nats will stay within their 95 % error; trials" in out
    code, out, _ = run("promote", "small", "--engine", "inline", "--dry-run", "--json", "--retest", "2", "--retest-seeds", "3")
    said = json.loads(out)
    assert said["trial"] == said["second_look"]["candidates"][0]["trial"]
    assert (len(said["second_look"]["candidates"]), said["second_look"]["seeds"]) == (2, 3)
    assert said["second_look"]["trainings"] == 6 and said["second_look"]["seconds"] > 0
    for alone in (("--no-retest",), ("--retest", "1"), ("--trial", str(said["trial"]))):
        _, out, _ = run("promote", "small", "--engine", "inline", "--dry-run", "--json", *alone)
        assert json.loads(out)["second_look"] is None
    assert [path for path in sorted(map(str, study.rglob("*"))) if "lease" not in path] == [
        path for path in before if "lease" not in path
    ]


def test_the_likeliest_best_is_trained_in_full_and_the_records_say_why(whole: Path) -> None:
    book = the_book(whole)
    assert book.look is not None and book.closed == "ended"
    (attempt,) = book.runs
    picked = book.look.candidates[0]
    assert attempt.trial == picked.trial == book.look.order[0]
    folder = whole / attempt.folder
    assert read(folder / "run.json")["trial"] == picked.trial
    record = read(folder / "promotion.json")
    assert record["trial"] == picked.trial and record["reason"].startswith(book.look.reason)
    looked = record["second_look"]
    assert looked["probability"] == picked.probability
    assert [each["trial"] for each in looked["candidates"]] == [judged.trial for judged in book.look.candidates]
    low, high = (looked["candidates"][0]["scores"]["val_loss"]["together"][end] for end in (1, 2))
    assert low < looked["candidates"][0]["scores"]["val_loss"]["together"][0] < high
    assert read(folder / "evaluation.json")["promotion"]["book"] == looked["book"] == str(book.folder.relative_to(whole))
    with contextlib.chdir(whole):
        (remembered,) = autonas.read_study("small").attributes["promotions"]
    assert (remembered["trial"], remembered["probability"]) == (picked.trial, picked.probability)
    assert book.look.reason in (whole / "said").read_text()


def test_new_seeds_are_new_and_pair_the_candidates(whole: Path) -> None:
    folder = the_book(whole).folder / "retest"
    jobs = [from_json(Job, read(path)) for path in sorted((folder / "jobs").glob("*.json"))]
    own = [read(path) for path in (whole / "trials/small/jobs").glob("*-train-*.json")]
    own.append(read(whole / the_book(whole).runs[0].folder / "run.json"))
    used = {each["seed"] for each in own} | {each["data_seed"] for each in own}
    assert used.isdisjoint({job.seed for job in jobs} | {job.data_seed for job in jobs})
    assert len({job.seed for job in jobs}) == len(jobs) == 6
    by_order: dict[int, set[str]] = {}
    for job in jobs:
        by_order.setdefault(job.data_seed, set()).add(job.spec.fingerprint)
    assert [len(specs) for specs in by_order.values()] == [3, 3], "every order of the text is seen by every candidate"
    last = next(each for each in own if each["budget"]["rung"] == 1)
    assert {(job.budget.tokens, job.budget.cooldown_tokens) for job in jobs} == {
        (last["budget"]["tokens"], last["budget"]["cooldown_tokens"])
    }
    outcomes = [from_json(Outcome, read(path)) for path in (folder / "outcomes").glob("*.json")]
    assert len({outcome.documents.tokens for outcome in outcomes if outcome.documents}) == 1
    assert not list((folder / "checkpoints").glob("*/*.safetensors"))


def test_another_promotion_of_the_same_candidates_trains_none_of_them_again(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "work")
    said: list[str] = []
    with contextlib.chdir(tmp_path / "work"):
        run = promote(steps=STEPS + 2, say=said.append)
        assert "second look: 6 of 6 trainings have ended before" in said
        assert not any(text.startswith("second look, trial") for text in said)
        with pytest.raises(StudyError, match="holds this promotion, carried through"):
            promote(steps=STEPS + 2)
    assert run.name.endswith(f"-{STEPS + 2}")


def test_a_preference_that_training_cannot_change_trains_nobody_again(study: Path) -> None:
    promotion = autonas.propose_promotion("small", select="params", engine=INLINE)
    assert promotion.retest is not None and promotion.retest.num_trainings == 0
    run = promote(select="params")
    smallest = min(autonas.front("small"), key=lambda entry: entry["scores"]["params"]["value"])
    assert read(run / "run.json")["trial"] == smallest["trial"]
    assert not (the_book().folder / "retest").exists()


def test_a_named_trial_stays_and_is_trained_again_only_where_asked(study: Path) -> None:
    last = autonas.propose_promotion("small", engine=INLINE).retest
    assert last is not None
    named = last.candidates[-1].trial
    promotion = autonas.propose_promotion("small", trial=named, retest=2, engine=INLINE)
    assert promotion.retest is not None and not promotion.retest.succession
    assert promotion.retest.candidates[0].trial == named
    run = promote(trial=named, retest=2, retest_seeds=1)
    assert read(run / "run.json")["trial"] == named


def test_the_end_of_a_search_takes_the_same_way_and_takes_it_once(study: Path, run: Run) -> None:
    values = yaml.safe_load(Path("small.yaml").read_text())
    Path("small.yaml").write_text(yaml.safe_dump({**values, "promote": {"steps": STEPS, "retest": 2, "seeds": 1}}))
    command = ("search", "--space", "small.yaml", "--engine", "inline", "--resume")
    code, _, err = run(*command)
    assert code == 0, err
    assert "After 1 new training (14.4 k tokens) of each of 2 candidates trial" in err
    book = the_book()
    assert (len(book.retest.candidates), book.retest.seeds, book.closed) == (2, 1, "ended")
    code, _, err = run(*command)
    assert code == 0 and "was promoted before" in err
    assert the_book() == book


# Luck


def test_a_study_score_that_was_luck_is_exposed(study: Path) -> None:
    """The planted fault: the ledger has a loss for one trial that it never trained to."""
    front = autonas.front("small")
    lucky = max((entry for entry in front if entry["seeds"] == 1), key=lambda entry: entry["scores"]["val_loss"]["value"])[
        "trial"
    ]
    whole = Ledger.read

    def planted(ledger: Ledger) -> Any:
        record = whole(ledger)
        trials = []
        for trial in record.trials:
            if trial.number == lucky:
                last = trial.rungs[-1]
                assert last.documents is not None
                documents = dataclasses.replace(last.documents, nats=tuple(0.4 * nats for nats in last.documents.nats))
                loss = last.scores["val_loss"]
                better = dataclasses.replace(loss, value=0.4 * loss.value, low=0.4 * loss.low, high=0.4 * loss.high)
                last = dataclasses.replace(last, scores={**last.scores, "val_loss": better}, documents=documents)
                trial = dataclasses.replace(trial, rungs=(*trial.rungs[:-1], last))
            trials.append(trial)
        return dataclasses.replace(record, trials=tuple(trials))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ledger, "read", planted)
        assert autonas.propose_promotion("small", select="val_loss", engine=INLINE).pick.trial == lucky
        run = promote(select="val_loss")
    look = the_book().look
    assert look is not None
    judged = next(each for each in look.candidates if each.trial == lucky)
    assert judged.by_study > 0.9 > 0.5 > judged.probability and judged.luck > 0.9
    assert read(run / "run.json")["trial"] == look.order[0] != lucky
    assert f"of trial {lucky}, " in look.reason and "was no measure of it" in look.reason


def test_the_prediction_is_made_from_what_both_say(study: Path) -> None:
    record, promotion = autonas.read_study("small"), autonas.propose_promotion("small", steps=STEPS, engine=INLINE)
    job = promotion.job
    full = FullRun(spec=job.spec, training=job.training, budget=job.budget, corpus_tokens=10**6)
    score = record.trials[promotion.pick.trial].rungs[-1].scores["val_loss"]
    worse = dataclasses.replace(score, value=score.value + 0.5, high=score.high + 0.5)
    before = predict_run(record, promotion.pick.trial, full)["val_loss"]
    after = predict_run(record, promotion.pick.trial, full, revised={"val_loss": worse}, new_seeds=2)["val_loss"]
    assert after.value > before.value + 0.2


# Killed and gone on with


def interrupting(after: int, part: str = "second look, trial") -> Callable[[str], None]:
    """A listener that interrupts when so many texts with `part` were said."""
    heard: list[str] = []

    def say(text: str) -> None:
        heard.extend([text] if part in text else [])
        if len(heard) == after:
            raise KeyboardInterrupt

    return say


@pytest.mark.parametrize("resume", [True, False])
def test_a_second_look_that_was_interrupted_goes_on_where_it_was(study: Path, whole: Path, run: Run, resume: bool) -> None:
    with pytest.raises(KeyboardInterrupt):
        promote(say=interrupting(4))
    assert the_book().look is None
    _, out, _ = run("status", "small")
    out = " ".join(out.replace("\\\n", "").split())  # without the ends of lines
    assert "second look interrupted, in trials/small/promotions/" in out
    assert f"To go on with the promotion: autonas promote small --resume --out {the_book().folder}" in out
    said: list[str] = []
    options = {"resume": True, "steps": None} if resume else {}
    promote(say=said.append, **options)
    assert sum(text.startswith("second look, trial") for text in said) == 2, "what has ended is not trained again"
    assert outcome_of(Path()) == outcome_of(whole)


def test_a_run_after_a_second_look_that_was_interrupted_goes_on(study: Path, whole: Path, run: Run) -> None:
    def stop(step: JobProgress, total: int) -> None:
        if step.tokens >= 5 * STEP:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        promote(run="winner", on_progress=stop)
    with pytest.raises(StudyError, match="holds a run already"):
        promote(run="winner")
    for wrong, complaint in (({"steps": 3}, "--steps 20"), ({"retest": 2}, "leave out --retest")):
        with pytest.raises(StudyError, match=complaint):
            promote(**{"run": "winner", "resume": True, "steps": None, **wrong})
    told: list[int] = []
    again = promote(run="winner", resume=True, steps=None, on_progress=lambda step, total: told.append(step.tokens))
    assert again == Path("winner") and told[0] > STEP
    assert outcome_of(Path())[::3] == outcome_of(whole)[::3], "it is that of no interruption"
    with pytest.raises(StudyError, match="no run to go on with"):
        promote(resume=True, steps=None)


def test_a_cancelled_second_look_says_how_to_go_on(study: Path) -> None:
    def cancel(text: str) -> None:
        if text.startswith("second look, trial"):
            request_cancel(the_book().folder)

    with pytest.raises(
        TrialFailure, match=r"was cancelled\. .* autonas promote small --resume --out \S+promotions\S+"
    ) as caught:
        promote(say=cancel)
    assert caught.value.kind == "preempted"
    assert promote(resume=True, steps=None)


@pytest.mark.slow
def test_a_promotion_killed_again_and_again_is_that_of_no_kill(study: Path, whole: Path) -> None:
    """kill -9 among the new trainings, between them and the run, and in the run, each time a little later than seen."""
    rng = random.Random(7)
    command = [sys.executable, "-m", "autonas", "promote", "small", "--engine", "inline"]
    seen = ("retest/outcomes/*", 1), ("retest/outcomes/*", 3), ("retest/outcomes/*", 6), ("run.json", 1), ("metrics.jsonl", 1)
    kills = 0
    for pattern, count in (*seen, ("nothing", 1)):
        options = ["--resume"] if books(study) else ["--steps", str(STEPS)]
        process = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        while process.poll() is None and sum(1 for _ in study.glob(f"*/*/{pattern}")) < count:
            time.sleep(0.02)
        if process.poll() is None:
            time.sleep(rng.uniform(0.0, 0.5))
            process.send_signal(signal.SIGKILL)
            kills += 1
        _, err = process.communicate(timeout=60)
        assert process.returncode in (0, -signal.SIGKILL), err.decode()
        if process.returncode == 0:
            break
    assert kills >= 3
    assert outcome_of(Path()) == outcome_of(whole)


# Succession


def diverging(monkeypatch: pytest.MonkeyPatch, *trials: int) -> None:
    """Full runs of these trials get a learning rate that no training survives."""
    whole = promoting.full_job

    def absurd(*arguments: Any, **options: Any) -> Job:
        job = whole(*arguments, **options)
        begun = any(book.look is not None for book in books(Path("trials/small")))
        if job.trial not in trials or not begun:  # new trainings have the settings of the study's
            return job
        return dataclasses.replace(job, training=dataclasses.replace(job.training, learning_rate=1e6, rollbacks=0))

    monkeypatch.setattr(promoting, "full_job", absurd)


def order_of(whole: Path) -> tuple[int, ...]:
    look = the_book(whole).look
    assert look is not None
    return look.order


@pytest.fixture
def retested(study: Path, whole: Path) -> Path:
    """The study with the trainings of a second look, which are not made again."""
    shutil.copytree(the_book(whole).folder / "retest", study / "promotions" / "earlier" / "retest")
    return study


def test_a_run_that_diverges_makes_way_for_the_next(
    retested: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    first, second, _ = order_of(whole)
    diverging(monkeypatch, first)
    said: list[str] = []
    folder = promote(steps=60, say=said.append)
    assert read(folder / "run.json")["trial"] == second
    failed, stands = the_book().runs
    assert (failed.trial, failed.state, stands.state, the_book().closed) == (first, "failed", "ended", "ended")
    assert "ended (diverged)" in failed.why or "ended (nan)" in failed.why
    assert any(text.startswith(f"the run of trial {first} makes way for trial {second}: ") for text in said)
    assert Path(failed.folder, "checkpoints", "last.safetensors").exists() or Path(failed.folder, "run.json").exists()
    record = read(folder / "promotion.json")
    assert record["reason"].startswith(f"Trial {second} takes the place of trial {first}: ")
    (instead,) = record["second_look"]["instead_of"]
    assert (instead["trial"], instead["why"]) == (first, failed.why)
    before, after = autonas.read_study("small").attributes["promotions"]
    assert before["failed"] == failed.why and "failed" not in after
    _, out, _ = run("status", "small")
    assert f"trial {first}, 60 steps: failed, in {failed.folder}" in out
    assert f"trial {second}, 60 steps: ended, in {folder}" in out


def test_when_all_have_failed_it_is_one_message_and_exit_code_1(
    retested: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    diverging(monkeypatch, *order_of(whole))
    code, _, err = run("promote", "small", "--engine", "inline", "--steps", "60")
    assert code == 1
    assert "no candidate of the promotion in" in err.splitlines()[-1] and "Traceback" not in err
    assert [each.state for each in the_book().runs] == ["failed"] * 3
    assert the_book().closed == "given up"
    code, _, err = run("promote", "small", "--engine", "inline", "--resume")
    assert code == 2 and "no run to go on with" in err


def test_without_succession_nobody_follows(retested: Path, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    diverging(monkeypatch, order_of(whole)[0])
    with pytest.raises(TrialFailure, match="no candidate of the promotion"):
        promote(steps=60, succession=False)
    assert len(the_book().runs) == 1


def test_what_is_killed_between_two_runs_goes_on_with_the_second(
    retested: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, _ = order_of(whole)
    diverging(monkeypatch, first)
    with pytest.raises(KeyboardInterrupt):
        promote(steps=60, say=interrupting(1, part="makes way for"))
    with pytest.raises(KeyboardInterrupt):
        promote(resume=True, steps=None, on_progress=lambda step, total: os.kill(os.getpid(), signal.SIGINT))
    assert [(each.trial, each.state) for each in the_book().runs] == [(first, "failed"), (second, "begun")]
    folder = promote(resume=True, steps=None)
    assert read(folder / "run.json")["trial"] == second
    assert the_book().closed == "ended"


def test_a_run_that_collapses_makes_way_for_the_next(retested: Path, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, _ = order_of(whole)
    measured = collapse.measure_collapse
    calls: list[Any] = []

    def collapsed(*arguments: Any, **options: Any) -> Any:
        rates, samples = measured(*arguments, **options)
        calls.append(None)
        if len(calls) > 1:
            return rates, samples
        return {**rates, "collapse_rate": Score(value=1.0, low=0.8, high=1.0, unit="share", n=40)}, samples

    monkeypatch.setattr(full_run, "measure_collapse", collapsed)
    folder = promote(limits={"collapse_rate": 0.7})
    assert read(folder / "run.json")["trial"] == second
    failed, _ = the_book().runs
    assert failed.trial == first
    assert failed.why == "its collapse_rate is 100.0% (95 %: 80.0%–100.0%), above the limit of 70.0%"
    assert read(Path(failed.folder) / "evaluation.json")["promotion"]["doubt"] == failed.why


class Planted(InlineEngine):
    """Runs jobs in earnest but for full runs, and new trainings by number, that are to fail with a kind."""

    def __init__(self, fails: dict[tuple[str, int], Any], on_progress: Any, stop: Any) -> None:
        super().__init__(on_progress, stop)
        self.fails = fails

    def start(self, job: Job) -> None:
        self._job = job
        super().start(job)

    def wait(self) -> list[Outcome]:
        kind = self.fails.get((self._job.kind, self._job.trial))
        if kind is None:
            return super().wait()
        self._waiting.clear()
        job, failure = self._job, Failure(kind=kind, message="planted")
        return [Outcome(kind=job.kind, trial=job.trial, attempt=job.attempt, rung=0, seconds=0.0, failure=failure)]


def planting(monkeypatch: pytest.MonkeyPatch, fails: dict[tuple[str, int], Any]) -> None:
    def make(settings: Any, on_progress: Any = None, stop: Any = None) -> Planted:
        return Planted(fails, on_progress, stop)

    monkeypatch.setattr(promotions, "make_engine", make)


@pytest.mark.parametrize("kind", ["out_of_memory", "preempted", "timeout", "error"])
def test_what_is_no_fault_of_the_candidate_ends_the_promotion_and_can_be_gone_on_with(
    retested: Path, whole: Path, kind: str
) -> None:
    first = order_of(whole)[0]
    with pytest.MonkeyPatch.context() as patch:
        planting(patch, {("run", first): kind})
        with pytest.raises(TrialFailure, match="planted") as caught:
            promote()
    assert caught.value.kind == kind
    assert [each.state for each in the_book().runs] == ["begun"]
    folder = promote(resume=True, steps=None)
    assert read(folder / "run.json")["trial"] == first


def test_a_candidate_whose_new_training_diverges_is_out(study: Path, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = the_book(whole).retest.candidates[0].trial
    planting(monkeypatch, {("train", 3): "diverged"})  # the first candidate's second
    folder = promote()
    look = the_book().look
    assert look is not None and first not in look.order
    assert look.candidates[-1].out == "diverged: planted"
    assert read(folder / "run.json")["trial"] == look.order[0] != first


def test_nobody_takes_the_place_of_a_named_trial_whose_new_training_diverges(
    study: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planting(monkeypatch, {("train", 0): "diverged"})
    with pytest.raises(TrialFailure, match=r"is out of the second look \(diverged: planted\)"):
        promote(trial=order_of(whole)[-1], retest=2, retest_seeds=1)
    assert the_book().runs == () and the_book().closed == "given up"


def test_lost_workers_are_no_verdict_on_a_candidate(study: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        planting(patch, {("train", 1): "preempted"})
        with pytest.raises(TrialFailure, match="a candidate's worker was lost: planted"):
            promote(retest=2, retest_seeds=1)
    assert promote(resume=True, steps=None)


def test_a_book_that_cannot_be_read_is_one_message(study: Path, run: Run) -> None:
    with pytest.raises(KeyboardInterrupt):
        promote(say=interrupting(1), retest=2, retest_seeds=1)
    (the_book().folder / "promotion.json").write_text("[]")
    code, _, err = run("promote", "small", "--engine", "inline", "--resume")
    assert code == 2 and "promotion.json: cannot be read" in err and "Traceback" not in err
