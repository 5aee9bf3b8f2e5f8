"""Check that the demo suite still gives the recorded hashes and values.

    python benchmarks/golden.py            # run the suite and compare it with golden.json
    python benchmarks/golden.py --update   # record a new golden.json

Compares the SHA-256 over all log-probabilities of each task, and every metric with its interval, to
the last bit. Hashes depend on the processor's instruction set, so compare on the machine that
recorded them.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).with_name("golden.json")


def main() -> int:
    """Return 0 if everything agrees, else 1."""
    measured = measure()
    if "--update" in sys.argv:
        GOLDEN.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
        return 0
    recorded = json.loads(GOLDEN.read_text(encoding="utf-8"))
    differing = [task for task in recorded | measured if recorded.get(task) != measured.get(task)]
    for task in differing:
        print(f"{task}: recorded {recorded.get(task)}, measured {measured.get(task)}")
    print(f"{len(recorded) - len(differing)} of {len(recorded)} tasks agree")
    return int(bool(differing))


def measure() -> dict[str, Any]:
    """Return the hash and the metrics of each task of the demo suite."""
    from gpt2eval import evaluate

    with tempfile.TemporaryDirectory() as out:
        results = evaluate("demo", out=out)
    return {
        result.full_name: {
            "nll_sha256": result.nll_sha256,
            "metrics": {
                name: [metric.value, *(metric.interval or (None, None))]
                for name, metric in result.metrics.items()
            },
        }
        for result in results
    }


if __name__ == "__main__":
    sys.exit(main())
