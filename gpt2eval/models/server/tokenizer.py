"""A server's own tokenizer, behind llama-cpp-python's `/extras/tokenize` and `/extras/detokenize`.

A text is tokenized in one request. The bytes of each token are requested once, and must tile the
text.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import numpy as np

from gpt2eval.errors import UsageError
from gpt2eval.models.server.client import Server
from gpt2eval.models.tokenization.loaded import LoadedTokenizer
from gpt2eval.models.tokenization.loading import END
from gpt2eval.models.tokenization.tiling import char_ends
from gpt2eval.types import Encoding

FINGERPRINT_TEXT = "The quick brown fox's 12 oxen didn't jump, café — 我能 3,456.78\n\tend ."


class RemoteTokens:
    """A server's tokenizer, used through the two paths above."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._pieces: dict[int, bytes] = {}
        self.added = self._ids("")  # the tokens that the server puts before every text

    @property
    def pieces(self) -> Mapping[int, bytes]:
        return self._pieces

    def name(self, token: int) -> str:
        """Return the text of a token, or "" if the server cannot show it."""
        return (self._piece(token) or b"").decode("utf-8", "replace")

    def decoded(self, token: int) -> str:
        """Return the text of a token; a server shows no other form of it than its name."""
        return self.name(token)

    def special(self, text: str) -> int | None:
        """Return the id of a special token, or None if the text is not a single token."""
        ids = self._ids(text)[len(self.added) :]
        if len(ids) != 1:
            return None
        self._pieces[ids[0]] = text.encode()
        return ids[0]

    def encode(self, text: str, *, specials: bool = False) -> Encoding:
        """Tokenize a text; it is `lossy` where the tokens' bytes are unknown or not the text's."""
        raw = text.encode("utf-8", "surrogateescape")
        ids = self._ids(raw.decode("utf-8", "replace"))[len(self.added) :]
        widths: list[int] = []
        offset = 0
        is_lossy = False
        for index, id_ in enumerate(ids):
            piece = self._piece(id_)
            if index == 0 and piece and piece[:1] == b" " and not raw.startswith(piece):
                piece = piece[1:]  # the tokenizer adds a space that is not part of the text
            if piece is None or not raw.startswith(piece, offset):
                piece = self._bytes_of_part(raw, offset, ids, index)
                is_lossy = is_lossy or piece is None
                self._pieces[id_] = self._pieces[id_] or piece or b""
            widths.append(len(piece or b""))
            offset += widths[-1]
        ends = char_ends(text, np.minimum(np.cumsum(widths, dtype=np.int64), len(raw)))
        return Encoding(np.array(ids, np.int32), ends, is_lossy or offset != len(raw))

    def _bytes_of_part(self, raw: bytes, offset: int, ids: list[int], index: int) -> bytes | None:
        """Return the bytes of a token that is only part of a character.

        The server cannot show such a token as text. A run of them covers the text up to the next
        token with known bytes: a byte each, or all bytes if it is a single token.
        """
        run = 0
        while index + run < len(ids) and not self._piece(ids[index + run]):
            run += 1
        next_piece = self._piece(ids[index + run]) if index + run < len(ids) else None
        end = raw.find(next_piece, offset) if next_piece else len(raw)
        if end < 0 or end - offset < run:
            return None
        if run == end - offset:
            return raw[offset : offset + 1]
        return raw[offset:end] if run == 1 else None

    def _ids(self, text: str) -> list[int]:
        answer: Any = self._server.post(
            "/extras/tokenize", {"input": text, "model": self._server.model}
        )
        ids = answer.get("tokens") if isinstance(answer, dict) else None
        if not isinstance(ids, list) or not all(map(_is_id, ids)):
            raise UsageError(
                f"{self._server.url}/extras/tokenize: no list of tokens; "
                "expected {'tokens': [...]}"
            )
        return ids

    def _piece(self, id_: int) -> bytes | None:
        """Return the bytes of a token, or None if the server cannot show them."""
        if id_ not in self._pieces:
            answer: Any = self._server.post(
                "/extras/detokenize", {"tokens": [id_], "model": self._server.model}
            )
            text = answer.get("text") if isinstance(answer, dict) else None
            is_readable = isinstance(text, str) and "\ufffd" not in text
            # JSON may hold half a surrogate pair, which has no bytes
            self._pieces[id_] = str(text).encode("utf-8", "ignore") if is_readable else b""
        return self._pieces[id_] or None


def _is_id(value: Any) -> bool:
    return type(value) is int and 0 <= value <= np.iinfo(np.int32).max


def server_tokenizer(server: Server) -> LoadedTokenizer | None:
    """Return a server's own tokenizer, or None if the server does not offer it."""
    if server.post("/extras/tokenize", {"input": "a", "model": server.model}) is None:
        return None
    tokens = RemoteTokens(server)
    added = tokens.added[0] if len(tokens.added) == 1 else None
    end = tokens.special(END)
    start = end if added is None else added
    ids = np.array(tokens.encode(FINGERPRINT_TEXT).ids, "<i4")
    fingerprint = sha256(ids.tobytes()).hexdigest()[:8]
    return LoadedTokenizer(tokens, start, added, end, (), fingerprint)
