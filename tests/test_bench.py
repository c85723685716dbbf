"""`autonas bench`: what it prints is measured, whole and of the documented form. How large it is gates nothing."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_overhead_is_that_of_real_trials_on_warm_workers() -> None:
    command = [sys.executable, "-m", "autonas.cli", "bench", "overhead", "--seconds", "1", "--trials-per-worker", "3"]
    command += ["--workers", "1", "--device", "cpu", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["name"] == "overhead" and found["environment"]["packages"]["torch"]
    keys = {"metric", "unit", "ours", "low", "high", "peer", "peer_name", "ratio", "goal", "met"}
    assert all(row.keys() == keys for row in found["rows"])
    rows = {row["metric"]: row for row in found["rows"]}
    share = rows["overhead until the work ran out"]
    assert 0 < share["low"] <= share["ours"] <= share["high"] < 1
    assert share["met"] == (share["ours"] <= share["goal"])
    assert rows["trials"]["ours"] == 3 and rows["workers"]["ours"] == 1
    # The share and the times are of one measurement.
    lost, trial = rows["lost per trial, 95th percentile"]["ours"], rows["trial, median"]["ours"]
    assert 0 < rows["lost per trial, median"]["ours"] <= lost
    assert share["ours"] <= lost / (lost + trial) * 1.5 + 0.01
