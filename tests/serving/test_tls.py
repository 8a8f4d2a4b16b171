"""What a server needs for TLS is looked at before it starts, and said in words when it is not so."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from certificates import make_certificate
from cryptography.hazmat.primitives.serialization import PrivateFormat

from charkha.serving.tls import Tls, UnusableTls, load_tls


def test_no_files_are_no_tls() -> None:
    assert load_tls(None, None) is None


def test_a_certificate_and_its_key_are_taken(tmp_path: Path) -> None:
    made = make_certificate(tmp_path)
    assert load_tls(made.certificate, made.key) == Tls(made.certificate, made.key)


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_an_encrypted_key_is_refused_with_the_way_to_use_it(tmp_path: Path, form: PrivateFormat) -> None:
    made = make_certificate(tmp_path, b"open sesame", form)
    with pytest.raises(UnusableTls, match="expected a key that is not encrypted") as refused:
        load_tls(made.certificate, made.key)
    shown = re.search(r"\((umask .*)\)$", str(refused.value))
    assert shown is not None
    plain = tmp_path / "plain.pem"
    command = shown[1].replace("/dev/shm/server-key.pem", str(plain))
    subprocess.run(["sh", "-c", command], check=True, env={**os.environ, "PASSWORD": "open sesame"})
    assert load_tls(made.certificate, plain) == Tls(made.certificate, plain)
    assert plain.stat().st_mode & 0o077 == 0


def test_files_that_will_not_do_are_named(tmp_path: Path) -> None:
    made, other = make_certificate(tmp_path), make_certificate(tmp_path, name="other")
    nothing, text = tmp_path / "nothing.pem", tmp_path / "text.pem"
    text.write_bytes(b"\xff hello")
    cases = [
        (made.certificate, None, "got no --tls-key"),
        (None, made.key, "got no --tls-cert"),
        (nothing, made.key, f"--tls-cert: expected a file that can be read, got {nothing}: No such file"),
        (made.certificate, tmp_path, "Is a directory"),
        (text, made.key, "--tls-cert: expected a certificate in PEM"),
        (made.certificate, made.certificate, "--tls-key: expected a private key in PEM"),
        (made.certificate, other.key, "to belong together; OpenSSL says: key values mismatch"),
    ]
    for certificate, key, message in cases:
        with pytest.raises(UnusableTls) as refused:
            load_tls(certificate, key)
        assert message in str(refused.value)


def test_a_key_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    made = make_certificate(tmp_path)
    made.key.write_text(made.key.read_text()[:80])
    with pytest.raises(UnusableTls, match="OpenSSL says"):
        load_tls(made.certificate, made.key)
