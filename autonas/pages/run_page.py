"""A run as one HTML file that opens offline, while it is trained and after: its way so far, its evaluation, its exports."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autonas.arch import ArchSpec
from autonas.data.cache import write_file
from autonas.evaluation.plausibility import title_of
from autonas.figures.run import SERIES_TITLES, run_figures
from autonas.pages.html import page
from autonas.policy.prediction import Predicted
from autonas.reporting import tables
from autonas.reporting.evaluation import Table, Values, evaluation_tables, findings_of, scores_table
from autonas.reporting.generations import chosen_samples, shown_sample
from autonas.reporting.quantities import spec_text, tokens_text
from autonas.reporting.run_facts import exports_of, final_score, predicted_score, provenance
from autonas.reporting.run_so_far import RunSoFar, facts_of, look_rows, prediction_lines, run_so_far, series_text
from autonas.run_folder import run_state
from autonas.trial import Sample, from_json

NOT_EXPORTED = (
    "This run has not been exported, or it was by a version that kept no record of it: "
    "`autonas export RUN --format all --out DIR` writes it for other tools, and holds each to this model first."
)


def write_page(values: Values, run: Path, target: Path | None = None) -> Path:
    """Write `run`/evaluation.html (or `target`), whole or not at all; returns where. What it says already is not written again.

    Raises:
        ResourceError: no space or no permission there.
    """
    target = target or run / "evaluation.html"
    so_far = run_so_far(run) if run_state(run) != "absent" else None
    text = render_page(
        values,
        run.name,
        so_far,
        prediction_lines(run, values),
        predicted=predicted_score(run),
        exports=exports_of(run),
        facts=provenance(run),
    ).encode("utf-8")
    if not target.is_file() or target.read_bytes() != text:
        write_file(target, text)
    return target


def render_page(
    values: Values,
    name: str,
    so_far: RunSoFar | None = None,
    predictions: Sequence[str] = (),
    *,
    predicted: Predicted | None = None,
    exports: Table | None = None,
    facts: Sequence[tuple[str, str]] = (),
) -> str:
    """The HTML of a run: its evaluation.json, and where it stands. The same values give the same bytes.

    `predicted` is what was foretold of its `val_loss`, `exports` the table of its exports, `facts` where it comes from.
    """
    environment: dict[str, Any] = values.get("evaluated") or values.get("environment") or {}
    figures = run_figures(so_far, values, predicted, final_score(values))
    samples = [from_json(Sample, one) for one in values.get("samples", ())]
    spec = values["spec"] if "spec" in values else None if so_far is None else so_far.spec.to_dict()
    return page(
        "run.html",
        styles=("page.css", "run.css"),
        scripts=("figures.js", "downloads.js"),
        figures=figures,
        data={},
        name=name,
        spec=spec_text_of(values) or (spec_text(so_far.spec) if so_far is not None else ""),
        so_far=so_far,
        facts=facts_of(so_far) if so_far is not None else [],
        drawn=set(figures),
        series=[] if so_far is None else [(each, title, series_text(so_far, each)) for each, title in SERIES_TITLES.items()],
        looks=[] if so_far is None else look_rows(so_far),
        predictions=predictions,
        predicted_drawn=predicted is not None,
        tokens_text=tokens_text,
        tables=(*scores_table(values), *evaluation_tables(values)),
        findings=[(finding, title_of(finding.check)) for finding in findings_of(values)],
        missing=sorted(values.get("missing", {}).items()),
        exports=exports,
        not_exported=NOT_EXPORTED,
        samples=[shown_sample(sample) for sample in chosen_samples(samples)],
        provenance=tables.facts(environment),
        origin=facts,
        checks=sorted(values.get("checks", {}).items()),
        architecture="" if spec is None else json.dumps(spec, indent=1, sort_keys=True),
    )


def spec_text_of(values: Values) -> str:
    """The architecture in one line."""
    return spec_text(ArchSpec.from_dict(values["spec"])) if "spec" in values else ""
