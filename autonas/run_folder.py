"""The folder of a full run: whose it is, and its curve. What is trained into it is in full_run.py.

`spec.json`, `run.json` (the job: a worker replays it), `tokenizer.json`, `metrics.jsonl`, the same for TensorBoard in
`tensorboard/`, `checkpoints/last.safetensors` and `checkpoints/best.safetensors`, and when the run has ended
`model.safetensors` and `evaluation.json`. A promotion adds `promotion.json`, each export a line to `exports.jsonl`.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from autonas.arch import ArchSpec
from autonas.data.cache import write_file
from autonas.errors import StudyError, resource_error
from autonas.training.attempts import check_attempt
from autonas.training.events import EventFile
from autonas.trial import Budget, Job, TrainingSettings, from_json, to_json

TRIALS = Path("trials")  # where studies and their runs are kept, unless --trials-dir says otherwise
EXPORTS = "exports.jsonl"  # what each export of the run was found to compute
CURVE_LINES = 2000  # of a whole run
# Tokens that are scored on the way, as a share of the run's. A forward pass is a third of a step, and part of them are scored
# twice (evaluation/passes.py): 3.5 % took 2.3 % of the time of a run of 4,000 steps on a processor.
PROBE_SHARE = 0.025
# Of one evaluation: differences between two of the same run then have standard errors of .009 to .018 nats on the standard
# library's 13 documents of that size, of .009 to .014 on all of its 26.
PROBE_TOKENS = 65_536
_NAMES_SHOWN = 5


def probing(tokens: int) -> tuple[int, int]:
    """How often a run of `tokens` is evaluated on its way, 20 to 100 times, and on how many tokens each time."""
    count = min(max(round(tokens * PROBE_SHARE / PROBE_TOKENS), 20), 100)
    return count, max(round(tokens * PROBE_SHARE / count), 1)


def step_tokens(spec: ArchSpec, training: TrainingSettings) -> int:
    """Tokens of one optimiser step: the batch, rounded down to whole windows."""
    return (spec.batch_tokens or training.batch_tokens) // spec.context_length * spec.context_length


def run_budget(spec: ArchSpec, training: TrainingSettings, steps: int, cooldown_share: float) -> Budget:
    """The budget of a run of `steps` steps, of which the last are the cooldown: `cooldown_share` of those before them.

    A cosine has no cooldown: it falls over the whole run.
    """
    each = step_tokens(spec, training)
    cooling = max(1, round(steps * cooldown_share / (1 + cooldown_share))) if training.schedule == "wsd" else 0
    return Budget(rung=0, tokens=(steps - cooling) * each, cooldown_tokens=cooling * each)


def run_tokens(job: Job) -> int:
    """The tokens that a run's model will be shown."""
    return job.budget.tokens + job.budget.cooldown_tokens


def run_steps(job: Job) -> int:
    """The optimiser steps of a run's job."""
    return run_tokens(job) // max(step_tokens(job.spec, job.training), 1)


def run_state(folder: Path) -> Literal["absent", "begun", "ended"]:
    """Whether the folder holds a run, and whether it has been evaluated."""
    if not (folder / "run.json").exists():
        return "absent"
    return "ended" if (folder / "evaluation.json").exists() else "begun"


def next_attempt(folder: Path) -> int:
    """The number of the next attempt at the run in `folder`: workers of earlier ones stop when they find it."""
    try:
        return int((folder / "checkpoints" / "attempt").read_text(encoding="ascii")) + 1
    except (OSError, ValueError):
        return 1


def check_claim(job: Job, *, resume: bool) -> None:
    """See that the job may have its folder: a new run needs one without a run, a resumed one that of the same run.

    Raises:
        StudyError: otherwise; the message names what differs.
    """
    folder = Path(job.folder)
    state = run_state(folder)
    if state == "absent" and resume:
        raise StudyError(f"{folder} holds no run to go on with. Leave out --resume to start one.")
    if state != "absent" and not resume:
        raise StudyError(f"{folder} holds a run already. Go on with it (--resume) or give another --out.")
    if state != "absent":
        _check_same(job)


def claim(job: Job) -> None:
    """Make the job's folder that of its run, or see that it is already.

    Raises:
        StudyError: it is another run's.
        ResourceError: it cannot be written.
    """
    folder = Path(job.folder)
    if run_state(folder) != "absent":
        _check_same(job)
        return
    try:
        (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise resource_error(error, error.filename or folder) from error
    write_json(folder / "spec.json", job.spec.to_dict())
    write_json(folder / "run.json", to_json(job))


def read_job(folder: Path) -> Job:
    """The job of the run in `folder`.

    Raises:
        StudyError: its record cannot be read.
    """
    record = folder / "run.json"
    try:
        return from_json(Job, json.loads(record.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError) as error:
        raise StudyError(f"{record}: cannot be read ({error}). Restore it, or give another --out.") from error


def read_evaluation(run: Path) -> dict[str, Any]:
    """The run's evaluation.json; nothing where it has none.

    Raises:
        StudyError: it cannot be read.
    """
    path = run / "evaluation.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise StudyError(f"{path}: cannot be read ({error}). Remove it and end the run again with --resume.") from error
    suite = values.get("suite", {}) if isinstance(values, dict) else None
    if not isinstance(suite, dict) or not all(
        isinstance(part, dict) and {"asked", "result"} <= part.keys() for part in suite.values()
    ):
        raise StudyError(f"{path}: is no evaluation of a run. Remove it and end the run again with --resume.")
    return dict(values)


def read_curve(run: Path) -> list[dict[str, Any]]:
    """The whole lines of the run's metrics.jsonl; none where it has none."""
    return _json_lines(run / "metrics.jsonl")


def read_exports(run: Path) -> list[dict[str, Any]]:
    """What was found each time when the run was exported, oldest first; nothing where it never was."""
    return _json_lines(run / EXPORTS)


def keep_export(run: Path, record: Mapping[str, Any]) -> None:
    """Add a line to what is known of the run's exports.

    Raises:
        ResourceError: it cannot be written.
    """
    path = run / EXPORTS
    try:
        # A line that a crash tore must not swallow this one.
        torn = path.exists() and not path.read_bytes().endswith(b"\n") and path.stat().st_size > 0
        with path.open("a", encoding="utf-8") as file:
            file.write(("\n" if torn else "") + json.dumps(record) + "\n")
    except OSError as error:
        raise resource_error(error, path) from error


def _json_lines(path: Path) -> list[dict[str, Any]]:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    found = []
    for line in lines:
        with contextlib.suppress(ValueError):  # the last one may be torn
            found.append(json.loads(line))
    return [point for point in found if isinstance(point, dict)]


def _check_same(job: Job) -> None:
    changed = _differences(_essence(read_job(Path(job.folder))), _essence(job))
    if changed:
        shown = "; ".join(changed[:_NAMES_SHOWN])
        raise StudyError(f"{job.folder} holds another run: {shown}. Ask for what it holds, or give another --out.")


def _essence(job: Job) -> dict[str, Any]:
    """What a run depends on. Where it is computed is not of it, nor are its limits or how its schedule is counted."""
    values = to_json(job)
    names = (
        "spec",
        "budget",
        "seed",
        "data_seed",
        "training",
        "evaluation",
        "latency",
        "unique_tokens",
        "curriculum",
        "teacher",
    )
    found = {"steps": run_steps(job), "data": job.data.fingerprint, **{name: values[name] for name in names}}
    if job.tuning is not None:
        # Where the base and the examples lie does not matter: digests of both are of it.
        found["tuning"] = {name: value for name, value in values["tuning"].items() if name not in ("base", "data")}
    found["training"] = {name: value for name, value in values["training"].items() if name not in TrainingSettings.LIMITS}
    return found


def _differences(before: Any, after: Any, place: str = "") -> list[str]:
    """Where two JSON values differ, with both values."""
    if isinstance(before, dict) and isinstance(after, dict):
        names = dict.fromkeys([*before, *after])
        return [line for n in names for line in _differences(before.get(n), after.get(n), f"{place}.{n}".lstrip("."))]
    return [] if before == after else [f"{place} was {before}, is {after}"]


def write_json(path: Path, value: Any) -> None:
    """Write JSON to `path`, all or nothing.

    Raises:
        ResourceError: it cannot be written.
    """
    write_file(path, (json.dumps(value, indent=1) + "\n").encode())


def rewrite_lines(path: Path, lines: Iterable[str]) -> None:
    """Make these whole lines the text of `path`, which is left alone if they are, and which need not exist for none.

    Raises:
        ResourceError: it cannot be written; it is as it was.
    """
    before, after = path.read_text(encoding="utf-8") if path.exists() else "", "".join(lines)
    if after != before:
        write_file(path, after.encode())


class RunLog:
    """metrics.jsonl: some 2,000 lines of training, each the mean loss of a stretch of tokens, and some of validation.

    tensorboard/ beside it says the same.

    Stretches end at fixed token counts, so that a resumed run has the lines of the whole one. In one of them the loss differs:
    a run that goes on from inside a stretch has there the mean of the part that it has trained itself. Lines beyond `tokens`,
    where the run goes on, are dropped, and so is one torn by a crash; so are those beyond where a training goes back to. Only
    `attempt` may write.

    Raises:
        StudyError: a later attempt has the run. From every line.
    """

    def __init__(self, path: Path, tokens: int, stretch: int, attempt: int) -> None:
        self._path = path
        self._attempt = attempt
        self._check()
        self._stretch = stretch
        self._cut(tokens)

    def _cut(self, tokens: int) -> None:
        """Go on from `tokens`."""
        lines = self._path.read_text(encoding="utf-8").splitlines(keepends=True) if self._path.exists() else []
        kept = [line for line in lines if _is_of_the_past(line, tokens)]
        rewrite_lines(self._path, kept)
        self._points = [json.loads(line) for line in kept]
        self._events = EventFile(self._path.parent, self._points)
        self._begun = self._last = tokens
        self._weighted = 0.0

    def go_back(self, tokens: int, why: str) -> None:
        """The training went back to `tokens`, which a line says."""
        self._check()
        self._cut(tokens)
        self.write({"tokens": tokens, "rollback": why})

    def step(self, values: Mapping[str, Any]) -> None:
        """A step, or some at once, as `Progress` has them."""
        tokens = int(values["tokens"])
        self._weighted += values["loss"] * (tokens - self._last)
        self._last = tokens
        if tokens // self._stretch > self._begun // self._stretch:
            self.write({**values, "loss": self._weighted / (tokens - self._begun)})
            self._begun, self._weighted = tokens, 0.0

    def write(self, point: Mapping[str, Any]) -> None:
        """One line; `tokens` says where in the run."""
        self._check()
        self._points.append(dict(point))
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(point) + "\n")
        self._events.add(point)

    def _check(self) -> None:
        check_attempt(self._path.parent / "checkpoints", self._attempt)

    @property
    def points(self) -> tuple[Mapping[str, Any], ...]:
        """All lines, in their order."""
        return tuple(self._points)

    def curve(self, num_points: int) -> tuple[tuple[int, float], ...]:
        """(tokens, training loss), thinned to at most `num_points`, the last one kept."""
        lines = [(int(point["tokens"]), float(point["loss"])) for point in self._points if "loss" in point]
        every = -(-len(lines) // num_points) or 1
        return tuple(reversed(lines[::-1][::every]))


def _is_of_the_past(line: str, tokens: int) -> bool:
    """Whether a line of metrics is whole and no later than `tokens`."""
    try:
        return line.endswith("\n") and int(json.loads(line)["tokens"]) <= tokens
    except (ValueError, KeyError, TypeError):
        return False
