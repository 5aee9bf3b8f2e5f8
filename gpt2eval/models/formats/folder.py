"""Check a folder of transformers' files before anything in it is loaded.

Its weights files must be complete, its indexes may name only files in the folder, it must hold one
set of weights, and its config may imply no more weights than the files have bytes.
"""

import re
import zipfile
from pathlib import Path

from safetensors import SafetensorError, safe_open

from gpt2eval.errors import UsageError, one_line
from gpt2eval.models.formats.files import load_json_object, path_inside, weight_files
from gpt2eval.models.formats.safe import check_archive
from gpt2eval.models.formats.weight_sets import check_one_set

WIDTHS = ("hidden_size", "n_embd", "d_model")
SIZES = (
    *WIDTHS,
    "vocab_size",
    "num_labels",
    "num_hidden_layers",
    "n_layer",
    "n_layers",
    "intermediate_size",
    "n_inner",
)


OTHER_WEIGHTS = ("*.safetensors", "*.bin", "*.h5", "*.msgpack")
# torch's own files, which other programs do not write: their checksums must be right
WEIGHTS = re.compile(r"(pytorch_model.*|adapter_model)\.bin")


def check_folder(folder: Path) -> None:
    """Check a folder of transformers before anything in it is loaded.

    Raises:
        UsageError: If an index names a file outside the folder, a weights file is incomplete or
            some of an index's files are missing, there are two sets of weights, or the config
            implies more weights than the weights files have bytes.
    """
    paths = weight_files(folder)
    for path in paths:
        _check_complete(path)
    for index in sorted(folder.glob("*.index.json")):
        _check_index(index)
    check_one_set(folder)
    # Only now: a config is at fault only if no bytes are missing from the weights.
    size = sum(path.stat().st_size for path in paths)
    config_path = folder / "config.json"
    if not config_path.is_file() or not size:
        return
    config = load_json_object(config_path)
    sizes = {key: config[key] for key in SIZES if isinstance(config.get(key), int)}
    width = max((sizes.get(key, 1) for key in WIDTHS), default=1)
    for key, value in sizes.items():
        # every row of an embedding and every layer has at least `width` weights of a byte
        needed = value if key in WIDTHS else value * max(width, 1)
        if value < 0 or max(needed, value) > size:
            raise UsageError(
                f"{config_path}: {key} is {value}; the weights have only {size} bytes; "
                "expected a size that fits them"
            )


def _check_complete(path: Path) -> None:
    """Raise UsageError for a weights file that is truncated.

    The header of a safetensors file states its length. An archive's directory is at its end.
    """
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt"):
                return
        with path.open("rb") as file:
            is_archive = file.read(4) == b"PK\x03\x04"
        if not is_archive:
            return
        if zipfile.is_zipfile(path):
            if WEIGHTS.fullmatch(path.name):
                check_archive(path)
            return
        problem = "no archive directory at its end"
    except (OSError, SafetensorError) as error:
        problem = one_line(error, 200)
    raise UsageError(f"{path}: incomplete or corrupt ({problem}); copy or download it again")


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _check_index(index: Path) -> None:
    """Raise UsageError if an index names files outside its folder, or only some of them exist.

    An index without any of its files is left over from a download of the other format.
    """
    content = load_json_object(index)
    weight_map = content.get("weight_map")
    names = weight_map.values() if isinstance(weight_map, dict) else ()
    if not isinstance(content.get("metadata", {}), dict) or not all(map(_is_text, names)):
        raise UsageError(
            f"{index}: expected an object as its metadata, and names of files in its weight_map"
        )
    paths = [path_inside(index.parent, name, index.name) for name in sorted(set(names))]
    missing = [path for path in paths if not path.is_file()]
    if not paths and index.name.startswith(("model.", "pytorch_model.")):
        raise UsageError(f"{index}: names no files; expected a weight_map of tensors to files")
    has_others = any(True for name in OTHER_WEIGHTS for _ in index.parent.glob(name))
    if missing and (len(missing) < len(paths) or not has_others):
        raise UsageError(
            f"{missing[0]}: no such file, but {index.name} names it ({len(missing)} of "
            f"{len(paths)} missing); copy or download it again"
        )
    is_read = not missing and not index.with_name(index.name.removesuffix(".index.json")).is_file()
    if is_read and "metadata" not in content:  # transformers reads it
        raise UsageError(f"{index}: no metadata; expected an object")
