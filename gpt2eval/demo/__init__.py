"""The embedded demo: a small trained model, and a few records of every column.

The records are in the publishers' formats.
"""

from pathlib import Path

FILES = {
    "lambada": "lambada.jsonl",
    "cbt_cn": "cbt_cn.txt",
    "cbt_ne": "cbt_ne.txt",
    "wikitext2": "wikitext2.tokens",
    "wikitext103": "wikitext103.tokens",
    "ptb": "ptb.txt",
    "enwik8": "enwik8.bytes",
    "text8": "text8.txt",
    "lm1b": "lm1b.txt",
}


def data() -> dict[str, Path]:
    """Map each task to the file of its embedded records."""
    return {task: Path(__file__).parent / "data" / name for task, name in FILES.items()}
