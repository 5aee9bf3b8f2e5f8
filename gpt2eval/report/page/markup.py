"""The page as one file: its template, style, script and data, and the policy that confines it."""

import json
import re
from base64 import b64encode
from hashlib import sha256
from html import escape
from pathlib import Path

FOLDER = Path(__file__).parent
# In the order in which they are joined: a file uses what the ones before it define.
SCRIPTS = (
    "format.js",
    "dom.js",
    "table.js",
    "chart.js",
    "curves.js",
    "tokens.js",
    "passage.js",
    "surprisal.js",
    "main.js",
)
# What would end a data block, what is a line's end in older scripts, and lone surrogates, which
# stand for undecodable bytes and cannot be written as UTF-8.
ESCAPED = re.compile("[<>&\u2028\u2029\ud800-\udfff]")


def embedded(value: object) -> str:
    r"""Return a value as JSON that can stand in an HTML data block.

    >>> embedded("</script>")
    '"\\u003c/script\\u003e"'
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def document(title: str, value: object) -> str:
    """Return the page that shows a value.

    Its policy allows this script and this style, by their hashes, and nothing else: no request, no
    other script, no markup made from text.
    """
    script = "\n".join(
        ['"use strict";', "(() => {", *map(_file, SCRIPTS), "})();"],
    )
    style = _file("page.css")
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src '{_hash(script)}'",
            f"style-src '{_hash(style)}'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
        ]
    )
    parts = {
        "policy": policy,
        "title": escape(title),
        "style": style,
        "data": embedded(value),
        "script": script,
    }
    page = _file("template.html")
    before, *rest = page.split("{{")
    filled = [before]
    for piece in rest:
        name, _, after = piece.partition("}}")
        filled += [parts[name], after]
    return "".join(filled)


def _file(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Return how a policy names an inline script or style."""
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"
