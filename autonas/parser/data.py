"""Commands of data, and of benches."""

from __future__ import annotations

from autonas.bench import BENCHES
from autonas.parser.options import (
    Command,
    count,
    engine_options,
    seconds,
    times,
)


def add_data(command: Command) -> None:
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
    tokenizer.add_argument("--vocab-size", type=count, metavar="N", help="train: entries (default: the recipe's)")
    tokenizer.add_argument("--text", metavar="TEXT", help="encode: the text (default: standard input)")
    tokenizer.add_argument("--json", action="store_true", help="print JSON")


def add_bench(command: Command) -> None:
    bench = command("bench", "bench", "measure autonas itself on this machine", "autonas bench train --shape small --json")
    bench.add_argument("name", choices=tuple(BENCHES), metavar="NAME", help="; ".join(f"{n}: {t}" for n, t in BENCHES.items()))
    bench.add_argument("--json", action="store_true", help="print JSON")
    # None where nothing was said: an option that a bench has no use for is refused, and each has its own default.
    bench.add_argument(
        "--seconds", type=seconds, metavar="S", help="overhead: length of a trial (30); train, lora, decode: each (10)"
    )
    bench.add_argument("--trials-per-worker", type=count, metavar="N", help="overhead: how many (default: 4)")
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
    bench.add_argument("--batch-tokens", type=count, metavar="N", help="train, startup: tokens of a step")
    bench.add_argument("--context", type=count, metavar="N", help="train, latency: tokens that are attended to (default: 256)")
    bench.add_argument("--smoothing", type=float, metavar="E", help="train: label smoothing, of peers that can (default: 0)")
    bench.add_argument(
        "--dropout", type=float, metavar="P", help="train: dropout, of peers that can (0); lora: of the adapters (.05)"
    )
    bench.add_argument("--batch", type=count, metavar="N", help="lora: examples of a step (default: 8)")
    bench.add_argument("--archs", type=count, metavar="N", help="latency: architectures (30); startup: architectures (12)")
    bench.add_argument("--processes", type=count, metavar="N", help="latency: fresh processes (default: 5)")
    bench.add_argument(
        "--seed", type=int, metavar="S", help="latency, startup: of the architectures (default: 0); ledger, table: of the study"
    )
    bench.add_argument(
        "--trials",
        type=count,
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
    bench.add_argument("--sentinels", type=count, metavar="N", help="table: train so many of its decoders much longer")
    bench.add_argument("--factor", type=times, metavar="F", help="table: so many times as long as its last rung (default: 10)")
    bench.add_argument("--table", metavar="CSV", help="search: finished trials, a line each")
    bench.add_argument("--table-spec", metavar="YAML", help="search: what the columns of the table are")
    bench.add_argument("--samplers", metavar="A,B", help="search, studies: the first is compared with the others")
    bench.add_argument(
        "--seeds",
        type=count,
        metavar="N",
        help="search, studies: runs of each sampler (default: 5); claims: of every model (6)",
    )
    bench.add_argument("--per-sampler", metavar="A=5x64,…", help="search: seeds x trials of some samplers, for slow ones")
    bench.add_argument("--hide-cheap", action="store_true", default=None, help="search: nothing is known of untried candidates")
    bench.add_argument("--cache", metavar="DIR", help="search: where replays of peers are kept")
    bench.add_argument("--jobs", type=count, metavar="N", help="search: processes that replay side by side (default: 1)")
    bench.add_argument("--plot", metavar="FILE", help="search: draw the curves to this .svg, .png or .pdf")
    engine_options(bench)
