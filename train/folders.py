"""Folders that other runs, or other people, may have a hand in."""

import contextlib
import itertools
import os
import shutil
import stat
import time
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has no such locks: there, two runs can share a folder
    fcntl = None  # type: ignore[assignment]

LARGE = 50_000  # texts of a split, whose token ids are kept in the user's cache folder; see there


def cache_folder(no_cache: bool = False) -> Path | None:
    """The user's cache folder for this program; None where it is not wanted or there is no home.

    By the XDG Base Directory Specification, which has relative paths ignored."""
    if no_cache:
        return None
    root = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(root):
        root = os.path.expanduser("~/.cache")
    return Path(root) / "minibert" if os.path.isabs(root) else None


def lock(folder: Path) -> int | None:
    """Lock a folder: a file descriptor, the lock's life; None where there are no locks.

    The lock is the operating system's. It ends with the process, however that ends, and a copy of
    the folder is free. Raises FileExistsError where another run has it."""
    if fcntl is None:
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise FileExistsError(
            f"--output-dir {folder}: another run is writing to this folder; name another one"
        ) from None
    except OSError:  # a file system without locks
        os.close(descriptor)
        return None
    return descriptor


def free_name(command: str) -> str:
    """runs/COMMAND-DATE-TIME, with -2, -3, ... where there is such a folder."""
    name = time.strftime(f"runs/{command}-%Y%m%d-%H%M%S")
    taken = (n for n in itertools.count(2) if not Path(f"{name}-{n}").exists())
    return f"{name}-{next(taken)}" if Path(name).exists() else name


def make_folder(folder: Path) -> Path:
    """Create a new folder of this name, or of this name and a number where another run that began
    in the same second has taken it."""
    for number in itertools.count(1):
        candidate = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        with contextlib.suppress(FileExistsError):
            candidate.mkdir(parents=True)
            return candidate
    raise AssertionError("count never ends")


def check_plain(path: Path) -> None:
    """Raises ValueError for a symbolic link, pipe or device among the files that a run replaces: it
    leads out of the folder, or reading it never ends."""
    paths = [path]
    if path.is_dir() and not path.is_symlink():
        paths += [
            Path(top) / name for top, folders, files in os.walk(path) for name in folders + files
        ]
    for found in paths:
        if os.path.lexists(found):
            mode = found.lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise ValueError(f"{found} is a link or a device, not a file; name another folder")


def remove(path: Path) -> None:
    """Delete a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def inode(path: Path) -> int | None:
    """The number of the file itself, whatever its name; None where there is none."""
    return path.stat().st_ino if path.exists() else None
