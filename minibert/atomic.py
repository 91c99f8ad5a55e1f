"""Atomic writing: whoever opens the file finds all of the old content or all of the new."""

import os
import stat
import uuid
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError


def write_whole(file: Path, write: Callable[[Path], object]) -> None:
    """Call `write` with a temporary path beside `file`, then rename that to `file`.

    Renaming within one folder is atomic (POSIX rename), so a crash at any moment leaves either file
    whole. Raises OSError (disk full, no permission) with the old file untouched and nothing left.
    """
    # A name of its own: two processes may write the same file at the same time.
    temporary = file.with_name(f"{file.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        # O_EXCL: a new file, never one that a link leads to. Its permissions are those of every
        # new file here; safetensors would give it 0600, so that only its owner could read it.
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        permissions = stat.S_IMODE(os.fstat(descriptor).st_mode)
        os.close(descriptor)
        write(temporary)
        temporary.chmod(permissions)
        # Without this wait, a power failure could leave the new name on content that never
        # reached the disk.
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        os.replace(temporary, file)
    except SafetensorError as error:  # its own word for any trouble with the disk
        raise OSError(f"{file} could not be written: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)
