"""What TensorBoard is told of a study's trials is what their records say, and no more."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

from autonas.errors import ResourceError
from autonas.study.trial_events import TrialEvents
from autonas.trial import TrialRecord
from tests.reporting.studies import RUNGS, make_study
from tests.training.event_files import events

STUDY = make_study()


def told(folder: Path, number: int) -> list[Any]:
    (file,) = (folder / f"trial-{number:05d}").iterdir()
    return list(events(file))


def scalars(found: list[Any]) -> dict[str, list[tuple[int, float]]]:
    values: dict[str, list[tuple[int, float]]] = {}
    for event in found:
        for value in event.summary.value:
            if not value.HasField("metadata"):
                values.setdefault(value.tag, []).append((event.step, value.simple_value))
    return values


def plugin(found: list[Any]) -> dict[str, Any]:
    """What the HPARAMS page reads, by the names that it looks for."""
    values = [value for event in found for value in event.summary.value if value.metadata.plugin_data.plugin_name == "hparams"]
    return {v.tag.removeprefix("_hparams_/"): HParamsPluginData.FromString(v.metadata.plugin_data.content) for v in values}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place: Path = tmp_path_factory.mktemp("events")
    TrialEvents(place)(STUDY)
    return place


def test_there_is_a_folder_for_each_trial_that_was_scored(folder: Path) -> None:
    scored = [f"trial-{trial.number:05d}" for trial in STUDY.trials if trial.rungs]
    assert sorted(path.name for path in folder.iterdir()) == scored


@pytest.mark.parametrize("trial", [t for t in STUDY.trials if t.rungs], ids=lambda trial: f"{trial.number}-{trial.state}")
def test_losses_and_scores_are_those_of_the_record(folder: Path, trial: TrialRecord) -> None:
    found = scalars(told(folder, trial.number))
    for tag, of_trunk in (("loss/training", True), ("loss/cooldown", False)):
        points = [point for o in trial.rungs for point in o.curve if (point[0] <= RUNGS[o.rung]) == of_trunk]
        assert [step for step, _ in found[tag]] == [tokens for tokens, _ in points] == sorted(tokens for tokens, _ in points)
        assert [value for _, value in found[tag]] == pytest.approx([loss for _, loss in points], rel=1e-6)
    for tag, key in (("", "value"), ("_low", "low"), ("_high", "high")):
        steps, values = zip(*found[f"loss/validation{tag}"], strict=True)
        assert list(steps) == [o.tokens for o in trial.rungs]
        assert list(values) == pytest.approx([getattr(o.scores["val_loss"], key) for o in trial.rungs], rel=1e-6)
    judged = {tag.removeprefix("objective/"): points for tag, points in found.items() if tag.startswith("objective/")}
    if trial.state != "complete":
        assert not judged, "nothing compares it across budgets"
        return
    assert set(judged) == set(STUDY.recipe["objectives"])
    for name, points in judged.items():
        score = trial.score(name, len(trial.rungs) - 1)
        assert score is not None
        ((step, value),) = points
        assert step == trial.rungs[-1].tokens and value == pytest.approx(score.value, rel=1e-6)


def test_settings_and_metrics_reach_the_page_of_hyperparameters(folder: Path) -> None:
    for trial in (trial for trial in STUDY.trials if trial.rungs):
        found = plugin(told(folder, trial.number))
        assert trial.spec is not None
        settings = found["session_start_info"].session_start_info.hparams
        assert set(settings) == set(trial.params)
        assert settings["width"].number_value == trial.spec.width and settings["norm"].string_value == trial.spec.norm
        assert settings["tied_embeddings"].bool_value == trial.spec.tied_embeddings
        metrics = [metric.name.tag for metric in found["experiment"].experiment.metric_infos]
        assert metrics == [f"objective/{name}" for name in STUDY.recipe["objectives"]]
        assert ("session_end_info" in found) == (trial.state == "complete")


def test_only_what_has_changed_is_written_again_and_always_whole(tmp_path: Path) -> None:
    sink = TrialEvents(tmp_path)
    whole = next(trial for trial in STUDY.trials if trial.state == "complete")
    begun = dataclasses.replace(whole, state="live", rungs=whole.rungs[:1])
    before = dataclasses.replace(STUDY, trials=tuple(begun if trial is whole else trial for trial in STUDY.trials))
    sink(before)
    first = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("events*")}
    sink(before)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("events*")} == first
    sink(STUDY)
    gone = set(first) - set(tmp_path.rglob("events*"))
    assert {path.parent.name for path in gone} == {f"trial-{whole.number:05d}"}
    again = TrialEvents(tmp_path / "again")
    again(STUDY)
    assert scalars(told(tmp_path, whole.number)) == scalars(told(tmp_path / "again", whole.number))


def test_a_folder_that_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError, match="file"):
        TrialEvents(tmp_path / "file")(STUDY)


def test_it_needs_no_torch_and_does_not_keep_others_from_it(tmp_path: Path) -> None:
    code = """if True:
        import sys
        from pathlib import Path
        from autonas.study.trial_events import TrialEvents
        from tests.reporting.studies import make_study
        TrialEvents(Path(sys.argv[1]))(make_study(trials=3, survivors=2))
        assert "torch" not in sys.modules
        import torch
        TrialEvents(Path(sys.argv[1]) / "again")(make_study(trials=3, survivors=2))
        assert sys.modules["torch"] is torch
    """
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == 0
