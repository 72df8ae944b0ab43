"""A Hub on 127.0.0.1: the endpoints that huggingface_hub uses to publish and to fetch.

    with FakeHub() as hub:
        ...  HF_ENDPOINT=hub.url, HF_TOKEN=hub.token, HF_HUB_DISABLE_XET=1 ...
        assert hub.files("org/name") == {"README.md": b"..."}

Commits are dictionaries from path to bytes; Parquet files go the way of large files (LFS).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from aiohttp import web

LARGE = ".parquet"
TOKEN = "hf_not_a_real_token_0123456789"


@dataclass
class Repository:
    """One repository and its history."""

    commits: list[str] = field(default_factory=list)
    trees: dict[str, dict[str, bytes]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    made_with: dict[str, Any] = field(default_factory=dict)

    def add(self, tree: dict[str, bytes]) -> str:
        sha = hashlib.sha1(f"{len(self.commits)} {sorted(tree)}".encode()).hexdigest()
        self.commits.append(sha)
        self.trees[sha] = tree
        return sha

    def resolve(self, revision: str) -> str | None:
        if revision == "main":
            return self.commits[-1]
        return self.tags.get(revision, revision if revision in self.trees else None)


class FakeHub:
    """The server; a context manager.

    Attributes:
        seen: "METHOD path" of every request.
        refuse: called with "METHOD path"; a status that it returns is the answer.
        uploads: SHA-256 of the large files that were sent, in order.
        damage: large files are stored with other bytes under the right name.
        echo_token: error answers repeat the token, as a careless proxy might.
    """

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.large: dict[str, bytes] = {}
        self.seen: list[str] = []
        self.uploads: list[str] = []
        self.refuse: Callable[[str], int | None] = lambda request: None
        self.damage = False
        self.echo_token = False
        self.token = TOKEN
        self._ready = threading.Event()

    def __enter__(self) -> FakeHub:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        assert self._ready.wait(10), "the fake Hub did not start"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join(10)

    def files(self, repo_id: str, kind: str = "datasets") -> dict[str, bytes]:
        """What the newest commit holds."""
        repository = self.repositories[kind, repo_id]
        return repository.trees[repository.commits[-1]]

    def put(self, repo_id: str, files: dict[str, bytes], kind: str = "datasets") -> None:
        """Commit as somebody else would, on the web page."""
        repository = self.repositories.setdefault((kind, repo_id), Repository())
        old = repository.trees[repository.commits[-1]] if repository.commits else {}
        repository.add({**old, **files})

    async def _serve(self) -> None:
        self._loop, self._done = asyncio.get_running_loop(), asyncio.Event()
        runner = web.ServerRunner(web.Server(self._answer, access_log=None), shutdown_timeout=0.5)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._ready.set()
        try:
            await self._done.wait()
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:  # noqa: PLR0911
        path = unquote(request.path)
        line = f"{request.method} {path}"
        self.seen.append(line)
        try:
            body = await request.content.read()
        except ConnectionError:  # the client was killed
            return web.Response()
        status = self.refuse(line)
        if status is not None:
            said = self.token if self.echo_token else "no"
            return web.json_response({"error": f"refused: {said}"}, status=status)
        parts = path.strip("/").split("/")
        writes = request.method == "POST" and "paths-info" not in parts
        if writes and request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.json_response({"error": "Invalid username or password."}, status=401)
        if parts[0] == "large":
            return self._upload(parts[1], body)
        if parts[:3] == ["api", "repos", "create"]:
            return self._create(json.loads(body))
        if parts[:2] == ["api", "validate-yaml"]:
            return web.json_response({"errors": [], "warnings": []})
        if parts[0] == "api":
            return self._api(parts[1], "/".join(parts[2:4]), parts[4:], request, body)
        kind, repo_id = parts[0], "/".join(parts[1:3]).removesuffix(".git")
        if parts[3:] == ["info", "lfs", "objects", "batch"]:
            return self._batch(json.loads(body))
        if parts[3] == "verify-large":
            there = json.loads(body)["oid"] in self.large
            return web.json_response({}, status=200 if there else 404)
        return self._resolve(kind, repo_id, parts[4], "/".join(parts[5:]), request)

    def _create(self, body: dict[str, Any]) -> web.Response:
        kind = f"{body.get('type', 'model')}s"
        repo_id = f"{body.get('organization') or 'somebody'}/{body['name']}"
        url = {"url": f"{self.url}/{kind}/{repo_id}"}
        if (kind, repo_id) in self.repositories:
            return web.json_response({"error": "exists", **url}, status=409)
        repository = Repository(made_with=body)
        repository.add({".gitattributes": b"*.parquet filter=lfs\n"})
        self.repositories[kind, repo_id] = repository
        return web.json_response(url)

    def _api(  # noqa: PLR0911
        self, kind: str, repo_id: str, rest: list[str], request: web.BaseRequest, body: bytes
    ) -> web.Response:
        repository = self.repositories.get((kind, repo_id))
        if repository is None:
            return _missing("RepoNotFound")
        what = rest[0] if rest else "revision"
        revision = repository.resolve(rest[1] if len(rest) > 1 else "main")
        if revision is None:
            return _missing("RevisionNotFound")
        tree = repository.trees[revision]
        if what == "revision":
            siblings = [{"rfilename": name} for name in tree]
            return web.json_response({"id": repo_id, "sha": revision, "siblings": siblings})
        if what == "preupload":
            files = [
                {
                    "path": entry["path"],
                    "uploadMode": "lfs" if entry["path"].endswith(LARGE) else "regular",
                    "shouldIgnore": False,
                    "oid": _oid(entry["path"], tree[entry["path"]])
                    if entry["path"] in tree
                    else None,
                }
                for entry in json.loads(body)["files"]
            ]
            return web.json_response({"files": files})
        if what == "paths-info":
            asked = json.loads(body) if body.startswith(b"{") else _form(body)
            found = [name for name in asked["paths"] if name in tree]
            return web.json_response([_entry(name, tree[name]) for name in found])
        if what == "tree":
            return web.json_response([_entry(name, data) for name, data in tree.items()])
        if what == "tag":
            return self._tag(repository, revision, json.loads(body)["tag"])
        assert what == "commit", request.path
        return self._commit(repository, repo_id, kind, body)

    def _tag(self, repository: Repository, revision: str, name: str) -> web.Response:
        if name in repository.tags:
            return web.json_response({"error": "Tag exists"}, status=409)
        repository.tags[name] = revision
        return web.json_response({})

    def _commit(self, repository: Repository, repo_id: str, kind: str, body: bytes) -> web.Response:
        tree = dict(repository.trees[repository.commits[-1]])
        for line in body.splitlines():
            key, value = (entry := json.loads(line))["key"], entry["value"]
            if key == "header" and value.get("parentCommit") != repository.commits[-1]:
                return web.json_response({"error": "changed meanwhile"}, status=412)
            if key == "file":
                tree[value["path"]] = base64.b64decode(value["content"])
            elif key == "lfsFile":
                tree[value["path"]] = self.large[value["oid"]]
            elif key == "deletedFile":
                del tree[value["path"]]
        sha = repository.add(tree)
        url = f"{self.url}/{kind}/{repo_id}/commit/{sha}"
        return web.json_response({"success": True, "commitOid": sha, "commitUrl": url})

    def _batch(self, body: dict[str, Any]) -> web.Response:
        objects = []
        for entry in body["objects"]:
            answer: dict[str, Any] = {"oid": entry["oid"], "size": entry["size"]}
            if entry["oid"] not in self.large:
                answer["actions"] = {
                    "upload": {"href": f"{self.url}/large/{entry['oid']}", "header": {}},
                    "verify": {"href": f"{self.url}/datasets/o/n/verify-large", "header": {}},
                }
            objects.append(answer)
        return web.json_response(
            {"transfer": "basic", "objects": objects},
            content_type="application/vnd.git-lfs+json",
        )

    def _upload(self, oid: str, body: bytes) -> web.Response:
        assert hashlib.sha256(body).hexdigest() == oid
        self.large[oid] = body[:-1] + b"!" if self.damage else body
        self.uploads.append(oid)
        return web.Response()

    def _resolve(
        self, kind: str, repo_id: str, revision: str, name: str, request: web.BaseRequest
    ) -> web.Response:
        repository = self.repositories.get((kind, repo_id))
        sha = repository.resolve(revision) if repository is not None else None
        if repository is None or sha is None:
            return _missing("RepoNotFound" if repository is None else "RevisionNotFound")
        data = repository.trees[sha].get(name)
        if data is None:
            return _missing("EntryNotFound", sha)
        headers = {"X-Repo-Commit": sha, "ETag": f'"{_oid(name, data)}"', "Accept-Ranges": "bytes"}
        wanted = request.headers.get("Range")
        if wanted is not None:
            start = int(wanted.removeprefix("bytes=").split("-")[0])
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            return web.Response(status=206, body=data[start:], headers=headers)
        return web.Response(body=data, headers=headers)


def _form(body: bytes) -> dict[str, list[str]]:
    from urllib.parse import parse_qs

    return parse_qs(body.decode())


def _missing(code: str, sha: str | None = None) -> web.Response:
    headers = {"X-Error-Code": code} | ({"X-Repo-Commit": sha} if sha else {})
    return web.json_response({"error": code}, status=404, headers=headers)


def _oid(name: str, data: bytes) -> str:
    if name.endswith(LARGE):
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _entry(name: str, data: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": name, "size": len(data)}
    entry["oid"] = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    if name.endswith(LARGE):
        entry["lfs"] = {"oid": _oid(name, data), "size": len(data), "pointerSize": 130}
    return entry
