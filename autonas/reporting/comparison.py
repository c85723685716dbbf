"""What of several studies may be compared: only what was measured by the same protocol, on the same text, as far trained.

Each rule takes two studies and says in words what stands against comparing them; nothing where nothing does. All are
equalities, so that studies that may each be compared with the first may be with one another. How they then compare is in
side_by_side.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autonas.objective import OBJECTIVES, Objective
from autonas.reporting.finals import finals, rung_tokens
from autonas.reporting.posterior import SHARES
from autonas.reporting.quantities import tokens_text
from autonas.reporting.report import Alarm
from autonas.trial import DocumentLosses, StudyRecord

# Fewer documents of equal sizes could be equal by chance.
_LEAST_DOCUMENTS = 2
_SUITE = re.compile(r"\b(?:suite|range|collapse)[\w-]*-\d+")
_ABSENT = "not there"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparable:
    """The objectives in which studies may be compared, and what is said of the others."""

    objectives: tuple[Objective, ...]
    alarms: tuple[Alarm, ...]  # alarms: what must not be compared; notes: what is not, or only with care


def comparable(studies: Sequence[StudyRecord], names: Sequence[str]) -> Comparable:
    """The objectives that all of the studies have and that may be compared, in the order of the first; `names` are shown.

    Bits per byte take the place of a loss per token where tokens differ and the text does not.
    """
    own = [list(study.recipe["objectives"]) for study in studies]
    shared = [name for name in own[0] if all(name in others for others in own)]
    found: list[Objective] = []
    alarms: list[Alarm] = []
    for name in shared:
        against = _against(OBJECTIVES[name], studies, names)
        if not against:
            found.append(OBJECTIVES[name])
            continue
        alarms.append(
            Alarm(
                severity="alarm",
                title=f"{OBJECTIVES[name].title} is not compared",
                text=sentence("; ".join(against)) + " The numbers of one study say nothing beside those of the other.",
            )
        )
        bits = OBJECTIVES["bits_per_byte"]
        has_bits = name == "val_loss" and bits.name not in shared and _all_have(studies, bits.name)
        if has_bits and not _against(bits, studies, names):
            found.append(bits)
            alarms.append(
                Alarm(
                    severity="note",
                    title="Bits per byte in the place of the loss",
                    text="The tokens of the studies differ and the validation text does not: a byte is the same in all.",
                )
            )
    for name in dict.fromkeys(each for names_of in own for each in names_of):
        if name not in shared:
            lacking = [shown for shown, names_of in zip(names, own, strict=True) if name not in names_of]
            text = f"It is no objective of {listed(lacking)}, whose search did not look for it."
            alarms.append(Alarm(severity="note", title=f"{OBJECTIVES[name].title} is not compared", text=text))
    alarms += _notes(studies, names)
    return Comparable(objectives=tuple(found), alarms=tuple(sorted(alarms, key=lambda alarm: alarm.severity != "alarm")))


def reasons_against(objective: Objective, first: StudyRecord, second: StudyRecord) -> list[str]:
    """What stands against comparing a score of the two studies."""
    if objective.known == "arithmetic":
        return []
    if objective.known == "measured":
        return timing_reasons(first, second)
    reasons = training_reasons(first, second)
    if objective.name in SHARES:
        return [*reasons, *generation_reasons(objective.name, first, second)]
    return [*reasons, *text_reasons(first, second), *(token_reasons(first, second) if objective.name == "val_loss" else [])]


def training_reasons(first: StudyRecord, second: StudyRecord) -> list[str]:
    """Scores are of models that were shown as much: the same last rung and the same cooldown after it."""
    reasons = []
    last, other = (rung_tokens(study)[-1] for study in (first, second))
    if last != other:
        reasons.append(f"the last rungs are at {tokens_text(last)} and {tokens_text(other)} tokens")
    cooled, otherwise = (study.recipe["budget"].get("cooldown_share") for study in (first, second))
    if cooled != otherwise:
        reasons.append(f"the cooldowns are {_share(cooled)} and {_share(otherwise)} of what comes before them")
    return reasons


def text_reasons(first: StudyRecord, second: StudyRecord) -> list[str]:
    """Losses are of the same validation text, as the bytes of each document tell."""
    documents, others = validation_documents(first), validation_documents(second)
    same_data = _fingerprint(first) is not None and _fingerprint(first) == _fingerprint(second)
    if documents is None or others is None:
        if not same_data:
            return ["the data differ, and that the validation text is the same cannot be told"]
        limits = [_evaluation(study).get("validation_tokens") for study in (first, second)]
        return [] if limits[0] == limits[1] else [f"{limits[0]} and {limits[1]} validation tokens are scored"]
    if documents.bytes != others.bytes:
        sizes = [f"{len(each.bytes):,} documents of {sum(each.bytes):,} bytes" for each in (documents, others)]
        return [f"the validation texts differ: {sizes[0]} and {sizes[1]}"]
    if not same_data and len(documents.bytes) < _LEAST_DOCUMENTS:
        return ["the data differ, and that the validation text is the same cannot be told by a single document"]
    return []


def token_reasons(first: StudyRecord, second: StudyRecord) -> list[str]:
    """A loss per token is of the same tokens: the same tokenizer, which cuts each document into as many."""
    if _fingerprint(first) is not None and _fingerprint(first) == _fingerprint(second):
        return []  # of the tokens themselves
    reasons = []
    tokenizers = [study.recipe.get("tokenizer") for study in (first, second)]
    if tokenizers[0] != tokenizers[1]:
        reasons.append(f"the tokenizers differ: {_settings(tokenizers[0], tokenizers[1])}")
    documents, others = validation_documents(first), validation_documents(second)
    if documents is None or others is None:
        reasons.append("that the tokens are the same cannot be told: their data differ")
    elif documents.bytes == others.bytes and documents.tokens != others.tokens:
        reasons.append(f"the same text is {sum(documents.tokens):,} and {sum(others.tokens):,} tokens: a token is not the same")
    return reasons


def generation_reasons(name: str, first: StudyRecord, second: StudyRecord) -> list[str]:
    """Shares of samples are of the same prompts and tokens, drawn alike, judged by the same suite beside the same text."""
    reasons = []
    if _fingerprint(first) is None or _fingerprint(first) != _fingerprint(second):
        reasons.append("the data differ, and with them the prompts, the tokens that are counted, or the text compared with")
    settings = [{k: v for k, v in _evaluation(study).items() if k != "validation_tokens"} for study in (first, second)]
    if settings[0] != settings[1]:
        reasons.append(f"samples are drawn by other settings: {_settings(*settings)}")
    suites = [_suites(name, study) for study in (first, second)]
    if suites[0] != suites[1] and all(any(name in trial.scores for trial in finals(study)) for study in (first, second)):
        reasons.append(f"other versions judged them: {listed(sorted(suites[0]))} and {listed(sorted(suites[1]))}")
    return reasons


def timing_reasons(first: StudyRecord, second: StudyRecord) -> list[str]:
    """Latencies are of the same device, threads, format and batch, or of the same table; a GPU's name no ledger holds."""
    settings = [dict(study.recipe.get("latency") or {}) for study in (first, second)]
    if settings[0] != settings[1]:
        return [f"latencies mean something else: {_settings(*settings)}"]
    if settings[0].get("table") is not None:
        return []
    reasons = []
    places = [_environment(study) for study in (first, second)]
    devices = [settings[0].get("device", "auto"), *(str(place.get("device", "cpu")) for place in places)]
    asked = devices[0] if devices[0] != "auto" else None
    used = [asked or device for device in devices[1:]]
    if used[0].partition(":")[0] != used[1].partition(":")[0]:
        reasons.append(f"latencies were measured on {used[0]} and {used[1]}")
    elif not used[0].startswith("cpu"):
        reasons.append(
            "latencies were measured on GPUs, whose names the ledgers do not hold: that they are alike cannot be told"
        )
    elif places[0].get("processor") is None or places[1].get("processor") is None:
        reasons.append("on which processors latencies were measured cannot be told")
    elif places[0]["processor"] != places[1]["processor"]:
        reasons.append(f"latencies were measured on {places[0]['processor']} and {places[1]['processor']}")
    versions = [(place.get("packages") or {}).get("torch") for place in places]
    if versions[0] != versions[1]:
        reasons.append(f"latencies are those of torch {versions[0]} and {versions[1]}")
    return reasons


def pace_reasons(first: StudyRecord, second: StudyRecord) -> list[str]:
    """Seconds of training are of machines that are alike and shared alike."""
    places = [_environment(study) for study in (first, second)]
    names = ("processor", "device", "threads", "workers", "cores")
    different = [name for name in names if places[0].get(name) != places[1].get(name)]
    told = [f"{name} {places[0].get(name, _ABSENT)} and {places[1].get(name, _ABSENT)}" for name in different]
    return [f"the machines differ: {', '.join(told)}"] if told else []


def validation_documents(study: StudyRecord) -> DocumentLosses | None:
    """The validation documents of a study, as its first final trial was scored on them; None where none are kept."""
    return next((trial.outcome.documents for trial in finals(study) if trial.outcome.documents is not None), None)


def same_order(first: StudyRecord, second: StudyRecord) -> bool:
    """Whether both show their trials the same text in the same order, which then moves the losses of both alike."""
    data = _fingerprint(first) is not None and _fingerprint(first) == _fingerprint(second)
    return data and first.recipe["budget"].get("seed") == second.recipe["budget"].get("seed")


def leaves(values: Any, place: str = "") -> dict[str, Any]:
    """Every value of a nested mapping by its dotted place; a list is a value, as is an empty mapping."""
    if not isinstance(values, Mapping) or (not values and place):
        return {place: values}
    return {
        name: value
        for key, inner in values.items()
        for name, value in leaves(inner, f"{place}.{key}" if place else str(key)).items()
    }


def sentence(text: str) -> str:
    """The same with a capital at its beginning and a stop at its end."""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"


def listed(names: Sequence[str]) -> str:
    """a, b and c."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "none"


def objectives_text(objectives: Sequence[Objective]) -> str:
    """Parameters and latency per token: the names of objectives within a sentence."""
    return listed([objective.title[:1].lower() + objective.title[1:] for objective in objectives])


def _against(objective: Objective, studies: Sequence[StudyRecord], names: Sequence[str]) -> list[str]:
    found = []
    for study, name in zip(studies[1:], names[1:], strict=True):
        if reasons := reasons_against(objective, studies[0], study):
            found.append(f"of {names[0]} and {name} " + ", ".join(reasons))
    return found


def _notes(studies: Sequence[StudyRecord], names: Sequence[str]) -> list[Alarm]:
    """What qualifies a comparison that may be made."""
    notes = []
    open_ = [name for study, name in zip(studies, names, strict=True) if study.attributes.get("closed") is None]
    if open_:
        text = f"{listed(open_)} may still gain: what is compared is what had ended when this page was written."
        notes.append(Alarm(severity="note", title="Not at an end", text=text))
    if any(_fingerprint(study) != _fingerprint(studies[0]) for study in studies[1:]):
        text = "The studies were trained on different data; the section on data says in what they differ."
        notes.append(Alarm(severity="note", title="Other data", text=text))
    versions = {str(_environment(study).get("autonas", "unknown")) for study in studies}
    if len(versions) > 1:
        text = f"They were searched by autonas {listed(sorted(versions))}: what a score means may have changed with it."
        notes.append(Alarm(severity="note", title="Other versions", text=text))
    tables = {(study.recipe.get("latency") or {}).get("table") for study in studies} - {None}
    files = {_evaluation(study).get("prompts_file") for study in studies} - {None}
    for file in sorted(map(str, tables | files)):
        text = f"The studies name the file {file}; that it held the same for each of them cannot be told."
        notes.append(Alarm(severity="note", title="A file by its name", text=text))
    return notes


def _all_have(studies: Sequence[StudyRecord], name: str) -> bool:
    return all(name in trial.scores for study in studies for trial in finals(study))


def _suites(name: str, study: StudyRecord) -> frozenset[str]:
    """The versions of the suites that counted a share, as the notes of its scores have them."""
    notes = (trial.scores[name].note for trial in finals(study) if name in trial.scores)
    return frozenset(version for note in notes for version in _SUITE.findall(note))


def _settings(first: Any, second: Any) -> str:
    """Where two sections of a recipe differ, in words."""
    ours, theirs = leaves(first or {}), leaves(second or {})
    places = [place for place in dict.fromkeys([*ours, *theirs]) if ours.get(place) != theirs.get(place)]
    return ", ".join(f"{place} {ours.get(place, _ABSENT)} and {theirs.get(place, _ABSENT)}" for place in places)


def _fingerprint(study: StudyRecord) -> str | None:
    found = (study.attributes.get("data") or {}).get("fingerprint")
    return None if found is None else str(found)


def _environment(study: StudyRecord) -> Mapping[str, Any]:
    found: Mapping[str, Any] = study.attributes.get("environment") or {}
    return found


def _evaluation(study: StudyRecord) -> Mapping[str, Any]:
    found: Mapping[str, Any] = study.recipe.get("evaluation") or {}
    return found


def _share(value: Any) -> str:
    return "an unknown share" if value is None else f"{100 * float(value):g} %"
