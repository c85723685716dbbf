"""The sections of a space file that say what is trained on: `corpus:` and `tokenizer:`."""

from __future__ import annotations

from autonas.data.records import SMALLEST_VOCABULARY, SOURCE_NAMES, CorpusSettings, HubSettings, TokenizerSettings
from autonas.errors import CorpusError, TokenizerError
from autonas.recipe.fields import LARGEST_SEED, fields_of
from autonas.space.node import Node, Section

_WHERE = ("sources", "paths", "jsonl", "hub")


def read_corpus(root: Section) -> CorpusSettings:
    section = root.child("corpus", fields_of(CorpusSettings))
    sources, paths, jsonl = (section.texts(key) for key in _WHERE[:3])
    hub = _read_hub(section)
    node = section.get("sources")
    for item in () if node is None else (node.items() if isinstance(node.content, tuple) else (node,)):
        item.one_of(SOURCE_NAMES, "source")
    if not (sources or paths or jsonl or hub) and any(section.get(key) for key in _WHERE):
        raise section.node.complaint(
            f"names nothing to read; write {{sources: [{SOURCE_NAMES[0]}]}}, or paths, or jsonl, or hub"
        )
    max_bytes = section.get("max_bytes")
    return CorpusSettings(
        sources=tuple(dict.fromkeys(sources)),
        paths=paths,
        jsonl=jsonl,
        hub=hub,
        validation_share=section.number("validation_share", 0.05, above=0.0, most=0.25),
        test_share=section.number("test_share", 0.05, above=0.0, most=0.25),
        max_bytes=None if max_bytes is None else max_bytes.bytes(),
        seed=section.whole("seed", 0, most=LARGEST_SEED),
    )


def _read_hub(corpus: Section) -> HubSettings | None:
    node = corpus.get("hub")
    if node is None:
        return None
    section = node.section(fields_of(HubSettings))
    section.need("dataset", "write its name, such as owner/name, or the path of its folder")
    most = section.get("max_documents")
    texts = {key: entry.text() for key in fields_of(HubSettings) if key != "max_documents" and (entry := section.get(key))}
    try:
        return HubSettings(**texts, max_documents=None if most is None else most.whole(least=1))
    except CorpusError as error:
        raise node.complaint(str(error).removeprefix("corpus.hub.")) from error


def read_tokenizer(root: Section, at_edge: bool) -> TokenizerSettings:
    section = root.child("tokenizer", fields_of(TokenizerSettings))
    default = TokenizerSettings()
    algorithm = section.one_of("algorithm", default.algorithm, ("bpe",))
    vocab_size = section.whole("vocab_size", default.vocab_size, least=SMALLEST_VOCABULARY, most=2**20)
    file = section.get("file")
    if file is None:
        return TokenizerSettings(algorithm=algorithm, vocab_size=vocab_size)
    if at_edge:
        vocab_size = _vocabulary_of(file, section.get("vocab_size"))
    return TokenizerSettings(algorithm=algorithm, vocab_size=vocab_size, file=file.text())


def _vocabulary_of(file: Node, said: Node | None) -> int:
    from autonas.data.tokenizer import Tokenizer  # its library is not needed for any other space file

    try:
        found = Tokenizer.load(file.text()).vocab_size
    except TokenizerError as error:
        raise TokenizerError(str(file.complaint(str(error)))) from error
    if said is not None and said.whole() != found:
        raise said.complaint(f"is {said.shown}, but the tokenizer of `file` has {found:,} entries; leave vocab_size out")
    return found
