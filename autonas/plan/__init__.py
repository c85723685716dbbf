"""What a study or a full run will cost before anything is spent, and what a study still costs while it runs."""

from autonas.plan.notes import busy_notes, data_notes
from autonas.plan.remaining import remaining_seconds
from autonas.plan.replicas import about_experiment, about_replica
from autonas.plan.run import run_plan
from autonas.plan.study import Timed, Workplace, plan_study, probes

__all__ = [
    "Timed",
    "Workplace",
    "about_experiment",
    "about_replica",
    "busy_notes",
    "data_notes",
    "plan_study",
    "probes",
    "remaining_seconds",
    "run_plan",
]
