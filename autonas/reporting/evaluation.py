"""What evaluation.json says, as tables of text: the terminal and the page show the same. Computes nothing new.

A part that has not been evaluated has no table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from autonas.evaluation.plausibility import title_of
from autonas.reporting.quantities import half_width, interval_text, score_text, value_text
from autonas.trial import Finding, Score, from_json

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table: what it shows, how that was measured, and its cells."""

    name: str  # of the part
    title: str
    about: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def evaluation_tables(values: Values) -> tuple[Table, ...]:
    """All tables of an evaluation.json, in the order of its parts; comparisons with other runs last."""
    suite: Values = values.get("suite", {})
    tables: list[Table] = []
    for name, make in _TABLES.items():
        if name in suite:
            try:
                tables += make(suite[name]["result"])
            except (KeyError, TypeError, IndexError, ValueError):
                about = "written by another version, or by hand: it cannot be read; evaluate the part again"
                tables.append(
                    Table(name=name, title=name.replace("_", " ").capitalize(), about=about, columns=("part",), rows=((name,),))
                )
    return (*tables, *_comparisons(values.get("comparisons", {})))


def scores_table(values: Values) -> tuple[Table, ...]:
    """What a run was scored at its end, where `autonas evaluate` has not asked more of it."""
    scores: Values = values.get("scores", {})
    if values.get("suite") or not scores:
        return ()
    rows = tuple(
        (SUMMARY.get(name, name.replace("_", " ").capitalize()), cell(score), score["unit"]) for name, score in scores.items()
    )
    about = "measured at the end of the training; `autonas evaluate` asks more"
    return (Table(name="scores", title="Scores", about=about, columns=("score", "value (95 %)", "unit"), rows=rows),)


def findings_of(values: Values) -> tuple[Finding, ...]:
    """What plausibility checks found in a run, alarms before notes, from its training and from its evaluation."""
    suite: Values = values.get("suite", {})
    told = [*values.get("findings", ()), *(found for part in suite.values() for found in part["result"].get("findings", ()))]
    found = dict.fromkeys(from_json(Finding, each) for each in told)
    return tuple(sorted(found, key=lambda finding: finding.severity != "alarm"))


# What a study's report says of a full run, in this order; the others stand in the run's own page.
SUMMARY: Final = {
    "val_loss": "Validation loss",
    "bits_per_byte": "Bits per byte",
    "degeneration": "Degeneration",
    "collapse_rate": "Collapse",
    "pass_at_1": "Pass@1",
    "params": "Parameters",
    "latency": "Latency per token",
}


def summary_table(runs: Mapping[str, Values]) -> Table:
    """Full runs by name, each in a row, with the scores that any of them has."""
    known = [name for name in SUMMARY if any(name in values.get("scores", {}) for values in runs.values())]
    rows = []
    for name, values in runs.items():
        scores = values.get("scores", {})
        alarms = sum(finding.severity == "alarm" for finding in findings_of(values))
        cells = [cell(scores[score]) if score in scores else "–" for score in known]
        rows.append((name, f"{values.get('tokens', 0):,}", *cells, str(alarms)))
    return Table(
        name="runs",
        title="Full runs",
        about="",
        columns=("run", "tokens", *(SUMMARY[name] for name in known), "alarms"),
        rows=tuple(rows),
    )


def text_lines(values: Values) -> Iterator[str]:
    """The tables for a terminal, columns aligned."""
    for table in evaluation_tables(values):
        widths = [max(map(len, cells)) for cells in zip(table.columns, *table.rows, strict=True)]
        yield f"{table.title}: {table.about}" if table.about else table.title
        for cells in (table.columns, *table.rows):
            yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
        yield ""
    for name, reason in values.get("missing", {}).items():
        yield f"NOT DONE {name}: {reason}"
    for finding in findings_of(values):
        yield f"{finding.severity.upper()} {title_of(finding.check)}: {finding.text}"


def cell(score: Values | Score) -> str:
    """A score with its interval."""
    known = score if isinstance(score, Score) else from_json(Score, score)
    interval = interval_text(known)
    return f"{score_text(known)} ({interval})" if interval else score_text(known)


def difference_cell(score: Values) -> str:
    """A difference with its interval; with signs, and no dash between two of them."""
    known = from_json(Score, score)
    error = half_width(known)
    if known.unit == "share":
        return f"{100 * known.value:+.0f} % ({100 * known.low:+.0f} to {100 * known.high:+.0f} %)".replace("-", "−")
    value, low, high = (value_text(number, known.unit, error) for number in (known.value, known.low, known.high))
    return f"{'+' if known.value > 0 else ''}{value} ({low} to {high})".replace("-", "−")


def share_cell(rate: Values) -> str:
    """A share with its interval, from a mapping with value, low and high."""
    return cell(Score(value=rate["value"], low=rate["low"], high=rate["high"], unit="share"))


def _loss(result: Values) -> Iterator[Table]:
    rows = []
    for split, found in result["splits"].items():
        scores = found["scores"]
        tokens = sum(found["documents"]["tokens"])
        documents = len(found["documents"]["nats"])
        rows.append((split, cell(scores["val_loss"]), cell(scores["bits_per_byte"]), f"{tokens:,}", f"{documents:,}"))
        for source, own in found.get("sources", {}).items():
            label = f"{split}: {source}"
            rows.append((label, cell(own["val_loss"]), cell(own["bits_per_byte"]), "", f"{own['documents']:,}"))
    about = "unsmoothed, each token once, without dropout; 95 % intervals clustered by document"
    yield Table(
        name="loss",
        title="Loss",
        about=about,
        columns=("split", "nats/token", "bits/byte", "tokens", "documents"),
        rows=tuple(rows),
    )


def _calibration(result: Values) -> Iterator[Table]:
    first, second = result["temperatures"]
    sure = "less" if result["excess_entropy"] > 0 else "more"
    yield Table(
        name="calibration",
        title="Calibration",
        about=(
            f"the temperature that suits one half of {result['raw']['n']} validation documents ({first:.3f}, {second:.3f}), on "
            f"the other half; {result['raw']['note'].rpartition('; ')[2]}. "
            f"The model is {sure} sure than it is right: its entropy is {result['entropy']:.3f} nats, "
            f"{abs(result['excess_entropy']):.3f} {'above' if sure == 'less' else 'below'} its loss"
        ),
        columns=("loss", "nats/token"),
        rows=(
            ("raw", cell(result["raw"])),
            ("calibrated", cell(result["calibrated"])),
            ("raw less calibrated", difference_cell(result["gain"])),
        ),
    )


def _collapse(result: Values) -> Iterator[Table]:
    rows = []
    for row in result["rows"]:
        rates = row["rates"]
        samples = sum(map(len, next(iter(row["hits"].values()))))
        rows.append(
            (
                row["prompts"].replace("_", "-"),
                "–" if row["context_tokens"] is None else str(row["context_tokens"]),
                "–" if row["temperature"] is None else f"{row['temperature']:.2f}",
                "–" if row["matched_entropy"] is None else f"{row['matched_entropy']:g}",
                share_cell(rates["degeneration"]) if "degeneration" in rates else "–",
                share_cell(rates["collapse_rate"]),
                share_cell(rates["collapse_prior"]),
                value_text(row["empty"], "share"),
                str(samples),
            )
        )
    about = (
        "shares of continuations that loop or are unlike real text (degeneration), that loop (collapse), that loop by the "
        "prior system's rules; 95 % Wilson intervals with the design effect of the prompts. Real text: the detectors' own error"
    )
    columns = ("prompts", "context", "T", "entropy", "degeneration", "collapse", "prior rules", "empty", "samples")
    yield Table(name="collapse", title="Degeneration", about=about, columns=columns, rows=tuple(rows))


def _latency(result: Values) -> Iterator[Table]:
    rows = []
    for name in ("measured", "batch"):
        if name not in result:
            continue
        found = result[name]
        stamps = found["stamps"]
        for title, key in (("per token", "decode"), ("first token", "prefill"), ("first token, short prompt", "prefill_short")):
            if found[key] is not None:
                noisy = "noisy" if "noisy" in found[key]["note"] else ""
                rows.append((title, stamps["batch"], cell(found[key]), stamps["dtype"], stamps.get("clock", ""), noisy))
    stamps = result["measured"]["stamps"]
    threads = f"{stamps['threads']} thread{'s' if stamps['threads'] != '1' else ''}"
    software = ", ".join(filter(None, (f"torch {stamps['torch']}", stamps["driver"])))
    yield Table(
        name="latency",
        title="Latency",
        about=f"{stamps['device']}, {threads}, context of {stamps['context']} tokens, {software}",
        columns=("what", "batch", "ms", "format", "clock", ""),
        rows=tuple(rows),
    )


def _token_classes(result: Values) -> Iterator[Table]:
    rows = [
        (
            each["name"],
            value_text(each["share"], "share"),
            value_text(each["loss_share"], "share"),
            cell(each["loss"]),
            f"{each['unigram']:.2f}",
            f"{each['bigram']:.2f}",
            f"{each['kind']:.2f}",
        )
        for each in (*result["classes"], *result["groups"])
    ]
    yield Table(
        name="token_classes",
        title="Loss by token class",
        about=(
            "validation text, beside models of counts of the tokens shown; kind: a unigram that is told of each token its "
            "class and whether a blank stands before it"
        ),
        columns=("class", "of tokens", "of loss", "nats/token", "unigram", "bigram", "kind"),
        rows=tuple(rows),
    )


def _coding(result: Values) -> Iterator[Table]:
    for report in result["reports"]:
        authors = (report["model"], *report["baselines"])
        ks = sorted({int(k) for author in authors for k in author["pass_at"]})
        rows = []
        for author in authors:
            passed = [cell(author["pass_at"][str(k)]) if str(k) in author["pass_at"] else "–" for k in ks]
            known = ("best_of_n", "syntax", "empty", "nats_per_token", "bits_per_byte", "choice", "margin")
            rows.append((author["name"], *passed, *("–" if author[name] is None else _told(author[name]) for name in known)))
        chance = report["model"]["choice_chance"]
        broken = (
            "" if report["reference"]["value"] == 1 else f"; only {report['reference']['value']:.1%} of the references pass"
        )
        guess = "" if chance is None else f"; choice by chance {chance:.1%}"
        yield Table(
            name="coding",
            title=f"Coding tasks: {report['source']}",
            about=f"{report['num_tasks']} tasks, {report['how']}{guess}{broken}",
            columns=(
                "author",
                *(f"pass@{k}" for k in ks),
                "best of n",
                "valid syntax",
                "empty",
                "reference nats/token",
                "bits/byte",
                "choice",
                "margin",
            ),
            rows=tuple(rows),
        )

    if result["reports"]:
        walls = [line.split(maxsplit=1) for line in result["reports"][0]["walls"]]
        rows = [(how.partition(": ")[0], state, how.partition(": ")[2]) for state, how in walls]
        yield Table(
            name="sandbox",
            title="Sandbox",
            about="the walls around the programs that the coding tasks ran",
            columns=("wall", "", "how"),
            rows=tuple(rows),
        )


def _told(score: Values) -> str:
    """A share or a loss as it is; what can be negative with its signs."""
    return difference_cell(score) if score["low"] < 0 else cell(score)


def _corpus(result: Values) -> Iterator[Table]:
    rows = [
        (
            f"{overlap['split']} text in training",
            f"{len(overlap['copies'])} of {overlap['documents']} documents are copies",
            f"{100 * overlap['verbatim_share']:.2f} % of the tokens stand there word by word",
        )
        for overlap in result["overlap"]
    ]
    given = {each["task"] for each in result["contamination"] if not each["commonplace"]}
    common = {each["task"] for each in result["contamination"] if each["commonplace"]} - given
    tasks = f"{len(given)} of {result['tasks']} tasks" + (f" ({', '.join(sorted(given)[:8])})" if given else "")
    rows.append(("coding tasks in training", tasks, f"and {len(common)} whose short bodies are commonplaces"))
    about = "copies: 30 % of a document's runs of 13 tokens in one training document; spans of 50 tokens, boilerplate left out"
    yield Table(name="corpus", title="Contamination", about=about, columns=("what", "found", "beside"), rows=tuple(rows))


def _plausibility(result: Values) -> Iterator[Table]:
    loss = result["loss"]
    rows = [("leak test", "FAILED" if result["leaks"] else "passed", result["leak"])]
    rows += [
        (f"loss against {name}", f"{100 * loss / nats:.0f} %", f"{loss:.3f} of {nats:.3f} nats")
        for name, nats in result["baselines"].items()
    ]
    if result["gap"] is not None:
        gap = result["gap"]
        rows.append(
            (
                "validation less training loss",
                f"{gap['validation'] - gap['training']:+.3f} nats".replace("-", "−"),
                f"{gap['excess']:+.3f} ± {gap['error']:.3f} beyond what the texts explain".replace("-", "−"),
            )
        )
    alarms = result["curve_alarms"]
    rows.append(("the run's training and generations", f"{alarms} alarms" if alarms != 1 else "1 alarm", ""))
    about = "what is not believed: below 40 % of a bigram model's loss or 30 % of a compressor's, or below training loss"
    yield Table(name="plausibility", title="Plausibility", about=about, columns=("check", "found", "figures"), rows=tuple(rows))


_TABLES: Final[Mapping[str, Callable[[Values], Iterator[Table]]]] = {
    "loss": _loss,
    "calibration": _calibration,
    "token_classes": _token_classes,
    "collapse": _collapse,
    "latency": _latency,
    "corpus": _corpus,
    "plausibility": _plausibility,
    "coding": _coding,
}


def _comparisons(comparisons: Mapping[str, Values]) -> Iterator[Table]:
    for other, found in comparisons.items():
        loss = found["val_loss"]
        rows = [("validation loss", difference_cell(loss), "", "", "yes" if loss["low"] > 0 or loss["high"] < 0 else "no")]
        rows += [_compared(row) for row in found["collapse"] if row["name"] != "collapse_prior"]
        yield Table(
            name="comparison",
            title=f"Against {other}",
            about=(
                "this run's less the other's, on the same documents, prompts and random numbers; p-values of the exact "
                "sign-flip test over prompts (McNemar's where a prompt has one sample), not corrected for the number of rows"
            ),
            columns=("what", "difference", "only here : only there", "p", "told apart"),
            rows=tuple(rows),
        )


def _compared(row: Values) -> tuple[str, str, str, str, str]:
    difference = row["difference"]
    name = "degeneration" if row["name"] == "degeneration" else "collapse"
    counts = f"{difference['only_first']} : {difference['only_second']}"
    p_value = difference["p_value"]
    told = "yes" if p_value < 0.05 else "no"
    return (
        f"{name}, {row['title']}",
        difference_cell({**{key: difference[key] for key in ("value", "low", "high")}, "unit": "share"}),
        counts,
        f"{p_value:.3f}" if p_value >= 0.001 else "< 0.001",
        told,
    )


def rows_by_context(result: Values) -> Sequence[Values]:
    """The rows of the collapse part that make the curve by length of context: at the temperature that most of them have."""
    rows = [row for row in result["rows"] if row["prompts"] == "context" and row["matched_entropy"] is None]
    temperatures = [row["temperature"] for row in rows]
    usual = max(set(temperatures), key=temperatures.count, default=None)
    return [row for row in rows if row["temperature"] == usual]
