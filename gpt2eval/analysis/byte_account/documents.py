"""The documents of a file of tokens: their text, and whether it gives the same tokens again."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpt2eval.identity import Spelling
from gpt2eval.models.tokenization.tiling import char_ends
from gpt2eval.scoring.encode import encode_texts
from gpt2eval.types import Ids, Model

MARGIN = 64  # tokens at a cut of a document, which the missing text may have changed
AT_ONCE = 1 << 22  # bytes of documents that are encoded together, which bounds memory


class Decoded(NamedTuple):
    """The text of a stream of tokens, and where each token ends in its bytes and characters."""

    raw: bytes
    text: str
    byte_ends: NDArray[np.int64]
    ends: Ids


class Document(NamedTuple):
    """The tokens `first` to `stop` between special tokens; the file may have cut it off."""

    first: int
    stop: int
    is_cut_before: bool
    is_cut_after: bool


class Repeated(NamedTuple):
    """How many documents were encoded again, and the first that gives other tokens, or ""."""

    documents: int
    cut: int
    difference: str

    @property
    def described(self) -> str:
        """How many documents give the same tokens."""
        if self.difference:
            return f"after {self.documents - 1:,} to the same tokens, one encoded again to others"
        cut = f" ({self.cut:,} cut, without the tokens at the cut)" if self.cut else ""
        return f"encoded again to the same tokens: {self.documents:,}{cut}"


def adds_blank(model: Model, known: Mapping[int, Spelling]) -> bool:
    """Return whether a tokenizer puts a blank before every text."""
    pieces = [known[id_].raw for id_ in model.encode("a").ids.tolist() if id_ in known]
    return b"".join(pieces) == b" a"


def documents(ids: Ids, known: Mapping[int, Spelling], *, is_cut: bool) -> list[Document]:
    """Return the documents of a stream; `is_cut` says that the stream goes on after its end.

    A stream without special tokens is one document. In any other, the first document may be the
    rest of one that another file holds.
    """
    specials = np.array([id_ for id_, token in known.items() if token.is_special], np.int64)
    is_special = np.isin(ids, specials)
    bounds = np.flatnonzero(np.diff(np.concatenate([[True], is_special, [True]]).astype(np.int8)))
    pairs = bounds.reshape(-1, 2).tolist()
    has_specials = bool(is_special.any())
    return [
        Document(first, stop, first == 0 and has_specials, stop == len(ids) and is_cut)
        for first, stop in pairs
    ]


def decoded(
    ids: Ids, known: Mapping[int, Spelling], begins: list[Document], *, blank: bool
) -> Decoded:
    """Return the text of tokens: special tokens have none.

    With `blank`, the tokenizer puts a blank before each document, which is no part of its text. So
    does decoding: a blank of the document's own, which gives the same tokens, cannot be told from
    it.
    """
    raws = {id_: b"" if token.is_special else token.raw for id_, token in known.items()}
    pieces = [raws[id_] for id_ in ids.tolist()]
    for document in begins if blank else ():
        pieces[document.first] = pieces[document.first].removeprefix(b" ")
    raw = b"".join(pieces)
    text = raw.decode("utf-8", "surrogateescape")
    byte_ends = np.cumsum([len(piece) for piece in pieces], dtype=np.int64)
    return Decoded(raw, text, byte_ends, char_ends(text, byte_ends))


def repeated(model: Model, ids: Ids, stream: Decoded, found: list[Document]) -> Repeated:
    """Encode the text of documents, and compare the tokens with those of the stream."""
    compared = cut = 0
    for block in _blocks(stream, found):
        texts = [_text(stream, document) for document in block]
        encodings = encode_texts(model, texts, specials=False)
        for document, encoding in zip(block, encodings, strict=True):
            own, again, skipped = _comparable(document, ids, encoding.ids)
            if not len(own):
                continue
            compared += 1
            cut += len(own) < document.stop - document.first
            if not np.array_equal(own, again):
                return Repeated(compared, cut, _difference(document.first + skipped, own, again))
    return Repeated(compared, cut, "")


def _blocks(stream: Decoded, found: list[Document]) -> Iterator[list[Document]]:
    block: list[Document] = []
    size = 0
    for document in found:
        block.append(document)
        size += _size(stream, document)
        if size > AT_ONCE:
            yield block
            block = []
            size = 0
    yield block


def _begin(stream: Decoded, document: Document) -> int:
    return int(stream.byte_ends[document.first - 1]) if document.first else 0


def _size(stream: Decoded, document: Document) -> int:
    return int(stream.byte_ends[document.stop - 1]) - _begin(stream, document)


def _text(stream: Decoded, document: Document) -> str:
    begin = _begin(stream, document)
    raw = stream.raw[begin : begin + _size(stream, document)]
    return raw.decode("utf-8", "surrogateescape")


def _comparable(document: Document, ids: Ids, again: Ids) -> tuple[Ids, Ids, int]:
    """Return the tokens to compare, and how many of the document's are skipped before them.

    If the tokens differ, some are left out at a cut. Of a document that is cut on both sides
    nothing can be compared then.
    """
    own = ids[document.first : document.stop]
    if np.array_equal(own, again):
        return own, again, 0
    if document.is_cut_before and document.is_cut_after:
        return own[:0], again[:0], 0
    length = max(len(own) - MARGIN, 0)
    if document.is_cut_before:
        return own[len(own) - length :], again[max(len(again) - length, 0) :], len(own) - length
    return (own[:length], again[:length], 0) if document.is_cut_after else (own, again, 0)


def _difference(first: int, own: Ids, again: Ids) -> str:
    count = min(len(own), len(again))
    differs = own[:count] != again[:count]
    at = int(np.argmax(differs)) if differs.any() else count
    found = f"{own[at]}" if at < len(own) else "no token"
    expected = f"{again[at]}" if at < len(again) else "none"
    return (
        f"token {first + at:,} of the file is {found}, but encoding the text of its document gives "
        f"{expected}; perhaps another tokenizer wrote it"
    )
