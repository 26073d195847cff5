"""Servers that alerts go to, each a process of a test's own on a free port of loopback."""

from __future__ import annotations

import contextlib
import json
import subprocess
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.support import needs
from tests.support.wait import wait_until


class Api:
    """A server that speaks JSON over HTTP."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def get(self, path: str) -> Any:
        """Return what is at a path."""
        return self._ask("GET", path, None)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Send JSON to a path; return the answer."""
        return self._ask(method, path, None if body is None else json.dumps(body).encode())

    def _ask(self, method: str, path: str, body: bytes | None) -> Any:
        request = urllib.request.Request(self.url + path, body, method=method)
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read() or b"null")

    def answers(self, path: str) -> bool:
        """Whether something answers there."""
        try:
            self.get(path)
        except OSError:
            return False
        return True


class Web(Api):
    """A server that speaks anything but JSON."""

    def get(self, path: str) -> str:
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            text: str = answer.read().decode()
            return text


@contextlib.contextmanager
def alertmanager(folder: Path) -> Iterator[Api]:
    """Run Prometheus's Alertmanager, the real one."""
    program = needs.program("prometheus-alertmanager", "prometheus-alertmanager")
    (folder / "am.yml").write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
    port = needs.free_port()
    argv = [
        program,
        f"--config.file={folder}/am.yml",
        f"--storage.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    with _running(argv, folder, Api(port), "/api/v2/status") as api:
        yield api


@contextlib.contextmanager
def node_exporter(folder: Path) -> Iterator[Api]:
    """Run Prometheus's node_exporter, the real one, on the metrics in a folder."""
    program = needs.program("prometheus-node-exporter", "prometheus-node-exporter")
    port = needs.free_port()
    argv = [program, "--collector.disable-defaults", "--collector.textfile"]
    argv += [f"--collector.textfile.directory={folder}", f"--web.listen-address=127.0.0.1:{port}"]
    with _running(argv, folder, Web(port), "/metrics") as web:
        yield web


@contextlib.contextmanager
def elasticsearch(folder: Path) -> Iterator[Api]:
    """Run noida-db, which emulates Elasticsearch's REST API: it is not the real one."""
    found = find_spec("noida_db")
    if found is None or found.origin is None:
        needs.missing("noida-db is not installed (pip install noida-db)")
    program = Path(found.origin).parent / "noida-db"
    program.chmod(0o755)
    port = needs.free_port()
    argv = [str(program), "start", "--data-dir", str(folder), "--only", "elasticsearch"]
    argv += ["--elasticsearch-port", str(port)]
    with _running(argv, folder, Api(port), "/") as api:
        yield api


@contextlib.contextmanager
def _running(argv: list[str], folder: Path, api: Api, path: str) -> Iterator[Api]:
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=folder)
    try:
        wait_until(lambda: process.poll() is not None or api.answers(path), what=argv[0])
        assert process.poll() is None, (folder / "log").read_text()
        yield api
    finally:
        process.kill()
        process.wait()
