"""Ray's token: whoever can reach a cluster's ports and has its token, or needs none, runs code as its user.

Ray listens on every interface of a machine. From 2.59 on, a Ray that is started here asks for a token unless it is told
otherwise; the file in which it keeps one can be read by everybody, as Ray writes it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from pathlib import Path

# Read by Ray: whether a token is asked for, the token itself, and the file that has it.
MODE, TOKEN, TOKEN_FILE = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"


def ask_for_tokens() -> None:
    """Have Ray ask for its token, unless the user has set something else. To be called before Ray is imported.

    A Ray that is imported already has read it, and keeps to its own default.
    """
    if "ray" not in sys.modules:
        os.environ.setdefault(MODE, "token")


def token_file() -> Path | None:
    """Where Ray reads its token; None where it is in the environment."""
    if os.environ.get(TOKEN):
        return None
    given = os.environ.get(TOKEN_FILE)
    return Path(given).expanduser() if given else Path.home() / ".ray" / "auth_token"


def prepare_token(create: bool) -> None:
    """Have a token that nobody else on this machine can read.

    Args:
        create: whether one is made where there is none: for a Ray that this process starts. Where it cannot be kept in
            the user's folder, it is this process's own.
    """
    path = token_file()
    if path is None or os.environ.get(MODE, "token").lower() != "token":
        return
    if create and not path.exists():
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):  # another command was faster
                number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(number, "w") as file:
                    file.write(secrets.token_hex(32))
        except OSError:
            os.environ[TOKEN] = secrets.token_hex(32)
            return
    with contextlib.suppress(OSError):  # another user's, who decides
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)


def warning_of(address: str) -> str:
    """What to know before a cluster is joined."""
    asked = os.environ.get(MODE, "token").lower() == "token"
    who = "has its token" if asked else "can reach it (RAY_AUTH_MODE is not `token`)"
    return (
        f"warning  --address {address}: whoever {who} can run code as you on every node, and your networks run there; "
        "keep it behind a firewall (docs/security.md)"
    )
