"""Run lm-evaluation-harness on a model and local text; print its results as JSON.

python run_lm_eval.py MODEL PAGES.jsonl LAMBADA.jsonl [STANDARD.jsonl]

MODEL is a folder or a GGUF file. Without a file of its own, lambada_standard reads LAMBADA.jsonl.
"""

import json
import sys
import tempfile
from pathlib import Path

import lm_eval  # pyright: ignore[reportMissingImports]
from lm_eval.tasks import TaskManager  # pyright: ignore[reportMissingImports]

TASKS = Path(str(lm_eval.__file__)).parent / "tasks"


def task(name: str, real: str, data: str) -> str:
    """A task file that is the harness's own but for the data."""
    return "\n".join(
        [
            f"include: {TASKS / real}",
            f"task: {name}",
            "dataset_path: json",
            "dataset_name: null",
            f"dataset_kwargs: {{data_files: {{test: {data}}}}}",
            "training_split: null",
            "validation_split: null",
        ]
    )


def main() -> None:
    """Evaluate, and print `{task: {metric: value}}`."""
    model, pages, openai, standard = (*sys.argv[1:], sys.argv[3])[:4]
    place = {"pretrained": model}
    if model.endswith(".gguf"):
        place = {"pretrained": str(Path(model).parent), "gguf_file": Path(model).name}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "wikitext_here.yaml").write_text(
            task("wikitext_here", "wikitext/wikitext.yaml", pages)
        )
        for name, lambada in (("openai", openai), ("standard", standard)):
            here = f"{name}_here"
            (Path(folder) / f"{here}.yaml").write_text(
                task(here, f"lambada/lambada_{name}.yaml", lambada)
            )
        made = lm_eval.simple_evaluate(
            model="hf",
            model_args={**place, "dtype": "float32", "device": "cpu"},
            tasks=["wikitext_here", "openai_here", "standard_here"],
            task_manager=TaskManager(include_path=folder),
            batch_size=1,
            bootstrap_iters=0,
        )
    print(json.dumps(made["results"], default=str))


if __name__ == "__main__":
    main()
