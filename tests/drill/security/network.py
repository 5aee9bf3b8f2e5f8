"""Servers that lie: a certificate of their own, redirects to http, to a file, or without end."""

import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from drill.part import Findings
from gpt2eval.config.catalog import DEMO
from gpt2eval.data.download import UnreachableError, download
from gpt2eval.errors import UsageError
from gpt2eval.http import downgrade
from gpt2eval.models import registry
from gpt2eval.models.options import LoadOptions

TARGETS = ("file:///etc/passwd", "ftp://127.0.0.1/x", "/again", "data:text/plain,x", "//[bad/x")


def run_network(cases: int, seed: int, folder: Path) -> Findings:
    """Download from servers that must not be believed."""
    failures: list[str] = []
    for number in range(cases):
        target = TARGETS[number % len(TARGETS)]
        with _server(target) as port:
            problem = _refused(f"http://127.0.0.1:{port}/x", folder / f"{number}")
        failures += [f"case {number}: {target}: {problem}"] if problem else []
    if not downgrade("https://a.org/x", "http://a.org/x"):
        failures.append("a redirect from https to http is followed")
    return Findings(cases, failures + _tls(folder), {"TLS": "tested" if _openssl() else "skipped"})


def _tls(folder: Path) -> list[str]:
    """Return which clients accept a certificate that nobody signed; needs openssl."""
    if not _openssl():
        return []
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    make += ["-nodes", "-subj", "/CN=127.0.0.1", "-days", "1", "-addext"]
    make += ["subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(make, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    failures: list[str] = []
    with _server("/again", context) as port:
        if problem := _refused(f"https://127.0.0.1:{port}/x", folder / "tls", "certificate"):
            failures.append(f"a download over TLS: {problem}")
        try:
            registry.load_model(
                f"api:https://127.0.0.1:{port}#m", LoadOptions(tokenizer=str(DEMO / "model"))
            )
            failures.append("api: accepted a certificate that nobody signed")
        except UsageError as error:
            if "certificate" not in str(error).lower():
                failures.append(f"api: over TLS: {error}")
    return failures


def _openssl() -> bool:
    return shutil.which("openssl") is not None


def _refused(url: str, path: Path, reason: str = "") -> str:
    """Return why a download was not refused as expected, or ""."""
    try:
        download(url, path, None)
    except (UnreachableError, UsageError) as error:
        return "" if reason in str(error).lower() and not path.exists() else str(error)
    return "accepted"


@contextmanager
def _server(target: str, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """Serve redirects to a target; yield the port."""

    class Redirecting(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", target)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Redirecting)
    http.handle_error = lambda *_: None  # type: ignore[method-assign]
    if context:
        http.socket = context.wrap_socket(http.socket, server_side=True)
    threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield http.server_port
    finally:
        http.shutdown()
        http.server_close()
