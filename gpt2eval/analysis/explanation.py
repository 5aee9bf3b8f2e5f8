"""The public form of `explain`: every protocol's perplexity of one model on one text, as one object."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import overload

from gpt2eval import demo
from gpt2eval.analysis import explain as protocols_explained
from gpt2eval.analysis.explain import Explained
from gpt2eval.models import registry
from gpt2eval.models.options import LoadOptions
from gpt2eval.pipeline import undisturbed
from gpt2eval.report import store
from gpt2eval.settings import Settings
from gpt2eval.types import Model, Progress


class Explanation(Sequence[Explained]):
    """A row per protocol: its perplexity, and what each change from the first protocol is worth.

    `print(explanation)` shows the table.
    """

    def __init__(self, rows: Iterable[Explained]) -> None:
        self._rows = tuple(rows)

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, key: int) -> Explained: ...
    @overload
    def __getitem__(self, key: slice) -> "Explanation": ...
    def __getitem__(self, key: int | slice) -> "Explained | Explanation":
        return Explanation(self._rows[key]) if isinstance(key, slice) else self._rows[key]

    def __str__(self) -> str:
        return protocols_explained.rendered(self._rows)

    def __repr__(self) -> str:
        return f"<Explanation: {', '.join(row.name for row in self._rows)}>"


@undisturbed()
def explain(
    model: str | Model = "demo",
    task: str = "wikitext103",
    *,
    data: Mapping[str, Path | str] | None = None,
    protocols: Sequence[str] = (),
    out: Path | str | None = None,
    settings: Settings = Settings(),
    options: LoadOptions = LoadOptions(),
    include: Sequence[Path] = (),
    progress: Callable[[Progress], None] | None = None,
) -> Explanation:
    """Measure one text by every known protocol, and attribute each difference to a group of settings.

    Args:
        model: A name, as for `evaluate`, or a backend.
        task: A task with a perplexity.
        data: Local file of each task; by default the published data.
        protocols: Variants of the task to compare; all of them by default.
        out: Folder that keeps the scores, so that a later call resumes.
        settings: `limit` cuts the text, `cache` is the folder of the published data.
        options: How a named model is loaded.
        include: Folders with tasks and detokenizers of your own.
        progress: Called with a `Progress` after every batch.

    Returns:
        A row per protocol; `str()` is the table.

    Raises:
        UsageError: the task has no perplexity, or a task, an option or the model is at fault.

    Example:
        >>> from gpt2eval import Settings, demo, explain
        >>> rows = explain(
        ...     "toy:uniform-bytes",
        ...     "wikitext2",
        ...     data=demo.data(),
        ...     protocols=["no_detok"],
        ...     settings=Settings(limit=20),
        ... )
        >>> [row.name for row in rows]
        ['wikitext2', 'wikitext2/no_detok']
    """
    if data is None and model == "demo":
        data = demo.data()
    folder = None
    if out is not None:
        store.check_writable(Path(out))
    backend = registry.load_model(model, options) if isinstance(model, str) else model
    if out is not None:
        name = registry.identity_of(backend).name
        folder = store.result_folder(Path(out), name, task) / "explained"
    rows = protocols_explained.explain(
        backend,
        task,
        {name: Path(path) for name, path in data.items()} if data else None,
        protocols=protocols,
        include=include,
        settings=settings,
        folder=folder,
        watch=progress or (lambda progress: None),
    )
    return Explanation(rows)
