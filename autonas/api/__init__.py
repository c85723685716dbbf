"""What the commands do, as Python functions: `autonas.search(...)`, `autonas.front(...)` and their kin. Prints nothing."""

from __future__ import annotations

from autonas.api.promotions import promote as promote
from autonas.api.promotions import promote_winner as promote_winner
from autonas.api.promotions import propose_promotion as propose_promotion
from autonas.api.reading import REPORTS as REPORTS
from autonas.api.reading import cancel as cancel
from autonas.api.reading import evaluations_of as evaluations_of
from autonas.api.reading import front as front
from autonas.api.reading import read_recipe as read_recipe
from autonas.api.reading import read_study as read_study
from autonas.api.reading import report as report
from autonas.api.reading import study_folder as study_folder
from autonas.api.runs import count_params as count_params
from autonas.api.runs import evaluate as evaluate
from autonas.api.runs import export as export
from autonas.api.runs import finetune as finetune
from autonas.api.runs import load as load
from autonas.api.runs import report_run as report_run
from autonas.api.searches import search as search
from autonas.api.searches import write_trial_events as write_trial_events
