"""Files of the Hugging Face Hub: from its cache if they are there, else fetched, else refused.

Every refusal tells its cause.

huggingface_hub does the transfers. Around it: one short question first, because its own retries
take minutes where nothing answers; a few more tries; one sentence in the place of its log lines.
"""

import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

TIMEOUT = 7.0  # seconds that the Hub has for its first answer
WAITS = (1.0, 2.0, 3.0)  # seconds before the second, third and fourth try ...
PATIENCE = 12.0  # ... which are not begun later than this after the first failure
LONGEST_WAIT = 30.0  # seconds, where the Hub itself says for how long it wants no more questions
SAY_EVERY = 20.0  # seconds between the lines about a download that is not on a terminal
T = TypeVar("T")


class Repository(NamedTuple):
    """A repository of the Hub at a revision: a branch, a tag or a commit."""

    name: str  # owner/name
    revision: str = "main"
    kind: str = "model"  # or "dataset"

    def __str__(self) -> str:
        return self.name if self.revision == "main" else f"{self.name}@{self.revision[:12]}"

    @property
    def cache(self) -> Path:
        """Its folder in the cache: refs/ (revision -> commit), snapshots/COMMIT/, blobs/."""
        from huggingface_hub import constants
        from huggingface_hub.file_download import repo_folder_name

        folder = repo_folder_name(repo_id=self.name, repo_type=self.kind)
        return Path(constants.HF_HUB_CACHE, folder)

    @property
    def page(self) -> str:
        """The address of its page for people."""
        from huggingface_hub import constants

        return f"{constants.ENDPOINT}/{'datasets/' if self.kind == 'dataset' else ''}{self.name}"

    @property
    def commit(self) -> str:
        """The commit that the cache knows for the revision, else the revision itself. With it, all
        files are of one commit, even if the branch has moved between two of them."""
        known = self.cache / "refs" / self.revision
        return known.read_text().strip() if known.is_file() else self.revision


def get_file(repository: Repository, filename: str) -> Path | None:
    """The file in the cache, fetched if need be; None if the repository has no such file. That is
    remembered in the cache too, so that it is asked once. Raises OSError saying why not."""
    from huggingface_hub import try_to_load_from_cache

    known = try_to_load_from_cache(
        repository.name, filename, revision=repository.commit, repo_type=repository.kind
    )
    if known is None:
        return fetch_file(repository, filename)
    return Path(known) if isinstance(known, str) else None


def fetch_file(repository: Repository, filename: str, again: bool = False) -> Path | None:
    """The file from the Hub; with again=True even if it is in the cache. Raises like get_file."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    def transfer() -> Path | None:
        try:
            path = hf_hub_download(
                repository.name,
                filename,
                revision=repository.commit,
                repo_type=repository.kind,
                force_download=again,
            )
        except LocalEntryNotFoundError:  # a child of the next class, but it means: unreachable
            raise
        except EntryNotFoundError:
            return None
        return Path(path)

    return with_retries(transfer, repository, filename)


def get_files(repository: Repository, patterns: list[str]) -> Path:
    """The folder in the cache with all files whose names fit one of the patterns (`split/*.csv`);
    fetched if need be. Raises OSError saying why not."""
    from huggingface_hub import get_cached_repo_tree, snapshot_download
    from huggingface_hub.errors import CachedRepoTreeNotFoundError, LocalEntryNotFoundError

    def snapshot(**options: Any) -> Path:
        folder = snapshot_download(
            repository.name,
            repo_type=repository.kind,
            revision=repository.commit,
            allow_patterns=patterns,
            **options,
        )
        return Path(folder)

    try:  # without the list of all files, nobody knows whether those in the cache are complete
        get_cached_repo_tree(repository.name, repo_type=repository.kind, revision=repository.commit)
        return snapshot(local_files_only=True)
    except (CachedRepoTreeNotFoundError, LocalEntryNotFoundError):
        pass
    return with_retries(lambda: snapshot(max_workers=2), repository, " and ".join(patterns))


def with_retries(transfer: Callable[[], T], repository: Repository, what: str) -> T:
    """What `transfer` returns, tried again after trouble that may pass. Raises OSError."""
    first_failure = 0.0
    for wait in (*WAITS, None):
        is_answered, asked = False, time.monotonic()
        try:
            with plain_http(), progress_lines(repository, what):
                ask(repository, what)
                is_answered = True
                return transfer()
        except Exception as error:  # the Hub's errors and its HTTP library's share no other base
            first_failure = first_failure or time.monotonic()
            is_late = time.monotonic() - first_failure > PATIENCE
            # A name may stand for several addresses, and each of them is waited for.
            is_late |= not is_answered and time.monotonic() - asked > PATIENCE
            # A transfer that stalls has been resumed five times by huggingface_hub: a minute.
            is_late |= is_answered and "Timeout" in type(error).__name__
            if wait is None or is_late or not may_pass(error):
                raise explained(error, repository, what) from error
            time.sleep(max(wait, retry_after(error)))
    raise AssertionError("the last round returns or raises")


def ask(repository: Repository, what: str) -> None:
    """One question with a limit, which shows what is wrong: the network, the name, a permission."""
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError, FileMetadataError
    from huggingface_hub.utils import get_session

    filename = "README.md" if "*" in what else what
    url = hf_hub_url(
        repository.name, filename, revision=repository.commit, repo_type=repository.kind
    )
    try:
        found = get_hf_file_metadata(url, timeout=TIMEOUT)
    except EntryNotFoundError:
        return  # the Hub answers, that is all; the transfer will note that there is no such file
    if found.commit_hash is None:  # as the login page of a network answers to everything
        raise FileMetadataError("what answers there is not a Hugging Face Hub")
    if not found.location.startswith(constants.ENDPOINT + "/"):
        # Large files come from a store on another host, which a firewall may block.
        first_byte = {"Range": "bytes=0-0"}
        with get_session().stream("GET", found.location, headers=first_byte, timeout=TIMEOUT):
            pass


@contextmanager
def plain_http() -> Iterator[None]:
    """Inside, huggingface_hub logs nothing, draws bars on a terminal only, and fetches large files
    by plain HTTP. Its other way, the Xet store, is silent for minutes where a firewall blocks it.
    Nor does it report what tools its users have: 3 seconds more where nothing answers. A connection
    that is reset in the middle of a file is taken up again at that place, as it does by itself only
    where a connection is closed or stalls."""
    from huggingface_hub import constants, file_download
    from huggingface_hub.utils import disable_progress_bars, logging

    before = constants.HF_HUB_DISABLE_XET, constants.HF_HUB_DISABLE_TELEMETRY
    verbosity, http_get = logging.get_verbosity(), file_download.http_get

    def resuming_get(url: str, temp_file: BinaryIO, **options: Any) -> None:
        while True:
            start = temp_file.tell()
            try:
                return http_get(url, temp_file, **options | {"resume_size": start})
            except Exception as error:
                if type(error).__name__ != "ReadError" or temp_file.tell() <= start:
                    raise

    constants.HF_HUB_DISABLE_XET = constants.HF_HUB_DISABLE_TELEMETRY = True
    logging.set_verbosity(logging.CRITICAL)
    file_download.http_get = resuming_get
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with nullcontext() if sys.stderr.isatty() else disable_progress_bars():
                yield
    finally:
        constants.HF_HUB_DISABLE_XET, constants.HF_HUB_DISABLE_TELEMETRY = before
        logging.set_verbosity(verbosity)
        file_download.http_get = http_get


@contextmanager
def progress_lines(repository: Repository, what: str) -> Iterator[None]:
    """Off a terminal, where no progress bar is drawn, a line on stderr every SAY_EVERY seconds."""
    done = threading.Event()
    start = time.monotonic()

    def say() -> None:
        while not done.wait(SAY_EVERY):
            parts = [path.stat().st_size for path in repository.cache.glob("blobs/*.incomplete")]
            seconds = time.monotonic() - start
            print(
                f"fetching {what} of {repository}: {sum(parts) / 1e6:.0f} MB, {seconds:.0f} s",
                file=sys.stderr,
                flush=True,
            )

    if not sys.stderr.isatty():
        threading.Thread(target=say, daemon=True).start()
    try:
        yield
    finally:
        done.set()


def may_pass(error: Exception) -> bool:
    """Whether to try again: after no answer, a broken connection, an overloaded Hub, a file of the
    wrong length; not after a refusal, nor where the disk is what is wrong."""
    from huggingface_hub.errors import FileMetadataError, HTTPError, OfflineModeIsEnabled

    status = status_of(error)
    if status is not None:
        return status in (408, 429) or status >= 500
    if isinstance(error, OfflineModeIsEnabled) or isinstance(error.__cause__, OfflineModeIsEnabled):
        return False
    if isinstance(error, FileMetadataError | HTTPError):
        return True
    return isinstance(error, OSError) and error.errno is None


def status_of(error: BaseException | None) -> int | None:
    """The HTTP status that an error, or its cause, is about."""
    response = getattr(error, "response", None)
    if response is not None:
        return int(response.status_code)
    return None if error is None else status_of(error.__cause__)


def retry_after(error: Exception) -> float:
    """The seconds of a Retry-After header, with a limit."""
    response = getattr(error, "response", None)
    wish = "" if response is None else response.headers.get("Retry-After", "")
    return min(float(wish), LONGEST_WAIT) if wish.isdigit() else 0.0


def explained(error: Exception, repository: Repository, what: str) -> OSError:
    """The error that tells the cause in one sentence, and what to do about it."""
    import shutil  # here, because only a full disk needs it

    from huggingface_hub import constants
    from huggingface_hub.errors import GatedRepoError, OfflineModeIsEnabled, RevisionNotFoundError

    kind = "data set" if repository.kind == "dataset" else "model"
    start = f"cannot fetch {what} of {repository}"
    status = status_of(error)
    if isinstance(error, GatedRepoError):
        return PermissionError(
            f"{start}: the {kind} is gated; ask for access at {repository.page}, "
            "then log in with `hf auth login`"
        )
    if isinstance(error, RevisionNotFoundError):
        return FileNotFoundError(
            f"{start}: not found; there is no revision {repository.revision!r}; "
            f"see {repository.page}/commits/main"
        )
    if status in (401, 404):
        return FileNotFoundError(
            f"{start}: not found; there is no {kind} {repository.name} on the Hub, or it is "
            "private: check the name, or log in with `hf auth login`"
        )
    if status == 403:
        return PermissionError(f"{start}: no permission (403 Forbidden); see {repository.page}")
    if status is not None:
        return ConnectionError(
            f"{start}: the Hub answers with HTTP status {status}; try again later"
        )
    cause = error.__cause__ or error
    if isinstance(error, OfflineModeIsEnabled) or isinstance(cause, OfflineModeIsEnabled):
        return ConnectionError(
            f"{start}: not in the cache {constants.HF_HUB_CACHE}, and HF_HUB_OFFLINE is set; "
            "unset it, or give a folder"
        )
    if isinstance(error, OSError) and error.errno is not None:  # this machine, not the network
        free = shutil.disk_usage(nearest_existing(repository.cache)).free / 1e6
        return type(error)(
            f"{start}: cannot write to the cache {error.filename or constants.HF_HUB_CACHE}: "
            f"{os.strerror(error.errno)} ({free:.0f} MB free); "
            "make room or get permission there, or set HF_HOME to another folder"
        )
    reason = str(cause).strip().partition("\n")[0] or type(cause).__name__
    return ConnectionError(
        f"{start}: not in the cache, and {host_of(error)} cannot be reached ({reason}); "
        "check the network, or give a folder"
    )


def host_of(error: BaseException | None) -> str:
    """The server that an error is about: the Hub, or the store of its large files."""
    from huggingface_hub import constants

    request = getattr(error, "_request", None)
    if request is not None:
        return f"{request.url.scheme}://{request.url.netloc.decode()}"
    return constants.ENDPOINT if error is None else host_of(error.__cause__)


def nearest_existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return folder if folder.exists() or folder == folder.parent else nearest_existing(folder.parent)
