"""Every model file that once failed is refused in one line that names it, or is what it says.

`tests/corpus/<file>/` holds the files, each a damaged copy of one of a small model.
"""

from pathlib import Path

import pytest

from drill import attempts
from drill.model_files.kinds import CPU, KINDS, Kind, scores, wrong
from gpt2eval.errors import UsageError
from gpt2eval.models.memory.recall import load_backend

CORPUS = Path(__file__).parents[1] / "corpus"
CASES = [
    pytest.param(kind, path, id=f"{kind.file}/{path.name}")
    for kind in KINDS
    for path in sorted((CORPUS / kind.file).glob("*"))
]


def test_the_corpus_has_cases() -> None:
    assert len(CASES) >= 20


@pytest.mark.parametrize(("kind", "case"), CASES)
def test_a_file_that_once_failed(kind: Kind, case: Path, tmp_path: Path) -> None:
    kind.write(tmp_path)
    path = tmp_path / kind.file
    content = path.read_bytes()
    original = load_backend(kind.model(path), CPU)
    path.write_bytes(case.read_bytes())
    try:
        kind.stage(path)
        model = load_backend(kind.model(path), CPU)
    except UsageError as error:
        message = str(error).replace(str(tmp_path), "FOLDER")
        assert attempts.unclear(message, (kind.file, *kind.mentions)) is None
    else:
        assert wrong(kind, path, (model, scores(model)), content, original) is None
