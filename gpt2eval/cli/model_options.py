"""Options that say how a model is loaded."""

from typing import Annotated, Optional

from gpt2eval.cli.options import MODEL, option

Revision = Annotated[
    Optional[str], option(MODEL, metavar="REV", text="Branch, tag or commit of a Hub model.")
]
TokenizerOption = Annotated[
    Optional[str],
    option(
        MODEL,
        metavar="NAME",
        text="Folder, file or Hub id; if a checkpoint's two tokenizers disagree, auto or file.",
    ),
]
Peft = Annotated[
    Optional[str],
    option(MODEL, metavar="NAME", text="Adapter (folder or Hub id) to merge into the weights."),
]
Quantization = Annotated[
    Optional[str],
    option(
        MODEL,
        metavar="NAME",
        text="bnb-8bit, bnb-4bit, gptq or awq; needs its package and a GPU.",
    ),
]
ApiKeyFile = Annotated[
    Optional[str],
    option(MODEL, metavar="FILE", text="File with the API key for an api: model, on one line."),
]
ApiTimeout = Annotated[
    Optional[float],
    option(
        MODEL,
        metavar="SECONDS",
        text="Time in which an api: server must begin an answer; default: 600.",
    ),
]
ApiMaxAnswer = Annotated[
    Optional[int],
    option(
        MODEL,
        metavar="BYTES",
        text="Largest answer of an api: server; default: 8 MiB, and 256 for each byte sent.",
    ),
]
