"""Commands of runs: what is trained, asked, tuned, served and exported."""

from __future__ import annotations

from autonas.parser.options import (
    Command,
    count,
    drop,
    number,
    port,
    rate,
    study_options,
    times,
)


def add_runs(command: Command) -> None:
    train = command("train", "runs", "train one architecture in full", "autonas train --spec arch.yaml --steps 2000")
    train.add_argument(
        "--spec", metavar="FILE", help="YAML or JSON with the space file's names (default: the space's only one)"
    )
    train.add_argument("--steps", type=count, required=True, metavar="N")
    train.add_argument("--space", default="quickstart.yaml", metavar="FILE", help="the recipe for corpus, tokenizer, training")
    train.add_argument("--out", metavar="RUN", help="the run's folder (default: trials/run-<fingerprint>)")
    train.add_argument("--seed", type=int, default=0, metavar="S")
    train.add_argument("--device", default="auto", metavar="auto|cpu|cuda")
    train.add_argument("--threads", type=count, metavar="N")
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
    evaluate.add_argument("--threads", type=count, metavar="N", help="default: as the run was trained with")
    evaluate.add_argument("--json", action="store_true", help="print evaluation.json")
    evaluate.set_defaults(resume_hint=lambda options: "the same command: parts that have ended are not done again")

    generate = command("generate", "runs", "write code with a trained model", "autonas generate RUN --prompt 'def add(a, b):'")
    generate.add_argument("model", metavar="RUN", help="a run's folder, or STUDY:TRIAL for a trial on a study's front")
    generate.add_argument("--prompt", required=True, metavar="TEXT", help="- reads it from standard input")
    generate.add_argument("--temperature", type=float, default=0.7, metavar="T", help="0 is greedy")
    generate.add_argument("--top-k", type=count, default=40, metavar="K")
    generate.add_argument("--top-p", type=float, metavar="P", help="of these, the likeliest that together reach P")
    generate.add_argument("--repetition-penalty", type=float, default=1.0, metavar="R", help="1 is none, 1.2 a usual one")
    generate.add_argument(
        "--stop", action="append", default=[], metavar="TEXT", help=r"end before it; \n and \t are read; repeatable"
    )
    generate.add_argument("--max-tokens", type=count, default=120, metavar="N")
    generate.add_argument("--seed", type=int, default=0, metavar="S")
    generate.add_argument("--device", default="auto", metavar="auto|cpu|cuda")
    generate.add_argument("--json", action="store_true", help="print prompt and completion as JSON, not streamed")
    study_options(generate)

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
    teach.add_argument("--texts", type=count, default=1000, metavar="N", help="how many are begun (1,000)")
    teach.add_argument("--max-tokens", type=count, default=120, metavar="N", help="that each is gone on with (120)")
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
        ("--threads", count, "threads while timing"),
        ("--batch", count, "sequences at once"),
        ("--context", count, "tokens in the KV cache while a token is timed"),
    ):
        latency.add_argument(name, type=kind, metavar=name[2].upper(), help=text)
    latency.add_argument("--json", action="store_true", help="print JSON; it serves as `latency: {table: FILE}` elsewhere")


def add_tuning(command: Command) -> None:
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
    finetune.add_argument("--epochs", type=times, metavar="E", help="passes over the examples at most (default: 20)")
    finetune.add_argument("--steps", type=count, metavar="N", help="optimiser steps at most, instead of --epochs")
    finetune.add_argument(
        "--rate",
        type=rate,
        metavar="R",
        help="the learning rate, with 2 layers of width 128 (default: 3e-4 of sft, 2e-3 of lora)",
    )
    finetune.add_argument("--batch", type=count, default=8, metavar="N", help="examples of a step (default: 8)")
    finetune.add_argument("--rank", type=count, default=16, metavar="R", help="lora: of every adapter (default: 16)")
    finetune.add_argument(
        "--alpha", type=rate, default=32.0, metavar="A", help="lora: adapters count alpha / rank (default: 32)"
    )
    finetune.add_argument("--dropout", type=drop, default=0.05, metavar="P", help="lora: of what they read (default: 0.05)")
    finetune.add_argument(
        "--targets", default="qkv,out,up,down", metavar="A,B", help="lora: linear layers (default: qkv,out,up,down)"
    )
    finetune.add_argument(
        "--validation-share", type=float, default=0.1, metavar="S", help="of the examples; 0 is none (default: 0.1)"
    )
    finetune.add_argument(
        "--patience", type=number, default=3, metavar="N", help="evaluations without a gain before it ends (3); 0: never early"
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
    finetune.add_argument("--threads", type=count, metavar="N")
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
    tasks.add_argument("--count", type=count, metavar="N", help="functions, templates: at most so many (templates: 800)")
    tasks.add_argument("--held-out", metavar="FILE", help="templates: write tasks that are not among them, as HumanEval's")
    tasks.add_argument("--seed", type=int, default=0, metavar="S", help="templates: which are held out")


def add_serving(command: Command) -> None:
    serve = command("serve", "serving", "answer OpenAI's completions API with trained models", "autonas serve --run RUN")
    serve.add_argument(
        "--run", action="append", required=True, metavar="RUN", help="a run's folder, or NAME=RUN; repeatable: a model for each"
    )
    serve.add_argument("--host", default="127.0.0.1", metavar="H", help="an address of this machine (default: 127.0.0.1)")
    serve.add_argument("--port", type=port, default=8400, metavar="N", help="default: 8400; 0: any that is free")
    serve.add_argument(
        "--token-file", metavar="FILE", help="holds the token (default: $AUTONAS_TOKEN, else a new one is shown)"
    )
    serve.add_argument("--device", default="auto", metavar="auto|cpu|cuda")
    serve.add_argument("--threads", type=count, metavar="N", help="CPU cores that models are computed on (default: 1)")


def add_export(command: Command) -> None:
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
