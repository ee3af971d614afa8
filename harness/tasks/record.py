"""A finished result as a file among its run's files, until the database has it.

Whatever happens between the end of a task and its row (a lock, a full disk, a lost driver): the next command on the
database takes the file in, and nothing is trained again.
"""

from __future__ import annotations

import contextlib

from harness.errors import ArtifactsError
from harness.tasks.artifacts import RunFiles
from harness.tasks.result import Result
from harness.tasks.wire import LONGEST, BadMessage, decode, encode
from harness.utils.files import write_bytes

RECORD = "result.json"


def keep_record(files: RunFiles, result: Result) -> None:
    """Write a finished result among its run's files.

    Raises:
        OSError: it cannot be written.
        ArtifactsError: the store of the files cannot be written.
    """
    files.local.mkdir(parents=True, exist_ok=True)
    write_bytes(files.local / RECORD, encode(result))
    files.keep(RECORD)


def read_record(files: RunFiles) -> Result | None:
    """The result that the database does not have yet; None where there is none that ended well and can be read.

    Raises:
        ArtifactsError: the store of the files cannot be read.
    """
    path = files.fetch(RECORD)
    try:
        if path.stat().st_size > LONGEST:
            return None
        message = decode(path.read_bytes())
    except (OSError, BadMessage):
        return None
    return message if isinstance(message, Result) and message.state == "ok" else None


def forget_record(files: RunFiles) -> None:
    """Remove the file: the database has the result, or it is made anew."""
    with contextlib.suppress(OSError, ArtifactsError):
        files.forget(RECORD)
