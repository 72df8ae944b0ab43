"""Show a built site in the browser of this machine."""

from __future__ import annotations

from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from personaroute_bench.errors import UsageError

from .page import FILES

HOST = "127.0.0.1"
_TYPES = {"html": "text/html; charset=utf-8", "json": "application/json"}


def make_server(site: Path, port: int = 0) -> ThreadingHTTPServer:
    """Return a server of the site's two files and nothing else, on the loopback address only.

    Args:
        site: the folder that `build` wrote.
        port: 0 takes a free one; `server_port` says which.

    Raises:
        UsageError: there is no page in the folder, or the port is taken.
    """
    if not (site / FILES[0]).is_file():
        raise UsageError(f"{site} has no {FILES[0]}; make it with bench leaderboard build")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = {"/": FILES[0]}.get(self.path, self.path.removeprefix("/"))
            path = site / name if name in FILES else None
            if path is None or not path.is_file():
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            body = path.read_bytes()
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", _TYPES[name.rsplit(".")[-1]])
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    try:
        return ThreadingHTTPServer((HOST, port), Handler)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(
            f"cannot listen on {HOST}, port {port}: {reason}; give another --port"
        ) from error
