"""Accounts and certificates from files, as nats-py's options."""

import ssl
from pathlib import Path
from typing import Any

from qis.errors import InputError, KeyFileError


def options_of(
    *,
    ca: Path | None = None,
    certificate: Path | None = None,
    key: Path | None = None,
    credentials: Path | None = None,
) -> dict[str, Any]:
    """Make nats-py's options.

    Parameters
    ----------
    ca
        Certificates of those who vouch for the server (PEM); default: the system's.
    certificate, key
        This site's certificate and its private key (PEM), if the server asks for one.
    credentials
        A credentials file (JWT and nkey seed), or a file that holds an nkey's seed only.

    Raises
    ------
    InputError
        If a certificate has no key or the other way round.
    KeyFileError
        If a file cannot be read or used.

    """
    if (certificate is None) is not (key is None):
        raise InputError("certificate and key belong together: give both", field="certificate")
    options: dict[str, Any] = {}
    if ca is not None or certificate is not None:
        try:
            context = ssl.create_default_context(cafile=None if ca is None else str(ca))
            if certificate is not None and key is not None:
                context.load_cert_chain(str(certificate), str(key))
        except (OSError, ssl.SSLError) as error:
            raise KeyFileError(
                f"certificate or key cannot be used: {error}", field="certificate"
            ) from error
        options["tls"] = context
    if credentials is not None:
        try:
            is_seed = credentials.read_bytes().lstrip().startswith(b"SU")
        except OSError as error:
            raise KeyFileError(f"{credentials}: {error.strerror}", field="credentials") from error
        options["nkeys_seed" if is_seed else "user_credentials"] = str(credentials)
    return options
