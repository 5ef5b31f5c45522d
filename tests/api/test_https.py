"""The Python SDK over TLS: it talks to the server whose certificate it believes, and to no other."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import mvm
import pytest

import serving
from conftest import Serve


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate of this machine that signs itself, and its key."""
    made, key = folder / f"{name}.pem", folder / f"{name}.key"
    subject = ["-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    files = ["-keyout", str(key), "-out", str(made)]
    request = ["openssl", "req", "-x509", "-nodes", "-days", "1", *curve, *subject, *files]
    subprocess.run(request, check=True, capture_output=True)
    return made, key


@pytest.fixture
def sealed(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The certificate of a server that the SDK is pointed to."""
    its_own, key = certificate(tmp_path, "server")
    served = serve("--certificate", str(its_own), "--key", str(key), tcp=True, scheme="https")
    monkeypatch.setenv("MVM_URL", served.url)
    monkeypatch.setenv("MVM_TOKEN", serving.TOKEN)
    return its_own


def test_the_right_certificate(sealed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(sealed))
    with mvm.Sandbox.create() as sandbox:
        assert sandbox.commands.run(["cat"], stdin="sealed").stdout == b"sealed"
        with sandbox.commands.start("echo streamed; exit 3") as process:
            assert process.wait(timeout=20).exit_code == 3
        large = b"x" * (3 << 20)
        sandbox.files.write("/root/large", large)
        assert sandbox.files.read("/root/large") == large


async def _asynchronously() -> bytes:
    async with await mvm.AsyncSandbox.create() as sandbox:
        return (await sandbox.commands.run(["echo", "sealed"])).stdout


def test_the_right_certificate_asynchronously(sealed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(sealed))
    assert asyncio.run(_asynchronously()) == b"sealed\n"


def test_another_certificate_and_none_are_refused(
    sealed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, _ = certificate(tmp_path, "other")
    for believed in (str(other), None):
        if believed is None:
            monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        else:
            monkeypatch.setenv("SSL_CERT_FILE", believed)
        with pytest.raises(mvm.TransportError) as caught:
            mvm.Sandbox.host()
        assert "CERTIFICATE_VERIFY_FAILED" in " ".join(caught.value.causes)


def test_the_token_is_wanted_over_tls_too(sealed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(sealed))
    monkeypatch.setenv("MVM_TOKEN", "another-token-than-that-one")
    with pytest.raises(mvm.PolicyDenied):
        mvm.Sandbox.host()


def test_plain_http_is_not_spoken_to_a_tls_server(sealed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MVM_URL", os.environ["MVM_URL"].replace("https:", "http:"))
    with pytest.raises(mvm.TransportError):
        mvm.Sandbox.host()
