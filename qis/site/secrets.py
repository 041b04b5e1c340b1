"""Reads secrets that a site's file names: from a private file or the environment."""

import os
from typing import Final

from qis._files import read_private
from qis.errors import KeyFileError
from qis.fingerprint.scheme import SECRET_SIZE
from qis.site.table import TomlTable

_LARGEST: Final = 4096


def passphrase(table: TomlTable) -> str | None:
    """Read the passphrase that `passphrase_env` or `passphrase_file` names; `None` if neither."""
    if "passphrase" in table:
        raise table.complaint(
            "passphrase",
            "does not belong into this file: put it into an environment variable (passphrase_env) "
            "or a file of its own (passphrase_file)",
        )
    if "passphrase_env" in table and "passphrase_file" in table:
        raise table.complaint("passphrase_env", "and passphrase_file are both there: give one")
    if "passphrase_env" in table:
        name = table.text("passphrase_env")
        if not os.environ.get(name):
            raise table.complaint("passphrase_env", f"names the variable {name}, which is not set")
        return os.environ[name]
    if "passphrase_file" in table:
        with table.located("passphrase_file"):
            return (
                read_private(table.path("passphrase_file"), _LARGEST).decode("utf-8").rstrip("\r\n")
            )
    return None


def consortium_secret(table: TomlTable) -> bytes | None:
    """Read the secret in `secret_file`: 32 bytes or 64 hexadecimal digits; `None` if not given."""
    if "secret_file" not in table:
        return None
    path = table.path("secret_file")
    with table.located("secret_file"):
        content = read_private(path, _LARGEST)
        if len(content) == SECRET_SIZE:
            return content
        try:
            secret = bytes.fromhex(content.decode("ascii").strip())
        except ValueError:
            secret = b""
        if len(secret) != SECRET_SIZE:
            raise KeyFileError(
                f"{path} holds neither {SECRET_SIZE} bytes nor {2 * SECRET_SIZE} hexadecimal "
                "digits: openssl rand -hex 32 makes a secret",
                field="secret_file",
                limit=SECRET_SIZE,
            )
        return secret
