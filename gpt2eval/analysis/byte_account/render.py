"""Byte accounts as text for people, and as rows for programs."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal, get_args

from gpt2eval.analysis.byte_account.account import ByteAccount, Unscored, percent_off
from gpt2eval.errors import quoted
from gpt2eval.report.escape import visible
from gpt2eval.report.numbers import value_text
from gpt2eval.report.render import check_format, render_rows
from gpt2eval.report.rows import Row
from gpt2eval.report.strict_json import dumps

AccountFormat = Literal["terminal", "markdown", "csv", "json"]
EXACT = "exact"  # the name of our own count, if it is certified
UNCERTAIN = "not certified"
BITS = 6  # decimals of bits per byte: a byte in a million shows
NATS = 3  # decimals of nats and bits in total


def check_account_format(form: str) -> None:
    """Raise UsageError for a format that is not one of `AccountFormat`."""
    check_format(form, get_args(AccountFormat))


def render_accounts(
    accounts: Sequence[ByteAccount], form: str = "markdown", *, windows: bool = False
) -> str:
    """Return accounts as `terminal`, `markdown`, `csv` or `json`.

    `windows` adds a row for each window; csv then has these rows alone. json has everything.

    Raises:
        UsageError: for an unknown format.
    """
    check_account_format(form)
    if form == "json":
        return dumps([_plain(account) for account in accounts])
    if form == "csv":
        rows = _window_rows if windows else _rule_rows
        return render_rows([row for account in accounts for row in rows(account)], "csv")
    return "\n\n".join(_text(account, form, windows=windows) for account in accounts)


def _plain(account: ByteAccount) -> dict[str, Any]:
    """Return an account as plain values, with what follows from them."""
    return asdict(account) | {
        "certified": account.is_certified,
        "verdict": account.verdict,
        "bits": account.bits,
        "bits_per_byte": account.bits_per(account.scored_bytes),
        "facts": dict(account.facts),
        "rules": _rule_rows(account),
    }


def _rule_rows(account: ByteAccount) -> list[dict[str, Any]]:
    """Return a row for the exact count, and for each other way to count."""
    name = EXACT if account.is_certified else UNCERTAIN
    counts = [(name, "the published bytes of the scored tokens", account.scored_bytes)]
    counts += [(rule.name, rule.explanation, rule.bytes) for rule in account.rules]
    return [
        {
            "task": account.task,
            "model": account.model,
            "count": name,
            "bytes": count,
            "bytes_off": count - account.scored_bytes,
            "percent_off": percent_off(count, account.scored_bytes),
            "bits_per_byte": account.bits_per(count),
            "explanation": explanation,
        }
        for name, explanation, count in counts
    ]


def _window_rows(account: ByteAccount) -> list[dict[str, Any]]:
    head = {"task": account.task, "model": account.model}
    return [head | asdict(window) for window in account.windows]


def _text(account: ByteAccount, form: str, *, windows: bool) -> str:
    """Return an account for people, with unseen characters of its names as escapes."""
    title = f"{account.task} on {account.model}: {account.verdict}"
    lines = [f"- {label}: {text}" for label, text in _facts(account)]
    blocks = [visible(title), "\n".join(visible(line) for line in lines)]
    if account.scored_bytes:
        blocks.append(_table([_rule_texts(row) for row in _rule_rows(account)], form, "count"))
    if windows:
        rows = [_window_texts(row) for row in _window_rows(account)]
        blocks.append(_table(rows, form, "window"))
    return "\n\n".join(blocks)


def _facts(account: ByteAccount) -> list[tuple[str, str]]:
    records = f"{account.records:,} record{'s' * (account.records != 1)}"
    passes = len({window.number for window in account.windows})
    facts = [
        *account.facts,
        ("Text", f"{account.text_bytes:,} bytes in {records}, {account.tokens:,} tokens"),
        (
            "Scored",
            f"{account.scored_bytes:,} bytes in {account.scored:,} tokens, {passes:,} "
            f"window{'s' * (passes != 1)} of {account.context:,} tokens (stride "
            f"{account.stride:,})",
        ),
        *_inserted(account),
        ("Unscored", _unscored(account)),
        ("Sum", _sum(account)),
        ("Nats", f"{account.nats:,.{NATS}f}"),
        ("Bits", f"{account.bits:,.{NATS}f}"),
    ]
    if account.scored:
        per_token = value_text(account.nats / account.scored)
        facts.append(("Nats per token", f"{per_token} over the scored tokens"))
    if account.special.tokens:
        others = (account.nats - account.special.nats) / math.log(2)
        without = others / account.scored_bytes if account.scored_bytes else math.nan
        facts.append(
            (
                "Special tokens",
                f"{account.special.tokens:,} scored, with {account.special.nats:,.{NATS}f} nats "
                f"and no bytes; without them {without:.{BITS}f} bits per byte",
            )
        )
    if account.unit_bytes not in (0, account.scored_bytes):
        per_unit = account.bits_per(account.unit_bytes)
        facts.append(
            (
                "Bits per byte of the task",
                f"{per_unit:.{BITS}f}, over {account.unit_bytes:,} published bytes",
            )
        )
    others = len(account.faults) - 1
    if others > 0:
        facts.append(("Faults", f"{others} more text{'s' * (others > 1)} with a fault"))
        facts += [("Fault", str(fault)) for fault in account.faults[1:4]]
    return facts


def _inserted(account: ByteAccount) -> list[tuple[str, str]]:
    if not account.inserted:
        return []
    scored = account.scored + account.unscored - account.tokens
    return [("Around blocks", f"{account.inserted:,} tokens without bytes, {scored:,} scored")]


def _unscored(account: ByteAccount) -> str:
    if not account.unscored:
        return "nothing"
    listed = ", ".join(map(_named, account.first_unscored))
    more = ", ..." if account.unscored > len(account.first_unscored) else ""
    tokens = f"{account.unscored:,} token{'s' * (account.unscored != 1)}"
    size = f"{account.unscored_bytes:,} byte{'s' * (account.unscored_bytes != 1)}"
    return f"{size} in {tokens}: {listed}{more}"


def _named(token: Unscored) -> str:
    return f"token {token.token} of record {token.record} ({quoted(token.name)})"


def _sum(account: ByteAccount) -> str:
    total = account.scored_bytes + account.unscored_bytes
    return (
        f"{account.scored_bytes:,} + {account.unscored_bytes:,} = {total:,} of "
        f"{account.text_bytes:,} bytes"
    )


def _rule_texts(row: dict[str, Any]) -> dict[str, str]:
    percent = row["percent_off"]
    off = f"{row['bytes_off']:+,} ({percent:+.2f} %)" if row["bytes_off"] else "0"
    return {
        "count": row["count"],
        "bytes": f"{row['bytes']:,}",
        "off by": "" if row["count"] in (EXACT, UNCERTAIN) else off,
        "bits per byte": f"{row['bits_per_byte']:.{BITS}f}",
        "how it counts": row["explanation"],
    }


def _window_texts(row: dict[str, Any]) -> dict[str, str]:
    choice = f"/{row['choice']}" if row["choice"] else ""
    return {
        "window": f"{row['number']:,}",
        "record": f"{row['record']:,}{choice}",
        "tokens": f"{row['first']:,} to {row['first'] + row['tokens']:,}",
        "bytes from": f"{row['begin']:,}",
        "to": f"{row['end']:,}",
        "sum of its tokens": f"{row['bytes']:,}",
        "nats": value_text(row["nats"]),
    }


def _table(rows: Sequence[dict[str, str]], form: str, first: str) -> str:
    if form == "markdown":
        return render_rows(rows, form)
    from gpt2eval.report.terminal import terminal_table

    columns = [title for title in rows[0] if title != first]
    cells = [
        Row(row[first], "ours", {key: row[key] for key in columns}, {}, {}, {}) for row in rows
    ]
    return terminal_table(cells, columns, first=first)
