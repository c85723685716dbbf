"""The event file of a run: right at every moment, also after going on and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from autonas.run_folder import RunLog
from tests.training.event_files import check_events

NUMBERS = st.floats(-1e6, 1e6)
LOOK = st.fixed_dictionaries(
    {
        "degeneration": st.floats(0, 1),
        "collapse_rate": st.floats(0, 1),
        "empty": st.floats(0, 1),
        "distinct_1": st.none() | NUMBERS,
        "hits": st.just("01"),
        "sample": st.fixed_dictionaries({"prompt": st.sampled_from(["def f(", "é 🦊"]), "text": st.text(max_size=20)}),
    }
)
POINT = st.one_of(
    st.fixed_dictionaries({"loss": NUMBERS, "gradient_norm": NUMBERS, "learning_rate": NUMBERS, "tokens_per_s": NUMBERS}),
    st.fixed_dictionaries({"val_loss": NUMBERS, "val_low": NUMBERS, "val_high": NUMBERS}, optional={"generation": LOOK}),
)
DEEDS = st.lists(
    POINT | st.sampled_from(["go back", "begin again", "crash"]),
    max_size=12,
)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(DEEDS)
def test_whatever_happens_it_says_what_metrics_jsonl_says(tmp_path_factory: Any, deeds: list[Any]) -> None:
    run: Path = tmp_path_factory.mktemp("run")
    path = run / "metrics.jsonl"
    tokens = 0

    def begin() -> RunLog:
        return RunLog(path, tokens, 10, attempt=0)

    log = begin()
    for deed in deeds:
        if isinstance(deed, dict):
            tokens += 10
            log.write({"tokens": tokens, **deed})
        elif deed == "go back":
            tokens //= 2
            log.go_back(tokens, "the loss rose")
        else:
            if deed == "crash" and path.exists():  # lines beyond the last checkpoint, the last one torn
                with path.open("a") as file:
                    file.write(json.dumps({"tokens": tokens + 10, "loss": 1.0}) + '\n{"tokens"')
            log = begin()
        if path.exists():
            check_events(run)
