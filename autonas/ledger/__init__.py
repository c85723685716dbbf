"""The record of truth of a study: trial records in an Optuna storage. The only home of persistence.

A trial is one Optuna trial with the same number. It is written in whole records, each of them atomic: its beginning (params,
spec, exact scores), each finished rung (the outcome, as one attribute), its end (the state). What is not written has not
happened: after a crash the study goes on from what stands here.

    live        RUNNING   begun and not ended; its rungs so far are attributes rung:0, rung:1, …
    complete    COMPLETE  scored at the last rung; values are the objectives there
    stopped     PRUNED    did not go on from a rung; no values, so that nothing can compare it across budgets
    infeasible  PRUNED    breaks a rule or a limit (attribute `rule`); a constraint above 0 tells samplers so
    failed      FAIL      attribute `failure` holds kind and message

Records are system attributes named `autonas:…`, which dashboards do not list; what they do list, user attributes and notes,
is for people, and nothing here reads it back.
"""

from autonas.ledger.lease import is_running, run_is_at_work, run_lease, study_lease
from autonas.ledger.ledger import Ledger, check_new, study_names
from autonas.ledger.storage import JOURNAL

__all__ = ["JOURNAL", "Ledger", "check_new", "is_running", "run_is_at_work", "run_lease", "study_lease", "study_names"]
