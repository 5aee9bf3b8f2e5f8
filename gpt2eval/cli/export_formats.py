"""The options of `gpt2eval export` that write results in the formats of other projects."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple, Optional

from gpt2eval.cli.options import OUTPUT, option

HubCard = Annotated[
    Optional[Path],
    option(
        OUTPUT,
        "--hub-card",
        metavar="FILE",
        text="Write the results into the head of a model card (README.md), as model-index. Nothing "
        "else in the file changes.",
    ),
]
HubResults = Annotated[
    Optional[Path],
    option(
        OUTPUT,
        "--hub-results",
        metavar="DIR",
        text="Write DIR/.eval_results/gpt2eval.yaml for a model's repository on the Hub.",
    ),
]
EveryEvalEver = Annotated[
    Optional[Path],
    option(
        OUTPUT,
        "--every-eval-ever",
        metavar="DIR",
        text="Write records of Every Eval Ever 0.3.0 below DIR/data.",
    ),
]
ModelId = Annotated[
    Optional[str],
    option(
        OUTPUT,
        "--model-id",
        metavar="ORG/NAME",
        text="Id of the model in these formats; default: its name, if that is one of the Hub.",
    ),
]
Organization = Annotated[
    str,
    option(
        OUTPUT,
        "--organization",
        metavar="NAME",
        text="Who measured, for Every Eval Ever.",
    ),
]
Relationship = Annotated[
    str,
    option(
        OUTPUT,
        "--relationship",
        metavar="KIND",
        text="Of who measured to the model: first_party, third_party, collaborative or other.",
    ),
]


class Formats(NamedTuple):
    """The files to write, each None if it is not requested, and what they state."""

    hub_card: Path | None
    hub_results: Path | None
    every_eval_ever: Path | None
    model_id: str | None
    organization: str
    relationship: str

    @property
    def requested(self) -> bool:
        """Whether there is a file to write."""
        return any(place is not None for place in self[:3])


def write_formats(places: Sequence[Path], formats: Formats, include: Sequence[Path]) -> None:
    """Write results in the requested formats, and print the files."""
    from gpt2eval.files import write_atomic
    from gpt2eval.report import every_eval_ever, hub_card, hub_results, store
    from gpt2eval.report.run_record import date_of

    paths = list(dict.fromkeys(path for place in places for path in store.paths_in(place)))
    results = [store.read_result(path) for path in paths]
    dates = [date_of(path) for path in paths]
    if formats.hub_card or formats.hub_results:
        hub_results.check_one_model(results)
    if formats.hub_card:
        name = formats.model_id or results[0].model.name
        index = hub_results.model_index(results, name, include)
        hub_card.update_card(formats.hub_card, index)
        print(formats.hub_card)
    if formats.hub_results:
        content = hub_results.eval_results_file(results, dates, include)
        path = formats.hub_results / hub_results.FOLDER / hub_results.FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content)
        print(path)
    if formats.every_eval_ever:
        source = every_eval_ever.Source(formats.organization, formats.relationship)
        written = every_eval_ever.write_records(
            formats.every_eval_ever,
            results,
            dates,
            model_id=formats.model_id,
            source=source,
            include=include,
        )
        for path in written:
            print(path)
