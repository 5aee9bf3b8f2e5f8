"""The bytes of every token of a vocabulary, from the alphabets of the libraries that write them."""

import json
import re
from collections.abc import Mapping
from typing import Any

BYTE = re.compile("<0x([0-9A-F]{2})>")  # the name of a single byte in a SentencePiece vocabulary
SENTENCEPIECE_SPACE = "\u2581"


def byte_alphabet() -> Mapping[str, int]:
    """Return the byte that each of GPT-2's 256 printable characters stands for.

    Printable Latin-1 bytes stand for themselves; the others are U+0100, U+0101, ... in order.
    Source: `bytes_to_unicode` in encoder.py of OpenAI's gpt-2 repository.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    alphabet = {chr(byte): byte for byte in printable}
    alphabet |= {chr(0x100 + i): byte for i, byte in enumerate(others)}
    return alphabet


def piece_bytes(backend: Any) -> dict[int, bytes] | None:
    """Return the bytes of every token of a `tokenizers.Tokenizer`.

    Returns None if its decoder is neither byte-level nor SentencePiece's, so that the bytes of a
    token are not known.
    """
    if backend.decoder is None:
        return None
    # The decoder alone as JSON: `to_str` would write out the whole vocabulary.
    decoder = json.dumps(json.loads(backend.decoder.__getstate__()))
    added_tokens = backend.get_added_tokens_decoder().items()
    added = {id_: token.content.encode() for id_, token in added_tokens}
    vocabulary = backend.get_vocab(with_added_tokens=False).items()
    if "ByteLevel" in decoder:
        alphabet = byte_alphabet()
        question_mark = 0x3F  # stands for a character outside the alphabet
        pieces = {
            id_: bytes(alphabet.get(char, question_mark) for char in token)
            for token, id_ in vocabulary
        }
        return pieces | added
    # json.dumps escapes U+2581, SentencePiece's character for a space.
    if "ByteFallback" in decoder or "\\u2581" in decoder:
        return {id_: _sentencepiece_bytes(token) for token, id_ in vocabulary} | added
    return None


def _sentencepiece_bytes(token: str) -> bytes:
    byte = BYTE.fullmatch(token)
    if byte:
        return bytes([int(byte[1], 16)])
    return token.replace(SENTENCEPIECE_SPACE, " ").encode()
