"""One study from beginning to end: the only package that knows policy, engine and ledger.

`begin` opens or resumes a study, `search` is the loop at the top, `apart` runs the jobs that are no trial's, `clock` keeps its
time and `files` its folder.
"""

from autonas.study.apart import CALIBRATION_TRIAL
from autonas.study.begin import cancel_study, run_study, study_status, with_vocabulary
from autonas.study.search import CANCELLED, Watcher

__all__ = ["CALIBRATION_TRIAL", "CANCELLED", "Watcher", "cancel_study", "run_study", "study_status", "with_vocabulary"]
