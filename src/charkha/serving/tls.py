"""What a server proves itself with: a certificate and its private key, read and matched before anything starts."""

import socket
import ssl
from pathlib import Path

from attrs import frozen

_PEM = "in PEM (-----BEGIN …)"


class UnusableTls(Exception):
    """A certificate and key that a server could not be started with; says which file, and what to do."""


@frozen
class Tls:
    """Files in PEM that belong together. certificate: the server's own first, then its chain. key: not encrypted."""

    certificate: Path
    key: Path


def load_tls(certificate: Path | None, key: Path | None) -> Tls | None:
    """Return what the options name, None for neither.

    Raises UnusableTls when one is missing or cannot be read, and when the key is encrypted or not the certificate's.
    """
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        missing = "--tls-cert" if certificate is None else "--tls-key"
        raise UnusableTls(f"expected both a certificate and its private key for TLS, got no {missing}")
    texts = {option: _text(option, file) for option, file in (("--tls-cert", certificate), ("--tls-key", key))}
    _require_kind("--tls-cert", certificate, texts["--tls-cert"], "CERTIFICATE-----", "a certificate")
    _require_kind("--tls-key", key, texts["--tls-key"], "PRIVATE KEY-----", "a private key")
    _require_plain(key, texts["--tls-key"])
    tls = Tls(certificate, key)
    _require_match(tls)
    return tls


def _text(option: str, file: Path) -> str:
    try:
        return file.read_text("utf-8", "replace")
    except OSError as error:
        raise UnusableTls(f"{option}: expected a file that can be read, got {file}: {error.strerror}") from None


def _require_kind(option: str, file: Path, text: str, mark: str, what: str) -> None:
    if mark not in text:
        raise UnusableTls(f"{option}: expected {what} {_PEM}, got {file}, which has none")


def _require_plain(file: Path, text: str) -> None:
    # Granian has an option for a key's password, and reads no form of encrypted key that OpenSSL writes (2.8.7).
    if "ENCRYPTED" in text:
        raise UnusableTls(
            f"--tls-key: expected a key that is not encrypted, got {file}, which is. Keep it as it is, and write it in "
            "plain where only the server can read it, in memory say, each time before it starts: (umask 077; openssl "
            f"pkey -in {file} -passin env:PASSWORD -out /dev/shm/server-key.pem)"
        )


def _require_match(tls: Tls) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(tls.certificate, tls.key)
    except ssl.SSLError as error:
        reason = (error.reason or "unreadable").replace("_", " ").lower()
        raise UnusableTls(
            f"expected the certificate {tls.certificate} and the private key {tls.key} to belong together; OpenSSL "
            f"says: {reason}"
        ) from None


def wrapped(connection: socket.socket) -> ssl.SSLSocket:
    """Return a connection to a server on this machine, encrypted, whatever names its certificate has."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(connection)
