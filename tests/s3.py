"""A real S3 server on this machine, whose answers tests can replace."""

from __future__ import annotations

import http.client
import itertools
import logging
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import pyarrow.fs as pa_fs
import pytest
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

from tests.processes import HANGING_S

KEY, SECRET = "AKIATESTACCESSKEY", "tOp+s3cr3t/of=the*test"
SECRETS = (KEY, SECRET, quote(SECRET, safe=""), "s3cr3t", "endpoint_override")
ACCOUNT = "123456789012"
LEASES = "_consentgate/leases/"
SIGNED = f"AWS4-HMAC-SHA256 Credential={KEY}/20260101/us-east-1/s3/aws4_request"
DENIED = f"""<?xml version="1.0"?><Error><Code>SignatureDoesNotMatch</Code>
<Message>The signature does not match.</Message><AWSAccessKeyId>{KEY}</AWSAccessKeyId>
<StringToSign>GET {SECRET}</StringToSign></Error>"""
"""What S3 answers when it refuses, words included that nobody should repeat."""

Step = Callable[["Request"], int | None]


@dataclass(frozen=True)
class Request:
    """A request of a client."""

    method: str
    path: str
    query: str
    signature: str

    @property
    def is_write(self) -> bool:
        """Whether it is one of those that change what is stored."""
        return self.method in ("PUT", "POST", "DELETE")


@dataclass
class Server:
    """A server whose answers tests can replace.

    Attributes:
        before: sees each request first, and may answer it with a status.
        seen: all requests since it was emptied.
    """

    port: int
    before: Step | None = None
    seen: list[Request] = field(default_factory=list)

    def wrapped(self, app: Any) -> Any:
        """The server's application, below this hand."""

        def answer(environ: dict[str, Any], start_response: Any) -> Any:
            if "HTTP_X_ASIDE" in environ:
                return app(environ, start_response)
            path = environ["PATH_INFO"].encode("latin-1").decode()
            signature = environ.get("HTTP_AUTHORIZATION", "")
            request = Request(environ["REQUEST_METHOD"], path, environ["QUERY_STRING"], signature)
            self.seen.append(request)
            status = self.before(request) if self.before is not None else None
            if status is None:
                return app(environ, start_response)
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response(f"{status} No", [("Content-Type", "application/xml")])
            return [DENIED.encode() if status == 403 and request.method != "HEAD" else b""]

        return answer


@dataclass(frozen=True)
class Store:
    """A bucket of its own, with objects by their keys."""

    server: Server
    bucket: str

    def uri(self, path: str, user: str = f"{KEY}:{quote(SECRET, safe='')}@") -> str:
        """A folder in the bucket; wildcards stay as they are."""
        place = f"{self.bucket}/{quote(path, safe='/=*[]')}"
        return f"s3://{user}{place}?{self.options}"

    def filesystem(self, **options: Any) -> pa_fs.S3FileSystem:
        """The server, as pyarrow sees it."""
        return pa_fs.S3FileSystem(
            access_key=KEY,
            secret_key=SECRET,
            endpoint_override=f"localhost:{self.server.port}",
            scheme="http",
            region="us-east-1",
            **options,
        )

    @property
    def options(self) -> str:
        """The settings by which pyarrow reaches this server."""
        return f"endpoint_override=localhost:{self.server.port}&scheme=http&region=us-east-1"

    def ask(self, method: str, key: str, body: bytes = b"") -> bytes:
        """Ask the server past this hand's hearing, as some other client."""
        connection = http.client.HTTPConnection("localhost", self.server.port, timeout=HANGING_S)
        headers = {
            "Authorization": SIGNED,
            "Content-Type": "application/octet-stream",
            "X-Aside": "yes",
        }
        place = f"/{self.bucket}" + (f"/{quote(key)}" if key and key[0] != "?" else key)
        with closing(connection):
            connection.request(method, place, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        assert answer.status < 300, (method, key, answer.status)
        return content

    def put(self, files: Mapping[str, bytes], below: str) -> None:
        """Store objects."""
        for name, content in files.items():
            self.ask("PUT", f"{below}/{name}", content)

    def objects(self, below: str) -> dict[str, bytes]:
        """The objects that are stored below a folder, without pyarrow's marks of folders."""
        prefix = quote(f"{below}/", safe="")
        listing = ElementTree.fromstring(self.ask("GET", f"?list-type=2&prefix={prefix}"))
        keys = [str(each.text) for each in listing.iter() if each.tag.endswith("}Key")]
        return {
            key.removeprefix(f"{below}/"): self.ask("GET", key) for key in keys if key[-1] != "/"
        }

    def etag(self, key: str) -> str:
        """An object's etag."""
        return str(self.stored(key).etag).strip('"')

    def age(self, key: str, seconds: float) -> None:
        """Let an object have been stored so long ago."""
        self.stored(key).last_modified -= timedelta(seconds=seconds)

    def stored(self, key: str) -> Any:
        """The server's own record of an object."""
        return s3_backends[ACCOUNT]["aws"].buckets[self.bucket].keys[key]

    def written(self, below: str = "out") -> set[str]:
        """The objects written or deleted below a folder, without leases and marks of folders."""
        place = f"/{self.bucket}/{below}/"
        paths = {request.path for request in self.server.seen if request.is_write}
        names = {p.removeprefix(place) for p in paths if p.startswith(place) and p[-1] != "/"}
        return {name for name in names if not name.startswith(LEASES)}


@contextmanager
def serve() -> Iterator[Server]:
    """A server on loopback, while the block runs."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it tells every request to stderr
    moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    moto.start()
    server = Server(moto.get_host_and_port()[1])
    assert moto._server is not None
    moto._server.app = server.wrapped(moto._server.app)
    yield server
    server.before = None
    moto.stop()
    moto._server.server_close()


buckets = itertools.count()


def new_bucket(server: Server) -> Store:
    """An empty bucket, and a server that answers as it should."""
    store = Store(server, f"bucket-{next(buckets)}")
    server.before = None
    store.ask("PUT", "")
    server.seen.clear()
    return store


@contextmanager
def fails(kind: type[BaseException], match: str) -> Iterator[pytest.ExceptionInfo[BaseException]]:
    """The block raises such an error, of which no part tells a secret."""
    with pytest.raises(kind, match=match) as raised:
        yield raised
    told = "".join(traceback.format_exception(raised.value)) + repr(vars(raised.value))
    assert not [secret for secret in SECRETS if secret in told.replace(__file__, "")]


def refuse(status: int, *methods: str, path: str = "") -> Step:
    """A server that refuses."""

    def answer(request: Request) -> int | None:
        is_meant = (not methods or request.method in methods) and path in request.path
        return status if is_meant else None

    return answer
