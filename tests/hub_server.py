"""A stand-in for the Hugging Face Hub on this machine's loopback, by the standard library.

It answers what huggingface_hub asks: resolve (HEAD and GET, ETag, Range, redirects), repository
information, trees. Faults are planted by the part of the path that they concern.
"""

import hashlib
import io
import json
import os
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import pandas as pd
import pytest
from huggingface_hub import constants

from tokenizer import download
from train.data.hub import EMOTION_LABELS

LARGE = (".safetensors", ".parquet")  # kept in LFS: fetched by a redirect, ETag is the sha256


class Fault(NamedTuple):
    """What goes wrong: a status, or one of drop, silent, cut, reset, stall, slow, wrong."""

    part: str  # of the path
    method: str  # HEAD, GET or "" for both
    kind: int | str
    headers: dict[str, str]


class Hub(ThreadingHTTPServer):
    """Repositories {"owner/name" or "datasets/owner/name": {commit: {filename: bytes}}}."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.store = f"http://localhost:{self.server_address[1]}"  # of large files: another host
        self.repositories: dict[str, dict[str, dict[str, bytes]]] = {}
        self.etags: dict[tuple[str, str, str], str] = {}  # (repository, commit, filename)
        self.redirects: dict[str, str] = {}  # old names
        self.is_xet = False  # whether large files are said to be in a Xet store, which is blocked
        self.faults: list[Fault] = []
        self.requests: list[str] = []  # "GET /path bytes=10-"
        self.stop = threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def add(self, name: str, files: dict[str, bytes], commit: str = "a" * 40) -> None:
        """A commit of a repository; the newest one is what `main` means."""
        self.repositories.setdefault(name, {})[commit] = files
        for filename, content in files.items():
            self.etags[name, commit, filename] = etag(filename, content)

    def fault(self, part: str, kind: int | str, times: int = 99, method: str = "", **headers: str):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.faults += [Fault(part, method, kind, named)] * times

    def handle_error(self, request, client_address) -> None:
        """Nothing is printed where a client goes away, which is what the tests make it do."""

    def close(self) -> None:
        self.stop.set()
        self.shutdown()
        self.server_close()


def point_to(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the client in this process, which was imported offline, go to this address, with short
    waits."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(download, "TIMEOUT", 0.5)
    monkeypatch.setattr(download, "WAITS", (0.1, 0.1, 0.1))


def emotion_files(n_rows: dict[str, int], **changed: pd.DataFrame) -> dict[str, bytes]:
    """The emotion set as the Hub has it: parquet files of that many rows with class ids."""
    files = {"README.md": b"a card that nobody needs"}
    for split, n in n_rows.items():
        texts = [f"i feel {EMOTION_LABELS[i % 6]} {split} {i}" for i in range(n)]
        rows = pd.DataFrame({"text": texts, "label": [i % 6 for i in range(n)]})
        file = io.BytesIO()
        changed.get(split, rows).to_parquet(file)
        files[f"split/{split}-00000-of-00001.parquet"] = file.getvalue()
    return files


def etag(filename: str, content: bytes) -> str:
    """The sha256 of a large file, else git's name for the content."""
    if filename.endswith(LARGE):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path).lstrip("/")
        wanted = self.headers.get("Range", "")
        self.server.requests.append(f"{self.command} /{path} {wanted}".strip())
        self.fault: int | str = ""
        for fault in self.server.faults:
            is_of_body = fault.kind in ("cut", "reset", "stall", "slow", "wrong")
            if is_of_body and (self.command == "HEAD" or wanted == "bytes=0-0"):
                continue
            if fault.part in path and fault.method in ("", self.command):
                self.server.faults.remove(fault)
                self.fault = fault.kind
                if isinstance(fault.kind, int):
                    self.answer(fault.kind, headers=fault.headers)
                    return
                break
        if self.fault == "silent":
            self.server.stop.wait(120)
        if self.fault in ("silent", "drop"):
            self.close_connection = True
            return
        self.route(path)

    def route(self, path: str) -> None:
        for old, new in self.server.redirects.items():
            if path.startswith((f"{old}/", f"api/models/{old}/")):
                self.answer(307, headers={"Location": "/" + path.replace(old, new, 1)})
                return
        if path.startswith("api/"):
            self.api(path.removeprefix("api/").removeprefix("models/"))
        elif path.startswith("cdn/"):
            self.file(path.removeprefix("cdn/"), is_stored=True)
        else:
            self.file(path, is_stored=False)

    def commit(self, name: str, revision: str) -> str | None:
        """The commit of a revision; answers with the Hub's error if there is none."""
        commits = self.server.repositories.get(name)
        if commits is None:
            self.answer(401, headers={"X-Error-Code": "RepoNotFound"})
        elif revision == "main":
            return list(commits)[-1]
        elif revision not in commits:
            self.answer(404, headers={"X-Error-Code": "RevisionNotFound"})
        else:
            return revision
        return None

    def api(self, path: str) -> None:
        is_tree = "/tree/" in path
        name, _, revision = path.partition("/tree/" if is_tree else "/revision/")
        commit = self.commit(name, revision or "main")
        if commit is None:
            return
        files = self.server.repositories[name][commit]
        entries = []
        for filename, content in files.items():
            tag = self.server.etags[name, commit, filename]
            entry = {"type": "file", "path": filename, "size": len(content), "oid": tag[:40]}
            if filename.endswith(LARGE):
                entry["lfs"] = {"oid": tag, "size": len(content), "pointerSize": 130}
            entries.append(entry)
        info = {"id": name.removeprefix("datasets/"), "sha": commit, "siblings": []}
        self.answer(200, json.dumps(entries if is_tree else info).encode())

    def file(self, path: str, is_stored: bool) -> None:
        name, _, rest = path.partition("/resolve/")
        revision, _, filename = rest.partition("/")
        commit = self.commit(name, revision)
        if commit is None:
            return
        headers = {"X-Repo-Commit": commit}
        content = self.server.repositories[name][commit].get(filename)
        if content is None:
            self.answer(404, headers={**headers, "X-Error-Code": "EntryNotFound"})
            return
        tag = self.server.etags[name, commit, filename]
        if filename.endswith(LARGE) and not is_stored:
            headers |= {"X-Linked-Etag": f'"{tag}"', "X-Linked-Size": str(len(content))}
            headers["Location"] = f"{self.server.store}/cdn/{name}/resolve/{commit}/{filename}"
            if self.server.is_xet:
                refresh = f"{self.server.url}/api/models/{name}/xet-read-token/{commit}"
                headers |= {"X-Xet-Hash": tag, "Link": f'<{refresh}>; rel="xet-auth"'}
            self.answer(302, headers=headers)
            return
        status, wanted = 200, self.headers.get("Range", "").removeprefix("bytes=")
        if wanted:
            start, _, end = wanted.partition("-")
            content = content[int(start) : int(end) + 1 if end else None]
            status = 206
        if self.fault == "wrong":
            content = bytes(255 - byte for byte in content)
        self.answer(status, content, {**headers, "ETag": f'"{tag}"'})

    def answer(self, status: int, content: bytes = b"", headers: dict[str, str] | None = None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.fault not in ("cut", "reset", "stall", "slow"):
            self.wfile.write(content)
            return
        half = len(content) // 2
        self.wfile.write(content[:half])
        self.wfile.flush()
        if self.fault in ("cut", "reset"):
            if self.fault == "reset":  # no farewell, but RST
                no_linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)
                os.close(self.connection.detach())
            self.close_connection = True
        elif self.fault == "stall":
            self.server.stop.wait(120)
            self.close_connection = True
        else:
            time.sleep(1)
            self.wfile.write(content[half:])
