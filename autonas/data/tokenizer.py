"""Text to token ids and back, without loss: byte-level BPE, trained here or brought by the user. The home of `tokenizers`.

Which texts it is trained on, and where its file is kept, is decided in `dataset.py`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import tokenizers

from autonas.data.cache import write_file
from autonas.data.records import check_vocab_size
from autonas.errors import CorpusError, TokenizerError

END_OF_TEXT = "<|endoftext|>"
# In the order in which they are looked for in a tokenizer that was brought along.
_END_OF_TEXT_NAMES = (END_OF_TEXT, "<|end_of_text|>", "<|end▁of▁sentence|>", "</s>", "<eos>", "[EOS]", "<|eos|>", "<|im_end|>")
_PARALLELISM = "TOKENIZERS_PARALLELISM"
_USERS_CHOICE = os.environ.get(_PARALLELISM)
_PROCESS = os.getpid()  # a forked child has another, and none of this one's threads
# Among them every byte that UTF-8 can hold: a byte-level vocabulary with a gap drops bytes without a word.
_PROBES = (
    "def add(a: int, b: int = 2) -> int:\n    return a + b\n",
    "\tif (x != 0)\r\n\t{ y[i] <<= 3; }  // C\r",
    "  two leading spaces, trailing ones too   ",
    "",
    " ",
    "\n\n\n    \n",
    "Don't WE'LL it's 3.14e-10 0xDEAD_BEEF 1234567890",
    "Grüße, 你好, здравствуйте, 🦊👩‍👩‍👧, e\u0301 é ﬁ ½ Å Å",
    "".join(
        map(chr, (*range(256), *range(0x100, 0x800, 0x40), *range(0x800, 0xD800, 0x800), *range(0xE000, 0x10FFFF, 0x2000)))
    ),
    "\ufeff\u200b\u00a0\u2028\u3000\U0010ffff\ufffd",
    "=" * 80 + "#" * 40 + " " * 70 + "x",
    *_END_OF_TEXT_NAMES,
    f"print('{END_OF_TEXT}')<pad><unk><s>[CLS][MASK]",
)


class Tokenizer:
    """A tokenizer whose `decode(encode(text))` is `text` for every text.

    Text that spells a special token, such as "<|endoftext|>" in this file, is encoded as ordinary text: the id `end_of_text`
    comes only from whoever puts it there.
    """

    def __init__(self, backend: tokenizers.Tokenizer, end_of_text: int) -> None:
        self._backend = backend
        self.end_of_text = end_of_text
        self.vocab_size: int = max(backend.get_vocab(with_added_tokens=True).values()) + 1
        canonical = json.dumps(json.loads(backend.to_str()), sort_keys=True)
        self.fingerprint = hashlib.sha256(canonical.encode()).hexdigest()[:16]

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int) -> Tokenizer:
        """Byte-level BPE with the GPT-2 pre-tokenizer; pairs seen once are not merged. Same texts, same tokenizer.

        Raises:
            TokenizerError: `vocab_size` is below 257.
            CorpusError: the texts have too few different words for so many entries.
        """
        check_vocab_size(vocab_size)
        backend = tokenizers.Tokenizer(tokenizers.models.BPE())
        backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        backend.decoder = tokenizers.decoders.ByteLevel()
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=vocab_size,
            min_frequency=2,
            special_tokens=[END_OF_TEXT],
            initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        with _parallel():
            backend.train_from_iterator(texts, trainer)
        learned: int = backend.get_vocab_size()
        if learned < vocab_size:
            raise CorpusError(
                f"tokenizer.vocab_size is {vocab_size:,}, but the train split has pairs for only {learned:,} entries; "
                f"ask for at most {learned:,}, or give a larger corpus"
            )
        return cls._from_backend(backend, "the trained tokenizer")

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, check: bool = True) -> Tokenizer:
        """The tokenizer of a `tokenizer.json`, checked for exact round trips unless it is known to have been.

        Raises:
            TokenizerError: missing, unreadable, corrupt, lossy, or without an end-of-text token.
        """
        try:
            content = Path(path).expanduser().read_bytes()
        except (OSError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or error
            place = str(path) if str(path).isprintable() else repr(str(path))
            raise TokenizerError(f"{place}: cannot be read ({reason}); name a tokenizer.json that exists") from error
        tokenizer = cls._from_backend(_parse(content, str(path)), str(path))
        if check:
            tokenizer._check_round_trip(str(path))
        return tokenizer

    @classmethod
    def _from_backend(cls, backend: tokenizers.Tokenizer, place: str) -> Tokenizer:
        # A file may carry the habits of the model it was made for; here every text is encoded in full and alike each time.
        backend.no_truncation()
        backend.no_padding()
        if getattr(backend.model, "dropout", None):
            backend.model.dropout = None
        backend.encode_special_tokens = True
        for name in _END_OF_TEXT_NAMES:
            end_of_text = backend.token_to_id(name)
            if end_of_text is not None:
                return cls(backend, end_of_text)
        raise TokenizerError(f"{place}: no end-of-text token; add one of {', '.join(_END_OF_TEXT_NAMES)} as a special token")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the `tokenizer.json`, replacing what is there in one step.

        Raises:
            ResourceError: no space or no permission.
        """
        write_file(Path(path), self.to_bytes())

    def to_bytes(self) -> bytes:
        """What `save` writes."""
        text: str = self._backend.to_str(pretty=True)
        return text.encode()

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, without end-of-text. Raises TokenizerError when `text` cannot be encoded."""
        with _translated():
            ids: list[int] = self._backend.encode(text, add_special_tokens=False).ids
        return ids

    def encode_prompt(self, prompt: str) -> list[int]:
        """What a model that was tuned on prompts is asked with: end-of-text, and the prompt without white space at its end."""
        return [self.end_of_text, *self.encode(prompt.rstrip())]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` for each text, on all cores."""
        with _translated(), _parallel():
            encodings = self._backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`; special ones are left out, and bytes that are not UTF-8 become U+FFFD."""
        text: str = self._backend.decode(list(ids), skip_special_tokens=True)
        return text

    def describe(self) -> dict[str, Any]:
        """A JSON-ready summary for `autonas tokenizer check`."""
        return {
            "vocab_size": self.vocab_size,
            "end_of_text": self.end_of_text,
            "end_of_text_token": self._backend.id_to_token(self.end_of_text),
            "fingerprint": self.fingerprint,
            "model": type(self._backend.model).__name__,
            "exact_round_trip": True,
        }

    def _check_round_trip(self, place: str) -> None:
        added = [token.content for token in self._backend.get_added_tokens_decoder().values()]
        for probe in (*_PROBES, *added, *(f"a {token} b" for token in added)):
            ids = self.encode(probe)
            back = self.decode(ids)
            if back != probe:
                raise TokenizerError(
                    f"{place}: loses text: {probe[:40]!r} comes back as {back[:40]!r}; "
                    "use a byte-level tokenizer without normalizer, or train one here"
                )
            if self.end_of_text in ids:
                raise TokenizerError(
                    f"{place}: the text {probe[:40]!r} is encoded as end-of-text; mark that token as special in the file"
                )


def _parse(content: bytes, place: str) -> tokenizers.Tokenizer:
    try:
        return tokenizers.Tokenizer.from_str(content.decode())
    # The library raises plain Exception, and PanicException (a BaseException) for what it did not think of.
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
            raise
        reason = str(error)[:200]
        raise TokenizerError(f"{place}: not a usable tokenizer.json ({reason}); make it anew, or train one here") from error


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (UnicodeEncodeError, TypeError) as error:
        raise TokenizerError("the text is not valid Unicode (lone surrogates); give it as UTF-8") from error
    except Exception as error:  # the library raises nothing more precise
        raise TokenizerError(f"the tokenizer cannot encode this text ({error}); use a byte-level one") from error


@contextlib.contextmanager
def _parallel() -> Iterator[None]:
    """All cores while inside, none afterwards and none in a forked child, unless the user has chosen.

    Left unset, the library prints a warning in every process forked after it has used threads; set to true, a forked child
    waits for ever for threads that it does not have.
    """
    if _USERS_CHOICE is not None or os.getpid() != _PROCESS:
        yield
        return
    os.environ[_PARALLELISM] = "true"
    try:
        yield
    finally:
        os.environ[_PARALLELISM] = "false"
