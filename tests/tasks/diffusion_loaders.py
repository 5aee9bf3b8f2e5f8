"""What the loaders of diffusion language models do, written out anew as an oracle.

Each loader detokenizes the rows of a data set, encodes them, and joins and cuts their tokens with
`datasets.map(batched=True, num_proc=K)`, which drops what fills no block in each batch of a worker.
The facts are those of data.py of louaaron/Score-Entropy-Discrete-Diffusion and ML-GSAI/RADD,
dataloader.py of kuleshov-group/mdlm and s-sahoo/duo, and lib/datasets.py of igul222/plaid. This
module imports nothing of gpt2eval.
"""

import re
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Literal, NamedTuple

import datasets

Ids = list[int]
ROWS = 1000  # rows in a batch of `map`, by default

# -- detokenizers: in order, a literal replacement, or a substitution of a regular expression ------

Change = tuple[Literal["text", "expression"], str, str]


def _texts(*pairs: tuple[str, str]) -> list[Change]:
    return [("text", old, new) for old, new in pairs]


def _expressions(*pairs: tuple[str, str]) -> list[Change]:
    return [("expression", pattern, new) for pattern, new in pairs]


def _around(opening: str, inside: str, closing: str) -> tuple[str, str]:
    """A pair of brackets or quotes: strip the white space inside it."""
    plain = [sign.replace("\\", "") for sign in (opening, closing)]
    return rf"{opening}\s*({inside}*?)\s*{closing}", rf"{plain[0]}\1{plain[1]}"


def _close_up(*signs: str) -> list[Change]:
    """Remove the space before a sign that has a space on either side."""
    return _texts(*((f" {sign} ", f"{sign} ") for sign in signs))


WIKITEXT: list[Change] = [
    *_texts(("s '", "s'")),
    *_expressions(("/' [0-9]/", "/'[0-9]/")),
    *_texts((" @-@ ", "-"), (" @,@ ", ","), (" @.@ ", ".")),
    *_close_up(":", ";", ".", "!", "?", ","),
    *_expressions(
        _around(r"\(", r"[^\)]", r"\)"),
        _around(r"\[", r"[^\]]", r"\]"),
        _around("{", "[^}]", "}"),
        _around('"', '[^"]', '"'),
        _around("'", "[^']", "'"),
    ),
    *_texts(("= = = =", "===="), ("= = =", "==="), ("= =", "==")),
    *_texts((" \u00b0 ", "\u00b0"), (" \n", "\n"), ("\n ", "\n"), (" N ", " 1 "), (" 's", "'s")),
]
PTB: list[Change] = [
    *_texts((" 's", "'s"), ("s ' ", "s' "), (" n't", "n't"), (" \n ", "\n"), ("\\/", "/")),
    *_texts((" N ", " 1 ")) * 10,
    *_texts(("$ 1", "$1"), ("# 1", "#1"), ("<unk>", "?")),
]
LM1B: list[Change] = [
    *_texts(("http : / / ", "http://"), ("https : / / ", "https://")),
    *_expressions((r" '(\w+)", r"'\1"), (r" (\w+) \. ", r" \1. "), (r" (\w+) \.$", r" \1.")),
    *_close_up("?"),
    *_expressions((r" \?$", "?")),
    *_close_up("!"),
    *_expressions((r" \!$", "!")),
    *_close_up(",", ":", ";"),
    *_texts((" / ", "/")),
    *_expressions(
        (r"\" ([^\"]+) \"", r'"\1"'),
        (r"\' ([^\']+) \'", r"'\1'"),
        (r"\( ([^\(\)]+) \)", r"(\1)"),
        (r"\[ ([^\[\]]+) \]", r"[\1]"),
    ),
    *_texts(("$ ", "$"), ("\u00a3 ", "\u00a3")),
]


def changed(text: str, changes: Sequence[Change]) -> str:
    """Make changes in order."""
    for kind, old, new in changes:
        text = text.replace(old, new) if kind == "text" else re.sub(old, new, text)
    return text


def lambada(text: str) -> str:
    """Straighten curly double quotes, strip, and put a newline in front."""
    for curly in "\u201c\u201d":
        text = text.replace(curly, '"')
    return "\n" + text.strip()


DETOKENIZERS: dict[str, Callable[[str], str]] = {
    "wikitext": lambda text: changed(text, WIKITEXT),
    "ptb": lambda text: changed(text, PTB),
    "lm1b": lambda text: changed(text, LM1B),
    "lambada": lambda text: lambada(text),
    "papers": lambda text: changed(changed(text, WIKITEXT), LM1B),
    "none": lambda text: text,
}

# -- rows of the Hub's data sets, from the publishers' files ---------------------------------------


def wikitext_rows(text: str) -> list[str]:
    """A row is a line with its newline; a blank line is an empty row."""
    return [line if line.strip() else "" for line in text.splitlines(keepends=True)]


def stripped_rows(text: str) -> list[str]:
    """A row is a line without the white space at its ends: PTB, 1BW."""
    return [line.strip() for line in text.splitlines()]


def text8_rows(text: str, size: int) -> list[str]:
    """A row has `size` characters; an incomplete last one is left out."""
    return [text[start : start + size] for start in range(0, len(text) - size + 1, size)]


# -- streams ---------------------------------------------------------------------------------------


class Loader(NamedTuple):
    """How a repository joins and cuts the tokens of its rows.

    `begin` and `end` are the tokens around each block, if any; `row_end` follows each row, if any.
    """

    block: int
    row_end: int | None
    begin: int | None
    end: int | None

    @property
    def inside(self) -> int:
        """The text's own tokens in a block."""
        return self.block - (self.begin is not None) - (self.end is not None)


def sedd(eos: int, block: int = 1024) -> Loader:
    """SEDD and RADD: the end-of-text token after each row, nothing around blocks."""
    return Loader(block, eos, None, None)


def mdlm(eos: int, block: int = 1024) -> Loader:
    """MDLM: the end-of-text token after each row and around each block."""
    return Loader(block, eos, eos, eos)


def bd3lm(eos: int, block: int = 1024) -> Loader:
    """BD3-LM and Duo without `insert_valid_eos`: the token around each block only."""
    return Loader(block, None, eos, eos)


def _cut(batch: dict[str, list[Ids]], loader: Loader) -> dict[str, list[Ids]]:
    """Join the tokens of a batch of rows, and cut them into blocks; drop what fills none."""
    tokens = list(chain.from_iterable(batch["input_ids"]))
    size = loader.inside
    whole = [tokens[start : start + size] for start in range(0, len(tokens) - size + 1, size)]
    begin = [] if loader.begin is None else [loader.begin]
    end = [] if loader.end is None else [loader.end]
    return {"input_ids": [[*begin, *block, *end] for block in whole]}


def encoded_rows(
    rows: Sequence[str],
    detokenize: Callable[[str], str],
    encode: Callable[[str], Ids],
    loader: Loader,
) -> list[Ids]:
    """The tokens of each row, detokenized and encoded alone."""
    row_end = [] if loader.row_end is None else [loader.row_end]
    return [[*encode(detokenize(row)), *row_end] for row in rows]


def blocks_by_map(
    rows: Sequence[Ids], loader: Loader, workers: int, batch: int = ROWS
) -> list[Ids]:
    """The blocks that `datasets` makes of encoded rows, with as many processes as workers."""
    table = datasets.Dataset.from_dict({"input_ids": list(rows)})
    cut = table.map(
        _cut,
        batched=True,
        batch_size=batch,
        num_proc=workers,
        load_from_cache_file=False,
        fn_kwargs={"loader": loader},
    )
    return [list(block) for block in cut["input_ids"]]


def blocks_by_rule(
    rows: Sequence[Ids], loader: Loader, workers: int, batch: int = ROWS
) -> list[Ids]:
    """The same blocks without processes: contiguous shards, the first of which are the longer ones.

    `datasets` starts at most as many processes as there are rows.
    """
    shards = min(workers, len(rows))
    each, longer = divmod(len(rows), shards)
    blocks: list[Ids] = []
    start = 0
    for shard in range(shards):
        end = start + each + (shard < longer)
        for first in range(start, end, batch):
            part = list(rows[first : min(first + batch, end)])
            blocks += _cut({"input_ids": part}, loader)["input_ids"]
        start = end
    return blocks


def chunks(tokens: Ids, size: int = 1024) -> list[Ids]:
    """Plaid: consecutive chunks of a text's tokens; the last one may be shorter."""
    return [tokens[start : start + size] for start in range(0, len(tokens), size)]


def kept_share(rows: Sequence[Ids], loader: Loader, workers: int) -> float:
    """The share of the rows' tokens that lie in some block."""
    around = loader.block - loader.inside
    kept = sum(len(block) - around for block in blocks_by_rule(rows, loader, workers))
    return kept / sum(map(len, rows))
