"""How a model and its properties are written in results and signatures."""

import re
from dataclasses import replace
from enum import Enum
from pathlib import Path

from gpt2eval.errors import UsageError
from gpt2eval.models.options import LoadOptions


def plain_name(value: object) -> str:
    """Return the text of an identity field; an enum member counts as its value.

    transformers mixes `str` into its enums, and their `str()` is `Class.MEMBER`.

    >>> from enum import Enum
    >>> Method = Enum("Method", {"GGUF": "gguf"}, type=str)
    >>> plain_name(Method.GGUF), plain_name("gptq")
    ('gguf', 'gptq')
    """
    return str(value.value if isinstance(value, Enum) else value)


def step_suffix(name: str) -> str:
    """Return the `@stepN` that ends a model's name, or "".

    >>> step_suffix("nanogpt:run/ckpt.pt@step2000"), step_suffix("run/checkpoint-500")
    ('@step2000', '')
    """
    match = re.search(r"@step\d+$", name)
    return match[0] if match else ""


def local_label(path: Path, scheme: str = "") -> str:
    """Return the name of a local model in signatures: its file or folder without the path.

    >>> local_label(Path("/home/me/run/ckpt.pt"), "nanogpt")
    'nanogpt:ckpt.pt'
    >>> local_label(Path("run/checkpoint-500"))
    'checkpoint-500'
    """
    name = path.name if path.name not in ("", "..") else path.resolve().name
    return f"{scheme}:{name}" if scheme else name


def split_revision(name: str, options: LoadOptions) -> tuple[str, LoadOptions]:
    """Split `NAME@REVISION` of the Hub; an existing folder may have an @ in its own name.

    Raises:
        UsageError: If a folder has a revision, or there are two revisions.
    """
    hub_id, _, revision = name.rpartition("@")
    if not (hub_id and revision) or Path(name).exists():
        return name, options
    if Path(hub_id).exists():
        raise UsageError(
            f"model {name}: {hub_id} is a folder and has no revisions; "
            "expected a Hub id before the @"
        )
    if options.revision:
        raise UsageError(f"model {name}, --revision {options.revision}: expected one revision")
    return hub_id, replace(options, revision=revision)
