"""The JSON Schema of a `result.json`, generated from the dataclasses of a result.

`python -m gpt2eval.report.result_schema` writes it to `result.schema.json` beside this module.
"""

import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from gpt2eval.metrics.result import Result
from gpt2eval.report.migrations import FORMAT
from gpt2eval.report.result_file import CHECKSUM
from gpt2eval.report.strict_json import REASON

SCHEMA = Path(__file__).with_name("result.schema.json")
DIALECT = "https://json-schema.org/draft/2020-12/schema"


# Numbers that may be infinite: null with a reason beside it. See `strict_json`.
NOT_FINITE = {
    "MetricValue": ("value", "interval"),
    "Estimate": ("value", "interval"),
    "Tally": ("nats",),
}


def result_schema() -> dict[str, Any]:
    """Return the JSON Schema of a result.json of the current format."""
    schema = _tidied(TypeAdapter(Result).json_schema())
    kinds = schema["$defs"]
    kinds["MetricValue"]["properties"].pop("name")  # the key of the entry
    kinds["MetricValue"]["required"].remove("name")
    for kind in ("Tally", "Units"):
        _require_all(kinds[kind])  # a missing count is an error
    for kind, keys in NOT_FINITE.items():
        _allow_null(kinds[kind]["properties"], keys)
    properties = {"format": {"const": FORMAT}} | schema["properties"]
    properties[CHECKSUM] = {"type": "string"}
    properties["metrics"]["minProperties"] = 1
    return {
        "$schema": DIALECT,
        "title": f"gpt2eval result, format {FORMAT}",
        "description": schema["description"],
        "type": "object",
        "properties": properties,
        "required": ["format", *schema["required"]],
        "$defs": kinds,
    }


def to_text(schema: Mapping[str, Any]) -> str:
    """Return a schema as the content of its file."""
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def _allow_null(properties: dict[str, Any], keys: Sequence[str]) -> None:
    """Allow null for numbers, and the keys that state the reasons."""
    number = {"anyOf": [{"type": "number"}, {"type": "null"}]}
    for key in keys:
        pair = next((one for one in properties[key].get("anyOf", ()) if "prefixItems" in one), None)
        if pair:
            pair["prefixItems"] = [number, number]
        else:
            properties[key] = number
        properties[f"{key}{REASON}"] = {"type": "string"}


def _require_all(schema: dict[str, Any]) -> None:
    schema["required"] = list(schema["properties"])
    for entry in schema["properties"].values():
        entry.pop("default", None)


def _tidied(schema: Any) -> Any:
    """Return a schema without generated titles, and with the first paragraph of descriptions."""
    if isinstance(schema, list):
        return [_tidied(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    tidied = {
        key: _tidied(value)
        for key, value in schema.items()
        if key != "title" or isinstance(value, dict)  # a field may be called title
    }
    if isinstance(text := tidied.get("description"), str):
        paragraph = inspect.cleandoc(text).partition("\n\n")[0]
        tidied["description"] = " ".join(paragraph.split())
    return tidied


if __name__ == "__main__":
    SCHEMA.write_text(to_text(result_schema()), encoding="utf-8")
