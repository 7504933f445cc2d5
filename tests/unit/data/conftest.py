"""A server on this machine that stands for GitHub and Hugging Face, and fails as they do."""

import hashlib
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from renal.data import transfer
from renal.data.remote import CHALLENGES, IMAGES, Servers


class Official(ThreadingHTTPServer):
    """Serves files by path, and for a path, once each, the faults that a test lists for it.

    A fault is called with the handler, start and content of the answer and gives what to send.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.faults, self.asked = {}, {}, []

    @property
    def servers(self):
        url = f"http://127.0.0.1:{self.server_port}"
        return Servers(url, f"{url}/raw", url)

    def publish(self, challenge, folder, last=299):
        """List and serve a folder in KiTS19's layout, images apart from labels."""
        known = CHALLENGES[challenge]
        tree, images = [], []
        for path in sorted(folder.glob("**/*.*")):
            own, content = path.relative_to(folder), path.read_bytes()
            if path.name == "imaging.nii.gz":
                name = f"images/{own.parts[0]}.nii.gz"
                digest = hashlib.sha256(content).hexdigest()
                stored = {"oid": digest, "size": len(content), "pointerSize": 134}
                entry = {"type": "file", "oid": "0" * 40, "size": len(content), "path": name}
                images.append({**entry, "lfs": stored})
                self.files[f"/datasets/{IMAGES}/resolve/main/{name}"] = content
            else:
                # What `git hash-object` prints.
                digest = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
                name = f"{known.folder}/{own}"
                tree.append({"type": "blob", "path": name, "sha": digest, "size": len(content)})
                self.files[f"/raw/{known.repository}/{known.branch}/{name}"] = content
        tree.append({"type": "tree", "path": known.folder, "sha": "0" * 40})
        listing = f"/repos/{known.repository}/git/trees/{known.branch}?recursive=1"
        self.files[listing] = json.dumps({"sha": "0", "tree": tree, "truncated": False}).encode()
        # Two pages, as the real list has several.
        pages = f"/api/datasets/{IMAGES}/tree/main/images"
        self.files[pages] = json.dumps(images[:2]).encode()
        self.files[f"{pages}?cursor=2"] = json.dumps(images[2:]).encode()
        self.next_page = {pages: f"{self.servers.hub}{pages}?cursor=2"}

    def path_of(self, end):
        """The one path on the server that ends so."""
        (path,) = (path for path in self.files if path.endswith(end))
        return path

    def fail(self, end, *faults):
        self.faults[self.path_of(end)] = list(faults)

    def asked_for(self, end):
        """Where each request for a file began."""
        return [start for path, start in self.asked if path == self.path_of(end)]


class Handler(BaseHTTPRequestHandler):
    """Answers as a server of static files does, ranges included."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        content, self.start = self.server.files.get(self.path), 0
        if wanted := self.headers.get("Range"):
            self.start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        self.server.asked.append((self.path, self.start))
        if content is None:
            return self.reply(404, b"not here")
        if faults := self.server.faults.get(self.path):
            return faults.pop(0)(self, content)
        self.whole(content)

    def whole(self, content, **headers):
        if self.start:
            size = len(content)
            headers["Content-Range"] = f"bytes {self.start}-{size - 1}/{size}"
        self.reply(206 if self.start else 200, content[self.start :], **headers)

    def reply(self, status, body, length=None, **headers):
        self.send_response(status)
        if link := getattr(self.server, "next_page", {}).get(self.path):
            headers["Link"] = f'<{link}>; rel="next"'
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)
        if length is not None and length != len(body):
            self.close_connection = True


@pytest.fixture
def official(monkeypatch):
    """The server; nothing waits before it asks again."""
    monkeypatch.setattr(transfer, "BACKOFF", 0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Official()
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()
