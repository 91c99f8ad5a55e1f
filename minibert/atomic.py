"""Atomic writing: whoever opens the file finds all of the old content or all of the new."""

import os
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError


def write_whole(file: Path, write: Callable[[Path], object]) -> None:
    """Call `write` with a temporary path beside `file`, then rename that to `file`.

    Renaming within one folder is atomic (POSIX rename), so a crash at any moment leaves either file
    whole. Raises OSError (disk full, no permission) with the old file untouched and nothing left.
    """
    temporary = file.with_name(file.name + ".tmp")
    try:
        write(temporary)
        # Without this wait, a power failure could leave the new name on content that never
        # reached the disk.
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        os.replace(temporary, file)
    except SafetensorError as error:  # its own word for any trouble with the disk
        raise OSError(f"{file} could not be written: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)
