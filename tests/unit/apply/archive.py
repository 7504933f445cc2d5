"""A small archive that speaks DICOMweb on the loopback, and can be made to misbehave."""

import json
import threading
from email import message_from_bytes
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

from pydicom import dcmread

BOUNDARY = "limit"


class Archive(ThreadingHTTPServer):
    """Holds instances by UID; `sends`, `refuses`, `status`, `silent` and `packed` are its moods."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.instances, self.stored = {}, {}
        self.sends, self.refuses, self.status = None, False, None
        self.packed = False  # in a way that it cannot unpack
        self.silent = threading.Event()
        self.silent.set()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/dicom-web"


def encoded(data):
    stream = BytesIO()
    data.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def answer(self, body, kind="application/dicom+json", status=200):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def mood(self):
        self.server.silent.wait(20)
        if self.server.status:
            self.answer(b"{}", status=self.server.status)
        return self.server.status

    def do_GET(self):
        if self.mood():
            return
        path = self.path.partition("?")[0].strip("/").split("/")[1:]
        files = [d for d in self.server.instances.values() if d.StudyInstanceUID == path[1]]
        if path[-1] == "series":
            series = {d.SeriesInstanceUID: d.Modality for d in files}
            found = [
                {
                    "0020000E": {"vr": "UI", "Value": [uid]},
                    "00080060": {"vr": "CS", "Value": [kind]},
                }
                for uid, kind in series.items()
            ]
        else:
            files = [d for d in files if d.SeriesInstanceUID == path[3]]
            found = [{"00080018": {"vr": "UI", "Value": [d.SOPInstanceUID]}} for d in files]
        if path[-1] in ("series", "instances"):
            self.answer(
                json.dumps(
                    found if "offset=0" in self.path or "offset" not in self.path else []
                ).encode()
            )
            return
        if self.server.packed and "transfer-syntax=*" not in self.headers["Accept"]:
            self.answer(b"{}", status=500)
            return
        parts = [
            f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
            + encoded(d)
            + b"\r\n"
            for d in files[: self.server.sends]
        ]
        kind = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
        self.answer(b"".join(parts) + f"--{BOUNDARY}--".encode(), kind)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.mood():
            return
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        (part,) = message_from_bytes(head + body, policy=HTTP).iter_parts()
        data = dcmread(BytesIO(part.get_payload(decode=True)))
        uid = {"00081155": {"vr": "UI", "Value": [data.SOPInstanceUID]}}
        if self.server.refuses:
            failed = uid | {"00081197": {"vr": "US", "Value": [0xA700]}}
            answer = {"00081198": {"vr": "SQ", "Value": [failed]}}
            self.answer(json.dumps(answer).encode(), status=202)
            return
        self.server.stored[data.SOPInstanceUID] = data
        self.answer(json.dumps({"00081199": {"vr": "SQ", "Value": [uid]}}).encode())
