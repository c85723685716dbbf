"""A run as one HTML file that opens offline, while it is trained and after: its way so far, and its evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from autonas.arch import ArchSpec
from autonas.data.cache import write_file
from autonas.pages.html import asset, content_digest, page_environment
from autonas.reporting import tables
from autonas.reporting.charts import Frame
from autonas.reporting.evaluation import Values, evaluation_tables, findings_of, rows_by_context, scores_table, title_of
from autonas.reporting.generations import chosen_samples, shown_sample
from autonas.reporting.quantities import spec_text, tokens_text
from autonas.reporting.run_so_far import RunSoFar, facts_of, prediction_lines, run_so_far, training_figure
from autonas.reporting.scales import Scale, Tick
from autonas.run_folder import run_state
from autonas.trial import Sample, from_json

_WIDTH, _HEIGHT = 520, 240


def write_page(values: Values, run: Path, target: Path | None = None) -> Path:
    """Write `run`/evaluation.html (or `target`), whole or not at all; returns where. What it says already is not written again.

    Raises:
        ResourceError: no space or no permission there.
    """
    target = target or run / "evaluation.html"
    so_far = run_so_far(run) if run_state(run) != "absent" else None
    page = render_page(values, run.name, so_far, prediction_lines(run, values)).encode("utf-8")
    if not target.is_file() or target.read_bytes() != page:
        write_file(target, page)
    return target


def render_page(values: Values, name: str, so_far: RunSoFar | None = None, predictions: Sequence[str] = ()) -> str:
    """The HTML of a run: its evaluation.json, and where it stands. The same values give the same bytes."""
    style = asset("page.css")
    environment: dict[str, Any] = values.get("evaluated") or values.get("environment") or {}
    collapse = values.get("suite", {}).get("collapse")
    return (
        page_environment()
        .get_template("run.html")
        .render(
            name=name,
            spec=spec_text_of(values) or (spec_text(so_far.spec) if so_far is not None else ""),
            so_far=so_far,
            facts=facts_of(so_far) if so_far is not None else [],
            training=training_figure(so_far) if so_far is not None else None,
            predictions=predictions,
            tokens_text=tokens_text,
            tables=(*scores_table(values), *evaluation_tables(values)),
            findings=[(finding, title_of(finding)) for finding in findings_of(values)],
            missing=sorted(values.get("missing", {}).items()),
            curve=context_curve(collapse["result"]) if collapse else None,
            samples=[
                shown_sample(sample) for sample in chosen_samples([from_json(Sample, one) for one in values.get("samples", ())])
            ],
            provenance=tables.facts(environment),
            checks=sorted(values.get("checks", {}).items()),
            policy=f"default-src 'none'; style-src '{content_digest(style)}'",
            style=Markup(style),
        )
    )


def spec_text_of(values: Values) -> str:
    """The architecture in one line."""
    return spec_text(ArchSpec.from_dict(values["spec"])) if "spec" in values else ""


def context_curve(result: Values) -> dict[str, Any] | None:
    """Degeneration (or collapse) by length of context, as coordinates; None with fewer than two lengths."""
    rows = rows_by_context(result)
    if len(rows) < 2:
        return None
    name = "degeneration" if "degeneration" in rows[0]["rates"] else "collapse_rate"
    top = max(0.05, *(row["rates"][name]["high"] for row in rows))
    x_scale = Scale(low=rows[0]["context_tokens"], high=rows[-1]["context_tokens"], start=60, end=_WIDTH - 30, log=True)
    y_scale = Scale(low=0.0, high=top, start=_HEIGHT - 36, end=20)
    points = [
        {
            "x": x_scale.at(row["context_tokens"]),
            "y": y_scale.at(row["rates"][name]["value"]),
            "low": y_scale.at(row["rates"][name]["low"]),
            "high": y_scale.at(row["rates"][name]["high"]),
        }
        for row in rows
    ]
    frame = Frame(
        width=_WIDTH,
        height=_HEIGHT,
        left=46,
        right=_WIDTH - 16,
        top=20,
        bottom=_HEIGHT - 36,
        x_title="tokens of context",
        y_title="share",
        x_ticks=tuple(Tick(at=p["x"], text=str(r["context_tokens"])) for p, r in zip(points, rows, strict=True)),
        y_ticks=y_scale.ticks("share"),
    )
    path = "M" + "L".join(f"{point['x']} {point['y']}" for point in points)
    return {"frame": frame, "points": points, "path": path, "name": name, "temperature": rows[0]["temperature"]}
