"""The model card: README.md of an export, with the YAML head that the Hugging Face hub reads.

Every number in it is one that was measured or counted, as the run's evaluation.json and the check of parity have them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

import autonas
from autonas.arch import ArchSpec, spec_text
from autonas.cost import count_params
from autonas.exporting.parity import Parity
from autonas.run_folder import step_tokens
from autonas.trial import Job, Score, TuningSettings, from_json

FILE: Final = "README.md"
_PROMPT: Final = "def add(a, b):"
_LIBRARIES: Final = {"hf": "transformers", "onnx": "onnx", "gguf": "gguf", "safetensors": "autonas"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that a card tells of. `job`, `evaluation` and `corpus` are what the run and its data set say, as far as they do."""

    format: str
    spec: ArchSpec
    run: str  # the folder's name
    files: Mapping[str, int]  # bytes of each
    told: Mapping[str, Any]  # by the format: the class, the file
    parity: Parity
    int8: Mapping[str, Any] | None
    job: Job | None
    evaluation: Mapping[str, Any]
    corpus: Mapping[str, Any] | None  # the corpus report
    weights: str  # digest of what was exported


def write_card(facts: Facts, folder: Path) -> None:
    (folder / FILE).write_text(card_text(facts), encoding="utf-8")


def card_text(facts: Facts) -> str:
    """The whole README.md."""
    head = {
        "language": ["code"],
        # Whoever publishes a model says under which licence; what the corpus was under stands below.
        "license": "unknown",
        "library_name": _LIBRARIES[facts.format],
        "pipeline_tag": "text-generation",
        "tags": ["autonas", "code", facts.format, *(["custom_code"] if facts.told.get("native") is False else [])],
    }
    front = yaml.safe_dump(head, sort_keys=False, allow_unicode=True).strip()
    sections = (_about(facts), _use(facts), _data(facts), _training(facts), _scores(facts), _alarms(facts), _parity(facts))
    body = "\n\n".join("\n".join(section) for section in sections)
    return f"---\n{front}\n---\n\n# {facts.run}\n\n{body}\n"


def _about(facts: Facts) -> Iterator[str]:
    spec = facts.spec
    yield f"A language model of {count_params(spec):,} parameters for code, trained by autonas {autonas.__version__}."
    tuned = facts.job is not None and facts.job.tuning is not None
    if tuned:
        yield "It was tuned on prompts and their solutions, and not to be safe. It is asked as they were: end-of-text, then the"
        yield "prompt without white space at its end; what follows begins with the line break behind it."
    elif facts.job is not None:
        yield "It continues text; it was not trained to follow instructions or to be safe."
    yield ""
    yield "| | |"
    yield "|---|---|"
    layers = "1 layer" if spec.layers == 1 else f"{spec.layers} layers"
    yield f"| architecture | {spec_text(spec)}; {layers} of width {spec.width}, inner width {spec.ffn_width} |"
    yield f"| context | {spec.context_length:,} tokens |"
    yield f"| vocabulary | {spec.vocab_size:,} entries |"
    if "class" in facts.told:
        kind = "of transformers" if facts.told["native"] else "in the files beside the weights"
        yield f"| class | `{facts.told['class']}`, {kind} |"
    yield f"| fingerprint | {spec.fingerprint}; weights {facts.weights} |"
    for name, size in facts.files.items():
        yield f"| `{name}` | {size:,} bytes |"


def _use(facts: Facts) -> Iterator[str]:
    yield "## How to use"
    yield ""
    if facts.format == "gguf":
        yield "With llama-cpp-python, or any other program that reads GGUF. Run in this folder:"
    elif facts.told.get("native") is False:
        yield "`trust_remote_code=True` runs the two Python files of this folder: read them first. Run in this folder:"
    else:
        yield "Run in this folder:"
    yield ""
    yield "```python"
    yield usage(facts.format, facts.told, facts.spec, tuned=facts.job is not None and facts.job.tuning is not None)
    yield "```"


def usage(name: str, told: Mapping[str, Any], spec: ArchSpec, *, tuned: bool = False) -> str:
    """Python that completes a prompt greedily, with the export's folder as the working directory.

    A `tuned` model is asked as it was tuned: an end-of-text, then the prompt.
    """
    new_tokens = min(32, spec.context_length // 2)
    if name == "hf":
        trust = ", trust_remote_code=True" if not told["native"] else ""
        if tuned:
            return f"""import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("."{trust})
model = AutoModelForCausalLM.from_pretrained("."{trust})
tokens = torch.tensor([[tokenizer.eos_token_id, *tokenizer("{_PROMPT}")["input_ids"]]])
mask = torch.ones_like(tokens)
written = model.generate(tokens, attention_mask=mask, max_new_tokens={new_tokens})
print(tokenizer.decode(written[0], skip_special_tokens=True))"""
        return f"""from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("."{trust})
model = AutoModelForCausalLM.from_pretrained("."{trust})
inputs = tokenizer("{_PROMPT}", return_tensors="pt")
print(tokenizer.decode(model.generate(**inputs, max_new_tokens={new_tokens})[0], skip_special_tokens=True))"""
    if name == "onnx":
        return f"""import json
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("tokenizer.json")
end = json.loads(Path("config.json").read_text())["autonas"]["end_of_text"]
session = onnxruntime.InferenceSession("{told["file"]}", providers=["CPUExecutionProvider"])
past = {{each.name: np.zeros((1, each.shape[1], 0, each.shape[3]), np.float32) for each in session.get_inputs()[2:]}}
tokens = [{"end, " if tuned else ""}*tokenizer.encode("{_PROMPT}").ids]
new = tokens
for _ in range({new_tokens}):
    inputs = {{"input_ids": np.array([new]), "attention_mask": np.ones((1, len(tokens)), np.int64)}}
    logits, *present = session.run(None, inputs | past)
    past = dict(zip(past, present))
    new = [int(logits[0, -1].argmax())]
    tokens = tokens + new
    if new == [end]:
        break
print(tokenizer.decode(tokens))"""
    if name == "gguf":
        asked = "tokens = [model.token_eos(), *model.tokenize(prompt.encode(), add_bos=False)]\n" if tuned else ""
        return f"""from llama_cpp import Llama

model = Llama("{told["file"]}", n_ctx={spec.context_length}, verbose=False)
prompt = "{_PROMPT}"
{asked}print(prompt + model({"tokens" if tuned else "prompt"}, max_tokens={new_tokens}, temperature=0.0)["choices"][0]["text"])
model.close()"""
    return f"""import autonas

prompt = "{_PROMPT}"
print(prompt + autonas.load(".").complete(prompt, max_tokens={new_tokens}, temperature=0.0).text)"""


def _data(facts: Facts) -> Iterator[str]:
    yield "## Data"
    yield ""
    if facts.job is not None:
        yield f"Data set {facts.job.data.fingerprint}."
    report = facts.corpus
    if report is None:
        yield "The data set is not on the machine that exported this: what is in it and under which licences is not known here."
        return
    yield ""
    yield "| split | projects | documents | bytes | tokens |"
    yield "|---|---:|---:|---:|---:|"
    for split in report["documents"]:
        numbers = (report[name].get(split, 0) for name in ("projects", "documents", "bytes", "tokens"))
        yield f"| {split} | {' | '.join(f'{number:,}' for number in numbers)} |"
    yield ""
    licences = sorted(report["licences"].items(), key=lambda item: (-item[1], item[0]))
    yield "Licences of the documents, as their sources state them:"
    yield ", ".join(f"{name or 'unknown'} ({count:,})" for name, count in licences) + "."


def _training(facts: Facts) -> Iterator[str]:
    yield "## Training"
    yield ""
    if facts.job is None:
        yield "The folder that was exported does not say how it was trained."
        return
    evaluation, job = facts.evaluation, facts.job
    tokens = int(evaluation.get("tokens", job.budget.tokens + job.budget.cooldown_tokens))
    steps = tokens // max(step_tokens(job.spec, job.training), 1)
    epochs = f", {evaluation['epochs']:.2f} epochs" if "epochs" in evaluation else ""
    yield f"{steps:,} steps, {tokens:,} tokens{epochs}; seed {job.seed}, order of data {job.data_seed}."
    if job.tuning is not None:
        yield from _tuning(job.tuning, evaluation.get("tuning", {}))
    environment = evaluation.get("environment")
    if environment:
        packages = ", ".join(f"{name} {version}" for name, version in environment["packages"].items() if version)
        commit = f", commit {environment['commit']}" if environment.get("commit") else ""
        yield f"autonas {environment['autonas']}{commit}, Python {environment['python']}, {packages};"
        yield f"{environment['processor']}, device {environment.get('device', 'cpu')}."


def _tuning(settings: TuningSettings, told: Mapping[str, Any]) -> Iterator[str]:
    """What came behind the training of its base."""
    adapters = f"adapters of rank {settings.rank} beside {', '.join(settings.targets)}, merged"
    how = "all weights" if settings.method == "sft" else adapters
    yield f"Its base had weights {settings.base_weights}. Then tuned: {how},"
    yield f"{told.get('steps', settings.steps):,} steps of {settings.batch_examples} examples, rate {settings.learning_rate:g}"
    if "best_step" in told:
        yield f"(kept: the weights of step {told['best_step']:,}, lowest in validation)"
    examples = told.get("examples")
    if examples:
        yield f"on {examples['training']:,} examples of the file {settings.data_digest}; {examples['validation']:,} set aside."
    yield ""


def _scores(facts: Facts) -> Iterator[str]:
    yield "## Scores"
    yield ""
    scores = facts.evaluation.get("scores", {})
    if not scores:
        yield "It has not been evaluated: `autonas evaluate` does."
        return
    yield "With 95 % intervals, of the trained model in autonas:"
    yield ""
    yield "| score | value | interval | unit | how |"
    yield "|---|---:|---|---|---|"
    for name, values in scores.items():
        score = from_json(Score, values)
        interval = "exact" if score.low == score.high else f"{score.low:.4g} to {score.high:.4g}"
        yield f"| {name} | {score.value:.4g} | {interval} | {score.unit} | {_cell(score.note)} |"


def _alarms(facts: Facts) -> Iterator[str]:
    yield "## Alarms and notes"
    yield ""
    parts = (part.get("result", {}).get("findings", ()) for part in facts.evaluation.get("suite", {}).values())
    found = [*facts.evaluation.get("findings", ()), *(finding for part in parts for finding in part)]
    lines = dict.fromkeys(f"- **{each['severity']}**, {each['check']}: {each['text']}" for each in found)
    if lines:
        yield from lines
    else:
        yield "None of the plausibility checks found anything." if facts.evaluation else "No plausibility check was done."


def _parity(facts: Facts) -> Iterator[str]:
    parity = facts.parity
    yield "## Parity"
    yield ""
    yield f"Checked when it was exported, with {parity.runtime}, on {parity.source}:"
    yield ""
    yield f"- logits of {parity.positions:,} positions in {parity.windows} windows differ by at most"
    yield f"  {parity.largest_difference:.2g} from the trained model's ({parity.tolerance:.2g} is allowed)"
    yield f"- {parity.tokens_compared:,} greedy tokens after {parity.prompts} prompts are identical" + (
        f"; {len(parity.near_ties)} continuations ended in a tie within rounding" if parity.near_ties else ""
    )
    yield f"- {parity.texts} texts are encoded and decoded alike"
    if parity.note:
        yield f"- {parity.note}"
    if facts.int8 is not None:
        yield ""
        yield from _int8(facts.int8)


def _int8(found: Mapping[str, Any]) -> Iterator[str]:
    small, whole, difference = (from_json(Score, found[name]) for name in ("val_loss", "float_val_loss", "difference"))
    yield "## int8"
    yield ""
    yield f"`{found['file']}` has {found['bytes']:,} bytes, {found['bytes'] / found['float_bytes']:.0%} of the float32 file."
    yield f"On the same {found['tokens']:,} validation tokens, with {found['runtime']}, its loss is {small.value:.4f} nats"
    yield f"a token ({small.low:.4f} to {small.high:.4f}), and that of the float32 file {whole.value:.4f}; the difference,"
    yield f"paired by document, is {difference.value:+.5f} ({difference.low:+.5f} to {difference.high:+.5f})."
    if found["left_in_float32"]:
        yield f"Left in float32, since their rows are no whole blocks of 32: {', '.join(found['left_in_float32'])}."
    if found["note"]:
        yield f"The loss was {found['note']}."


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
