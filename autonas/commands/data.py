"""Commands for data: `corpus` and `tokenizer`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from autonas.commands import OK, note, print_json
from autonas.errors import RequestError


def corpus(options: argparse.Namespace) -> int:
    from autonas.api import read_recipe
    from autonas.data.dataset import prepare

    recipe = read_recipe(options.space)
    dataset = prepare(recipe.corpus, recipe.tokenizer, say=note)
    if options.verify:
        dataset.verify()
    if options.json:
        print_json({"fingerprint": dataset.fingerprint, "folder": str(dataset.folder), "report": dataset.report})
    else:
        print("\n".join(dataset.lines()))
    return OK


def tokenizer(options: argparse.Namespace) -> int:
    from autonas.api import read_recipe
    from autonas.data.dataset import train_tokenizer
    from autonas.data.tokenizer import Tokenizer

    if options.action == "train":
        if options.space is None:
            raise RequestError("autonas tokenizer train needs --space FILE, the recipe whose corpus it is trained on")
        recipe = read_recipe(options.space)
        size = options.vocab_size or recipe.tokenizer.vocab_size
        tokenizer = train_tokenizer(recipe.corpus, size, Path(options.file))
    else:
        tokenizer = Tokenizer.load(options.file)
    if options.action == "encode":
        text = sys.stdin.read() if options.text is None else options.text
        ids = tokenizer.encode(text)
        if options.json:
            print_json({"ids": ids, "num_tokens": len(ids), "num_bytes": len(text.encode())})
        else:
            print(" ".join(map(str, ids)))
        return OK
    facts = tokenizer.describe()
    if options.json:
        print_json(facts)
    else:
        print("\n".join(f"{name:16} {value}" for name, value in facts.items()))
    return OK
