"""What can be asked on the command line: every command with its options. Calls nothing."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable
from typing import NoReturn

import autonas
from autonas.bench import BENCHES
from autonas.commands import WRONG_REQUEST, engine_settings
from autonas.engine.choice import ENGINES


class _Parser(argparse.ArgumentParser):
    """Complains in one message, as every wrong request does."""

    def error(self, message: str) -> NoReturn:
        print(f"autonas: {message}. See `{self.prog} --help`.", file=sys.stderr)
        sys.exit(WRONG_REQUEST)


def make_parser() -> argparse.ArgumentParser:
    """The parser of `autonas`. Parsed options hold `home`, a module of commands/, and `command`, its function.

    A command that can be gone on with after an interruption has `resume_hint`, which makes the text that says how.
    """
    parser = _Parser(prog="autonas", description="Multi-objective neural architecture search for small code language models.")
    parser.add_argument("--version", action="version", version=f"autonas {autonas.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", parser_class=_Parser)

    def command(name: str, home: str, text: str, example: str) -> argparse.ArgumentParser:
        sub: argparse.ArgumentParser = commands.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog=f"example:  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(command=name, home=home)
        return sub

    _add_search(command)
    _add_reading(command)
    _add_promote(command)
    _add_runs(command)
    _add_tuning(command)
    _add_serving(command)
    _add_export(command)
    _add_data(command)
    _add_bench(command)
    return parser


Command = Callable[..., argparse.ArgumentParser]


def _add_search(command: Command) -> None:
    search = command("search", "search", "search a space for its Pareto front", "autonas search --space quickstart.yaml")
    _recipe_options(search)
    search.add_argument("--study", metavar="NAME", help="the study's name (default: the space's)")
    search.add_argument("--trials", type=_count, metavar="N", help="trials that begin training")
    search.add_argument("--max-hours", type=_hours, metavar="H", help="stop beginning trials in time for an end after H hours")
    _engine_options(search)
    search.add_argument("--sampler", metavar="NAME", help="autonas (default), tpe, nsgaii, gp or random")
    search.add_argument(
        "--warm-start",
        action="append",
        default=[],
        metavar="STUDY",
        help="begin with the front of an earlier study, and learn from its scores; or the file of an architecture; repeatable",
    )
    search.add_argument("--resume", action="store_true", help="go on with a study that exists")
    search.add_argument("--retry-failed", action="store_true", help="with --resume: try again what has failed")
    search.add_argument("--no-promote", action="store_true", help="start no full run at the end, whatever the space file says")
    search.add_argument("--json", action="store_true", help="print the front as JSON at the end")
    search.add_argument("--quiet", action="store_true", help="no progress")
    _study_options(search)
    search.set_defaults(resume_hint=_search_again)

    plan = command("plan", "plan", "say what a search would cost, before it is begun", "autonas plan --space code_lm.yaml")
    _recipe_options(plan)
    plan.add_argument("--trials", type=_count, metavar="N")
    plan.add_argument("--max-hours", type=_hours, metavar="H")
    plan.add_argument("--spec", metavar="FILE", help="plan one full run of this architecture instead, with --steps")
    plan.add_argument("--steps", type=_count, metavar="N", help="optimiser steps of that run")
    _engine_options(plan)
    plan.add_argument("--json", action="store_true", help="print JSON")


def _add_reading(command: Command) -> None:
    status = command("status", "studies", "say what a study, or every study, has done so far", "autonas status quickstart")
    status.add_argument("study", nargs="?", metavar="STUDY", help="or a run's folder; all studies here when left out")
    front = command("front", "studies", "print the Pareto front of a study", "autonas front quickstart --json")
    front.add_argument("study", metavar="STUDY")
    report = command("report", "studies", "write a study's report, or a run's page, one HTML file", "autonas report quickstart")
    report.add_argument("study", metavar="STUDY", help="or a run's folder, also while it is trained")
    report.add_argument("--out", dest="file", metavar="FILE", help="default: reports/STUDY.html, or RUN/evaluation.html")
    cancel = command("cancel", "studies", "stop a study, wherever it runs", "autonas cancel quickstart")
    cancel.add_argument("study", metavar="STUDY")
    clean = command("clean", "studies", "free checkpoints that nothing needs", "autonas clean quickstart")
    clean.add_argument("study", nargs="?", metavar="STUDY", help="all studies here when left out")
    dashboard = command(
        "dashboard", "dashboard", "show studies in Optuna Dashboard, for looking", "autonas dashboard quickstart"
    )
    dashboard.add_argument("study", nargs="?", metavar="STUDY", help="all studies here when left out")
    dashboard.add_argument(
        "--host", default="127.0.0.1", metavar="H", help="an address of this machine alone (default: 127.0.0.1)"
    )
    dashboard.add_argument("--port", type=_port, default=8080, metavar="N", help="default: 8080; 0: any that is free")
    dashboard.add_argument("--open", action="store_true", help="open it in a browser")
    for sub in (status, front, report, clean, cancel, dashboard):
        _study_options(sub, out_name="--trials-dir" if sub is report else "--out")
    for sub in (status, front):
        sub.add_argument("--json", action="store_true", help="print JSON")


def _add_promote(command: Command) -> None:
    promote = command(
        "promote", "promotion", "train the winner of a study in full", "autonas promote quickstart --limit params=1M"
    )
    promote.add_argument("study", metavar="STUDY")
    promote.add_argument("--trial", type=_number, metavar="N", help="this trial of the front")
    promote.add_argument("--select", metavar="NAME", help="knee, or the objective that the trial is to be best in")
    promote.add_argument("--limit", action="append", metavar="K=V", help="a score's upper bound, such as params=1M; repeatable")
    promote.add_argument("--weight", action="append", metavar="K=V", help="an objective's weight in the knee (1); repeatable")
    promote.add_argument("--steps", type=_count, metavar="N", help="optimiser steps (default: the recipe's, or 50,000)")
    promote.add_argument("--out", dest="run", metavar="RUN", help="the run's folder (default: in the study's, runs/)")
    again = promote.add_mutually_exclusive_group()
    again.add_argument(
        "--retest", type=_count, metavar="K", help="train the best K again before one is picked (default: the recipe's, or 3)"
    )
    again.add_argument(
        "--no-retest",
        action="store_const",
        const=0,
        dest="retest",
        help="promote the best as measured; nobody takes its place",
    )
    promote.add_argument(
        "--retest-seeds", type=_count, metavar="S", help="new trainings of each of them (default: the recipe's, or 2)"
    )
    promote.add_argument(
        "--no-succession", action="store_true", help="nobody takes the place of a run that diverges or collapses"
    )
    _engine_options(promote)
    promote.add_argument("--resume", action="store_true", help="go on with the run that was interrupted")
    promote.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    promote.add_argument("--json", action="store_true", help="print the evaluation (or what would be done) as JSON")
    _study_options(promote, out_name="--trials-dir")
    promote.set_defaults(resume_hint=_promote_again)


def _add_runs(command: Command) -> None:
    train = command("train", "runs", "train one architecture in full", "autonas train --spec arch.yaml --steps 2000")
    train.add_argument(
        "--spec", metavar="FILE", help="YAML or JSON with the space file's names (default: the space's only one)"
    )
    train.add_argument("--steps", type=_count, required=True, metavar="N")
    train.add_argument("--space", default="quickstart.yaml", metavar="FILE", help="the recipe for corpus, tokenizer, training")
    train.add_argument("--out", metavar="RUN", help="the run's folder (default: trials/run-<fingerprint>)")
    train.add_argument("--seed", type=int, default=0, metavar="S")
    train.add_argument("--device", default="auto", metavar="auto|cpu|cuda")
    train.add_argument("--threads", type=_count, metavar="N")
    train.add_argument("--resume", action="store_true", help="go on with a run that exists")
    train.add_argument("--json", action="store_true", help="print the evaluation as JSON")
    train.set_defaults(resume_hint=lambda options: "the same command with --resume")

    evaluate = command("evaluate", "evaluation", "ask everything of a finished run", "autonas evaluate RUN --against OTHER")
    evaluate.add_argument("run", metavar="RUN", help="a run's folder")
    evaluate.add_argument("--against", metavar="RUN", help="compare with this run, which has been evaluated")
    evaluate.add_argument("--only", action="append", metavar="PART", help="this part alone; repeatable")
    evaluate.add_argument("--again", action="store_true", help="also what has been evaluated before")
    evaluate.add_argument(
        "--tasks",
        action="append",
        metavar="SOURCE",
        help="builtin (default), a file of HumanEval or MBPP, or a hub name; repeatable",
    )
    evaluate.add_argument("--space", metavar="FILE", help="the run's recipe, where its data set is not on this machine")
    evaluate.add_argument("--device", default="auto", metavar="auto|cpu|cuda")
    evaluate.add_argument("--threads", type=_count, metavar="N", help="default: as the run was trained with")
    evaluate.add_argument("--json", action="store_true", help="print evaluation.json")
    evaluate.set_defaults(resume_hint=lambda options: "the same command: parts that have ended are not done again")

    generate = command("generate", "runs", "write code with a trained model", "autonas generate RUN --prompt 'def add(a, b):'")
    generate.add_argument("model", metavar="RUN", help="a run's folder, or STUDY:TRIAL for a trial on a study's front")
    generate.add_argument("--prompt", required=True, metavar="TEXT", help="- reads it from standard input")
    generate.add_argument("--temperature", type=float, default=0.7, metavar="T", help="0 is greedy")
    generate.add_argument("--top-k", type=_count, default=40, metavar="K")
    generate.add_argument("--top-p", type=float, metavar="P", help="of these, the likeliest that together reach P")
    generate.add_argument("--repetition-penalty", type=float, default=1.0, metavar="R", help="1 is none, 1.2 a usual one")
    generate.add_argument(
        "--stop", action="append", default=[], metavar="TEXT", help=r"end before it; \n and \t are read; repeatable"
    )
    generate.add_argument("--max-tokens", type=_count, default=120, metavar="N")
    generate.add_argument("--seed", type=int, default=0, metavar="S")
    generate.add_argument("--device", default="auto", metavar="auto|cpu|cuda")
    generate.add_argument("--json", action="store_true", help="print prompt and completion as JSON, not streamed")
    _study_options(generate)

    teach = command(
        "teach",
        "data",
        "let a model write texts for another to learn from",
        "autonas teach RUN --space code_lm.yaml --out texts.jsonl",
    )
    teach.add_argument(
        "model", metavar="MODEL", help="a run's folder, or a causal model of Hugging Face: a folder or a hub name"
    )
    teach.add_argument("--space", required=True, metavar="FILE", help="the recipe whose training split the texts begin with")
    teach.add_argument("--out", required=True, metavar="FILE", help="JSON Lines, for `curriculum: {texts: {NAME: FILE}}`")
    teach.add_argument("--texts", type=_count, default=1000, metavar="N", help="how many are begun (1,000)")
    teach.add_argument("--max-tokens", type=_count, default=120, metavar="N", help="that each is gone on with (120)")
    teach.add_argument("--temperature", type=float, default=0.8, metavar="T", help="0 is greedy")
    teach.add_argument("--seed", type=int, default=0, metavar="S")
    teach.add_argument("--device", default="auto", metavar="auto|cpu|cuda")
    teach.add_argument("--json", action="store_true", help="print what was written as JSON")

    latency = command("latency", "runs", "time an architecture on this machine", "autonas latency --spec arch.yaml --json")
    latency.add_argument("--spec", required=True, metavar="FILE")
    latency.add_argument("--space", metavar="FILE", help="take the latency section of this recipe")
    for name, kind, text in (
        ("--device", str, "auto, cpu, cuda"),
        ("--dtype", str, "auto, float32, bfloat16"),
        ("--threads", _count, "threads while timing"),
        ("--batch", _count, "sequences at once"),
        ("--context", _count, "tokens in the KV cache while a token is timed"),
    ):
        latency.add_argument(name, type=kind, metavar=name[2].upper(), help=text)
    latency.add_argument("--json", action="store_true", help="print JSON; it serves as `latency: {table: FILE}` elsewhere")


def _add_tuning(command: Command) -> None:
    finetune = command(
        "finetune",
        "tuning",
        "tune a trained model on prompts and solutions",
        "autonas finetune RUN --data tasks.jsonl --method lora",
    )
    finetune.add_argument("run", metavar="RUN", help="a finished run's folder")
    finetune.add_argument("--data", required=True, metavar="FILE", help='JSON Lines of {"id", "prompt", "solution"}')
    finetune.add_argument("--method", required=True, metavar="sft|lora", help="every weight, or adapters beside them")
    finetune.add_argument("--out", metavar="RUN", help="the tuned run's folder (default: the run's name and the method)")
    finetune.add_argument("--epochs", type=_times, metavar="E", help="passes over the examples at most (default: 20)")
    finetune.add_argument("--steps", type=_count, metavar="N", help="optimiser steps at most, instead of --epochs")
    finetune.add_argument("--rate", type=_rate, metavar="R", help="the learning rate (default: 3e-4 of sft, 5e-3 of lora)")
    finetune.add_argument("--batch", type=_count, default=8, metavar="N", help="examples of a step (default: 8)")
    finetune.add_argument("--rank", type=_count, default=8, metavar="R", help="lora: of every adapter (default: 8)")
    finetune.add_argument(
        "--alpha", type=_rate, default=16.0, metavar="A", help="lora: adapters count alpha / rank (default: 16)"
    )
    finetune.add_argument("--dropout", type=_drop, default=0.05, metavar="P", help="lora: of what they read (default: 0.05)")
    finetune.add_argument("--targets", default="qkv,out", metavar="A,B", help="lora: of qkv, out, up, down (default: qkv,out)")
    finetune.add_argument(
        "--validation-share", type=float, default=0.1, metavar="S", help="of the examples; 0 is none (default: 0.1)"
    )
    finetune.add_argument(
        "--patience", type=_number, default=3, metavar="N", help="evaluations without a gain before it ends (3); 0: never early"
    )
    finetune.add_argument(
        "--tasks",
        action="append",
        default=[],
        metavar="SOURCE",
        help="coding tasks that no example may give away, beside the shipped ones; repeatable",
    )
    finetune.add_argument(
        "--allow-contamination", action="store_true", help="tune although examples give tasks away, and say so"
    )
    finetune.add_argument("--space", metavar="FILE", help="the run's recipe, where its data set is not on this machine")
    finetune.add_argument("--seed", type=int, default=0, metavar="S")
    finetune.add_argument("--device", default="auto", metavar="auto|cpu|cuda")
    finetune.add_argument("--threads", type=_count, metavar="N")
    finetune.add_argument("--resume", action="store_true", help="go on with a tuning that was interrupted")
    finetune.add_argument("--json", action="store_true", help="print the evaluation as JSON")
    finetune.set_defaults(resume_hint=lambda options: "the same command with --resume")

    tasks = command(
        "tasks",
        "tuning",
        "write files of prompts and solutions to tune on",
        "autonas tasks convert mbpp.jsonl --out tasks.jsonl",
    )
    tasks.add_argument(
        "action",
        choices=("convert", "functions", "templates"),
        help="convert HumanEval or MBPP; functions with docstrings of a recipe's corpus; small templated tasks",
    )
    tasks.add_argument("source", nargs="?", metavar="FILE", help="convert: a file of HumanEval or MBPP, or a hub name")
    tasks.add_argument("--out", required=True, metavar="FILE", help="where the examples are written, as JSON Lines")
    tasks.add_argument("--space", metavar="FILE", help="functions: the recipe whose training split is read")
    tasks.add_argument("--count", type=_count, metavar="N", help="functions, templates: at most so many (templates: 800)")
    tasks.add_argument("--held-out", metavar="FILE", help="templates: write tasks that are not among them, as HumanEval's")
    tasks.add_argument("--seed", type=int, default=0, metavar="S", help="templates: which are held out")


def _add_serving(command: Command) -> None:
    serve = command("serve", "serving", "answer OpenAI's completions API with trained models", "autonas serve --run RUN")
    serve.add_argument(
        "--run", action="append", required=True, metavar="RUN", help="a run's folder, or NAME=RUN; repeatable: a model for each"
    )
    serve.add_argument("--host", default="127.0.0.1", metavar="H", help="an address of this machine (default: 127.0.0.1)")
    serve.add_argument("--port", type=_port, default=8400, metavar="N", help="default: 8400; 0: any that is free")
    serve.add_argument(
        "--token-file", metavar="FILE", help="holds the token (default: $AUTONAS_TOKEN, else a new one is shown)"
    )
    serve.add_argument("--device", default="auto", metavar="auto|cpu|cuda")
    serve.add_argument("--threads", type=_count, metavar="N", help="CPU cores that models are computed on (default: 1)")


def _add_export(command: Command) -> None:
    export = command("export", "exporting", "write a run as other tools load it", "autonas export RUN --format hf --out DIR")
    export.add_argument("run", metavar="RUN", help="a finished run's folder")
    export.add_argument(
        "--format",
        action="append",
        required=True,
        metavar="safetensors|hf|onnx|gguf|all",
        help="repeatable, or several with commas between: each then has a folder of its name in DIR",
    )
    export.add_argument("--out", required=True, metavar="DIR", help="a new folder")
    export.add_argument("--int8", action="store_true", help="also quantised weights, for onnx and gguf, and their loss")
    export.add_argument("--json", action="store_true", help="print parity.json of each")


def _add_data(command: Command) -> None:
    corpus = command(
        "corpus",
        "data",
        "build a recipe's corpus and say what was kept, or what is in it",
        "autonas corpus inspect --space quickstart.yaml",
    )
    corpus.add_argument(
        "action",
        nargs="?",
        choices=("build", "inspect"),
        default="build",
        help="build (default), or inspect: its tokens, sources, duplicates and repetitions in figures",
    )
    corpus.add_argument("--space", required=True, metavar="FILE")
    corpus.add_argument("--run", metavar="RUN", help="inspect: loss by token class of this finished run as well")
    corpus.add_argument("--verify", action="store_true", help="compare every file with its checksum")
    corpus.add_argument("--json", action="store_true", help="print JSON")
    tokenizer = command("tokenizer", "data", "train or check a tokenizer", "autonas tokenizer check tokenizer.json")
    tokenizer.add_argument("action", choices=("train", "check", "encode"))
    tokenizer.add_argument("file", metavar="TOKENIZER", help="a tokenizer.json")
    tokenizer.add_argument("--space", metavar="FILE", help="train: the recipe whose corpus is used")
    tokenizer.add_argument("--vocab-size", type=_count, metavar="N", help="train: entries (default: the recipe's)")
    tokenizer.add_argument("--text", metavar="TEXT", help="encode: the text (default: standard input)")
    tokenizer.add_argument("--json", action="store_true", help="print JSON")


def _add_bench(command: Command) -> None:
    bench = command("bench", "bench", "measure autonas itself on this machine", "autonas bench train --shape small --json")
    bench.add_argument("name", choices=tuple(BENCHES), metavar="NAME", help="; ".join(f"{n}: {t}" for n, t in BENCHES.items()))
    bench.add_argument("--json", action="store_true", help="print JSON")
    # None where nothing was said: an option that a bench has no use for is refused, and each has its own default.
    bench.add_argument(
        "--seconds", type=_seconds, metavar="S", help="overhead: length of a trial (30); train, lora, decode: each (10)"
    )
    bench.add_argument("--trials-per-worker", type=_count, metavar="N", help="overhead: how many (default: 4)")
    bench.add_argument(
        "--shape", metavar="NAME", help="train, lora, decode: tiny, small (default), medium or large, the 29 M model"
    )
    bench.add_argument(
        "--peers", metavar="A,B", help="train: hf, hf-tuned, loop, llama, nanogpt; lora: loop, trainer; decode: hf, hf-static"
    )
    bench.add_argument("--peer-dir", metavar="DIR", help="train, gpu: a checkout of nanoGPT")
    bench.add_argument(
        "--no-compile-peers", action="store_true", default=None, help="train, decode, startup: spare the minutes"
    )
    bench.add_argument("--peer-compile-mode", metavar="MODE", help="train: torch.compile's mode for peers")
    bench.add_argument("--batch-tokens", type=_count, metavar="N", help="train, startup: tokens of a step")
    bench.add_argument("--context", type=_count, metavar="N", help="train, latency: tokens that are attended to (default: 256)")
    bench.add_argument("--smoothing", type=float, metavar="E", help="train: label smoothing, of peers that can (default: 0)")
    bench.add_argument(
        "--dropout", type=float, metavar="P", help="train: dropout, of peers that can (0); lora: of the adapters (.05)"
    )
    bench.add_argument("--batch", type=_count, metavar="N", help="lora: examples of a step (default: 8)")
    bench.add_argument("--archs", type=_count, metavar="N", help="latency: architectures (30); startup: architectures (12)")
    bench.add_argument("--processes", type=_count, metavar="N", help="latency: fresh processes (default: 5)")
    bench.add_argument(
        "--seed", type=int, metavar="S", help="latency, startup: of the architectures (default: 0); ledger, table: of the study"
    )
    bench.add_argument(
        "--trials",
        type=_count,
        metavar="N",
        help="ledger: of the study (1000); studies, table: as the space file says; search: full trainings' worth (128)",
    )
    bench.add_argument("--sampler", metavar="NAME", help="ledger: the study's (default: that of a search)")
    bench.add_argument(
        "--space",
        metavar="FILE",
        help="table: of the decoders (curves.yaml); studies: what is searched (quickstart.yaml); claims: sizes and data",
    )
    bench.add_argument(
        "--study", metavar="NAME", help="table: the study's name; alone, one that is there is written; search: replay this"
    )
    bench.add_argument(
        "--out", metavar="DIR", help="studies, table, search, claims, optimizers: where they are kept (default: trials)"
    )
    bench.add_argument("--table-out", metavar="DIR", help="table: where it is written (default: in the study's folder, table/)")
    bench.add_argument("--resume", action="store_true", default=None, help="table: go on with its study")
    bench.add_argument("--sentinels", type=_count, metavar="N", help="table: train so many of its decoders much longer")
    bench.add_argument("--factor", type=_times, metavar="F", help="table: so many times as long as its last rung (default: 10)")
    bench.add_argument("--table", metavar="CSV", help="search: finished trials, a line each")
    bench.add_argument("--table-spec", metavar="YAML", help="search: what the columns of the table are")
    bench.add_argument("--samplers", metavar="A,B", help="search, studies: the first is compared with the others")
    bench.add_argument(
        "--seeds",
        type=_count,
        metavar="N",
        help="search, studies: runs of each sampler (default: 5); claims: of every model (6)",
    )
    bench.add_argument("--per-sampler", metavar="A=5x64,…", help="search: seeds x trials of some samplers, for slow ones")
    bench.add_argument("--hide-cheap", action="store_true", default=None, help="search: nothing is known of untried candidates")
    bench.add_argument("--cache", metavar="DIR", help="search: where replays of peers are kept")
    bench.add_argument("--jobs", type=_count, metavar="N", help="search: processes that replay side by side (default: 1)")
    bench.add_argument("--plot", metavar="FILE", help="search: draw the curves to this .svg, .png or .pdf")
    _engine_options(bench)


def _recipe_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--space", required=True, metavar="FILE", help="a space file, or the bare name of a shipped one")
    parser.add_argument("--seed", type=int, metavar="S")


def _engine_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--engine", choices=ENGINES, default="ray", help="Ray workers (default), or this process alone")
    parser.add_argument(
        "--ray-address",
        metavar="A",
        help="a running cluster (default: $RAY_ADDRESS, or this machine)",
    )
    parser.add_argument("--workers", type=_count, metavar="N", help="jobs at once (default: as many as fit)")
    parser.add_argument("--device", default="auto", metavar="auto|cpu|cuda", help="what models are trained on")
    parser.add_argument("--threads", type=_count, metavar="N", help="CPU cores of each worker (default: 1)")
    parser.add_argument(
        "--gpus-per-worker", type=_share, metavar="G", help="GPUs of each worker, or the part of one (default: 1)"
    )


def _study_options(parser: argparse.ArgumentParser, out_name: str = "--out") -> None:
    parser.add_argument(
        "--storage", metavar="URL", default=os.environ.get("AUTONAS_STORAGE") or None, help="an Optuna storage URL"
    )
    parser.add_argument(out_name, dest="out", default="trials", metavar="DIR", help="where studies are kept (default: trials)")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not the number of a trial")
    return int(text)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, a whole number up to 65535")
    return int(text)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not (0 < share <= 1 or (share > 1 and share.is_integer())):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a part of a GPU, such as 0.5, nor a whole number of them")
    return share


def _hours(text: str) -> float:
    return _positive(text, "hours")


def _seconds(text: str) -> float:
    return _positive(text, "seconds")


def _times(text: str) -> float:
    return _positive(text, "times")


def _rate(text: str) -> float:
    return _positive(text, "")


def _drop(text: str) -> float:
    share = float(text) if text.replace(".", "", 1).isdecimal() else -1.0
    if not 0.0 <= share < 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} is no share below 1")
    return share


def _positive(text: str, unit: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 < number < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number{unit and f' of {unit}'}")
    return number


def _promote_again(options: argparse.Namespace) -> str:
    """The command that goes on with an interrupted promotion: of the only one that was, where no folder is given."""
    from autonas.promotion.execution import promote_command

    command = promote_command(
        options.study,
        going_on_with=options.run,
        storage=options.storage,
        trials_dir=options.out,
        engine=engine_settings(options),
    )
    return command if options.run is not None else f"{command} --resume"


def _search_again(options: argparse.Namespace) -> str:
    """The command that goes on with an interrupted search; the storage is left out, since its URL may hold a password."""
    parts = ["autonas", "search", "--space", options.space]
    for flag in ("study", "trials", "max_hours", "sampler", "seed", "threads", "workers", "gpus_per_worker", "ray_address"):
        if getattr(options, flag) is not None:
            parts += [f"--{flag.replace('_', '-')}", str(getattr(options, flag))]
    parts += ["--out", options.out] if options.out != "trials" else []
    parts += ["--device", options.device] if options.device != "auto" else []
    parts += ["--engine", options.engine] if options.engine != "ray" else []
    parts += ["--no-promote"] if options.no_promote else []
    # An embedded study that was interrupted before its ledger was written has nothing to go on with.
    folder = getattr(options, "folder", None)  # known once the space file has been read
    begun = folder is not None and (options.storage is not None or any(folder.glob("*.journal")))
    return shlex.join(parts) + (" --storage URL" if options.storage else "") + (" --resume" if begun else "")
