"""From a run to folders that other tools load: each is written, checked and put in place as a whole, or not at all."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from autonas import machine
from autonas.data.cache import building
from autonas.data.dataset import Dataset
from autonas.errors import CorpusError, InfeasibleArch, RequestError, ResourceError
from autonas.exporting.card import Facts, write_card
from autonas.exporting.formats import FORMATS
from autonas.exporting.held_out import compare_losses
from autonas.exporting.loading import is_export, load_export, write_json
from autonas.exporting.parity import Reference, check_parity, make_probe, reference
from autonas.loaded_run import LoadedRun, load_run
from autonas.run_folder import keep_export, read_evaluation, read_job
from autonas.space.exports import broken_exports
from autonas.trial import EvaluationSettings, Job, to_json

PARITY: Final = "parity.json"
_PACKAGES: Final = ("torch", "transformers", "onnx", "onnxruntime", "gguf", "llama-cpp-python", "tokenizers", "safetensors")


def export_run(
    run: Path,
    formats: Sequence[str],
    out: Path,
    *,
    int8: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> list[dict[str, Any]]:
    """Export a finished run; returns what was written, a mapping for each format, in their order.

    One format is written into `out`, several into folders of their names in it: all of them or none. Each is first held to the
    run's model in its own runtime (parity.json has the result), and has a model card, README.md. With `int8`, formats that have
    it hold a second file with quantised weights, whose loss is measured.

    Raises:
        RequestError: no such format, a package that it needs is not installed, `out` is not empty, or int8 is not to be had.
        InfeasibleArch: the architecture cannot be had in a format.
        StudyError, CheckpointError, TokenizerError: there is no whole finished run in `run`.
        CorpusError: int8 is measured on the run's data set, which is not here.
        ExportError: what was exported does not compute what the run's model does. Nothing is left of it.
    """
    asked = check_request(formats, out, int8=int8)
    loaded = load_export(run) if is_export(run) else load_run(run)
    for name in asked:
        if broken := broken_exports(name, loaded.spec):
            raise InfeasibleArch(broken[0], f"{run} cannot be exported to {name}: {'; '.join(broken)}. hf and onnx take it")
        if name == "gguf":
            from autonas.exporting.gguf_file import check_tokenizer

            check_tokenizer(loaded.tokenizer)
    job = read_job(run) if (run / "run.json").exists() else None
    dataset = _dataset(job)
    if int8 and dataset is None:
        raise CorpusError(
            f"--int8: the loss of quantised weights is measured on the data set of {run}, which is not on this machine; "
            "build it again with `autonas corpus --space FILE`, or leave --int8 out"
        )
    wanted = reference(loaded, make_probe(loaded, dataset))
    made = []
    with building(out) as temporary:
        for name in asked:
            place = Path() if len(asked) == 1 else Path(name)
            (temporary / place).mkdir(exist_ok=True)
            say(f"{name}: writing")
            record = _export(name, loaded, wanted, temporary / place, run=run, job=job, dataset=dataset, int8=int8, say=say)
            made.append({**record, "folder": str(out / place)})
    if job is not None:
        _keep(run, made, say)
    return made


def check_request(formats: Sequence[str], out: Path, *, int8: bool) -> tuple[str, ...]:
    """The formats to write, each once. Raises RequestError."""
    names = tuple(dict.fromkeys(name for text in formats for name in text.split(",")))
    for name in names:
        if name not in (*FORMATS, "all"):
            raise RequestError(f"--format {name!r}: there is no such format; choose of {', '.join(FORMATS)}, all")
    if not names:
        raise RequestError(f"--format: name at least one of {', '.join(FORMATS)}, all")
    names = tuple(FORMATS) if "all" in names else names
    for name in names:
        missing = [package for package in FORMATS[name].packages if importlib.util.find_spec(package) is None]
        if missing:
            raise RequestError(f"--format {name} needs {missing[0]}, which is not installed: pip install 'autonas[export]'")
    if int8 and not any(FORMATS[name].write_int8 for name in names):
        able = ", ".join(name for name, format_ in FORMATS.items() if format_.write_int8)
        raise RequestError(f"--int8: {names[0]} has no int8 of its own; choose of {able}, or leave --int8 out")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RequestError(f"--out {out}: is there and not empty; name a new folder, or remove what is in it")
    return names


def _keep(run: Path, made: Sequence[Mapping[str, Any]], say: Callable[[str], None]) -> None:
    """Add what was found to the run's own record. Where it lies is left out: the run's page is shared, and folders move."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    try:
        for record in made:
            kept = {name: value for name, value in record.items() if name not in ("run", "spec", "folder", "files")}
            keep_export(run, {"exported_at": now, **kept})
    except ResourceError as error:  # the exports are whole; a run on a disk that may only be read can be exported, too
        say(f"the run's own record of its exports could not be written: {error}")


def _dataset(job: Job | None) -> Dataset | None:
    """The run's data set, where it still is on this machine."""
    if job is None:
        return None
    try:
        return Dataset.open(job.data.folder, job.data.fingerprint)
    except CorpusError:
        return None


def _export(
    name: str,
    loaded: LoadedRun,
    wanted: Reference,
    folder: Path,
    *,
    run: Path,
    job: Job | None,
    dataset: Dataset | None,
    int8: bool,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Fill one folder, and check it. Returns parity.json."""
    chosen = FORMATS[name]
    told = chosen.write(loaded, folder)
    say(f"{name}: checking parity")
    with contextlib.closing(chosen.open(folder)) as runtime:
        parity = check_parity(wanted, runtime, note=chosen.note())
    small = None
    if int8 and chosen.write_int8 is not None:
        assert dataset is not None
        say(f"{name}: int8, and its loss")
        made = chosen.write_int8(loaded, folder)
        most = (job.evaluation if job else EvaluationSettings()).validation_tokens
        with contextlib.closing(made.runtime), contextlib.closing(made.whole):
            losses = compare_losses(made.whole, made.runtime, dataset, loaded.spec.context_length, most)
        small = {
            "file": made.file,
            "bytes": (folder / made.file).stat().st_size,
            "float_bytes": (folder / told["file"]).stat().st_size,
            "runtime": made.runtime.name,
            "left_in_float32": list(made.left),
            "note": made.note,
            **losses,
        }
    files = {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.suffix != ".py"}
    weights = hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()[:16]
    record = {
        "format": name,
        "run": run.resolve().name,
        "spec": loaded.spec.to_dict(),
        "weights": weights,
        **told,
        "parity": to_json(parity),
        "int8": small,
        "files": files,
        "environment": {**machine.environment(), "packages": {each: machine.package_version(each) for each in _PACKAGES}},
    }
    write_json(folder / PARITY, record)
    facts = Facts(
        format=name,
        spec=loaded.spec,
        run=run.resolve().name,
        files=files,
        told=told,
        parity=parity,
        int8=small,
        job=job,
        evaluation=read_evaluation(run),
        corpus=None if dataset is None else dataset.report,
        weights=weights,
    )
    write_card(facts, folder)
    return record
