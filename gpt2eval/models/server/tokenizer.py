"""A server's own tokenizer, asked over its own paths: llama-cpp-python's, vLLM's and llama.cpp's.

A text is tokenized as a whole; each token's bytes are asked for once, and must tile the text.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import numpy as np

from gpt2eval.errors import UsageError
from gpt2eval.models.server.client import Server
from gpt2eval.models.tokenization.loading import END, LoadedTokenizer
from gpt2eval.models.tokenization.tiling import char_ends
from gpt2eval.types import Encoding

PROBE = "The quick brown fox's 12 oxen didn't jump, café — 我能 3,456.78\n\tend ."


class RemoteTokens:
    """The tokenizer behind `/extras/tokenize` and `/extras/detokenize`."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._pieces: dict[int, bytes] = {}
        self.first = self._ids("")  # what is put before every text

    @property
    def pieces(self) -> Mapping[int, bytes]:
        return self._pieces

    def special(self, text: str) -> int | None:
        """The one token that a text stands for, if it does."""
        ids = self._ids(text)[len(self.first) :]
        if len(ids) != 1:
            return None
        self._pieces[ids[0]] = text.encode()
        return ids[0]

    def encode(self, text: str, *, specials: bool = False) -> Encoding:
        """The tokens of a text; `lossy` where their bytes cannot be told, or are not the text's."""
        raw = text.encode("utf-8", "surrogateescape")
        ids = self._ids(raw.decode("utf-8", "replace"))[len(self.first) :]
        widths, at, lossy = [], 0, False
        for place, id_ in enumerate(ids):
            piece = self._piece(id_)
            if not place and piece and piece[:1] == b" " and not raw.startswith(piece):
                piece = piece[1:]  # a blank put before the text is no part of it
            if piece is None or not raw.startswith(piece, at):
                piece = self._gap(raw, at, ids, place)
                lossy = lossy or piece is None
                self._pieces[id_] = self._pieces[id_] or piece or b""
            widths.append(len(piece or b""))
            at += widths[-1]
        ends = char_ends(text, np.minimum(np.cumsum(widths, dtype=np.int64), len(raw)))
        return Encoding(np.array(ids, np.int32), ends, lossy or at != len(raw))

    def _gap(self, raw: bytes, at: int, ids: list[int], place: int) -> bytes | None:
        """The byte of a token that is a part of a character, up to where the next whole token begins."""
        unknown = next(
            (n for n, id_ in enumerate(ids[place:]) if self._piece(id_)), len(ids) - place
        )
        rest = self._piece(ids[place + unknown]) if place + unknown < len(ids) else None
        end = raw.find(rest, at) if rest else len(raw)
        if end < 0 or end - at < unknown or (unknown != end - at and unknown != 1):
            return None
        return raw[at : at + 1] if unknown == end - at else raw[at:end]

    def _ids(self, text: str) -> list[int]:
        answer: Any = self._server.post(
            "/extras/tokenize", {"input": text, "model": self._server.model}
        )
        ids = answer.get("tokens") if isinstance(answer, dict) else None
        if not isinstance(ids, list) or not all(isinstance(id_, int) for id_ in ids):
            raise UsageError(
                f"{self._server.url}/extras/tokenize: no list of tokens; expected {{'tokens': [...]}}"
            )
        return ids

    def _piece(self, id_: int) -> bytes | None:
        if id_ not in self._pieces:
            answer: Any = self._server.post(
                "/extras/detokenize", {"tokens": [id_], "model": self._server.model}
            )
            said = answer.get("text") if isinstance(answer, dict) else None
            self._pieces[id_] = (
                said.encode() if isinstance(said, str) and "\ufffd" not in said else b""
            )
        return self._pieces[id_] or None


def of_server(server: Server) -> LoadedTokenizer | None:
    """A server's own tokenizer, or None where it tells none."""
    if server.post("/extras/tokenize", {"input": "a", "model": server.model}) is None:
        return None
    tokens = RemoteTokens(server)
    added = tokens.first[0] if len(tokens.first) == 1 else None
    start = tokens.special(END) if added is None else added
    said = sha256(np.array(tokens.encode(PROBE).ids, "<i4").tobytes()).hexdigest()[:8]
    return LoadedTokenizer(tokens, start, added, (), said)
