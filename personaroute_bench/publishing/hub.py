"""The Hub, through its own client: fetch small files, commit, verify, tag.

Works with huggingface_hub 1 (from 1.31) and 2. The address and the token are those of the client:
HF_ENDPOINT, HF_TOKEN, or who is logged in on this machine; the token is in no message.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from personaroute_bench.errors import BenchError, UsageError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

RepoType = Literal["dataset", "space"]
REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_AGAIN = "run the same command again: what is uploaded already is not sent twice"
_PATHS_A_REQUEST = 500


def check_repo_id(repo_id: str) -> str:
    """Return the id, or raise UsageError unless it is ``org/name`` as the Hub allows it."""
    bad = "--" in repo_id or ".." in repo_id or repo_id.endswith((".", "-", ".git"))
    if not REPO_ID.fullmatch(repo_id) or bad:
        raise UsageError(
            f"--repo-id {repo_id!r} is no id of the Hub; give org/name (letters, digits, '-', '_' "
            "and '.', no '--' or '..'), for instance my-name/routing-data"
        )
    return repo_id


@dataclass(frozen=True)
class Hub:
    """One repository on the Hub, for whoever holds a token."""

    api: HfApi
    repo_id: str
    repo_type: RepoType
    token: str

    @classmethod
    def connect(cls, repo_id: str, repo_type: RepoType = "dataset") -> Hub:
        """Prepare to write; no request is made.

        Raises:
            UsageError: there is no token.
        """
        from huggingface_hub import HfApi, get_token

        token = get_token()
        if not token:
            raise UsageError(
                "publishing needs a token of the Hub with the right to write: put it into the "
                "environment variable HF_TOKEN, or log in with: hf auth login"
            )
        api = HfApi(endpoint=endpoint(), token=token, library_name="personaroute-bench")
        return cls(api, repo_id, repo_type, token)

    @property
    def url(self) -> str:
        """The repository's page."""
        return f"{endpoint()}/{self.repo_type}s/{self.repo_id}"

    def create(self, *, private: bool | None) -> str:
        """Make the repository where it is not there; return the commit its main branch is at."""
        with self.errors("cannot open"):
            self.api.create_repo(
                self.repo_id,
                repo_type=self.repo_type,
                private=private,
                exist_ok=True,
                space_sdk="static" if self.repo_type == "space" else None,
            )
            return str(self.api.repo_info(self.repo_id, repo_type=self.repo_type).sha)

    def read(self, name: str, revision: str) -> bytes | None:
        """Return a file's bytes at a commit; None where there is no such file."""
        from huggingface_hub.errors import RemoteEntryNotFoundError

        with self.errors(f"cannot read {name} of"):
            try:
                path = self.api.hf_hub_download(
                    self.repo_id, name, repo_type=self.repo_type, revision=revision
                )
            except RemoteEntryNotFoundError:
                return None
            return Path(path).read_bytes()

    def commit(
        self,
        files: Mapping[str, Path | bytes],
        deleted: Sequence[str],
        *,
        message: str,
        parent: str,
        say: Callable[[str], None],
    ) -> str:
        """Change all files in one commit; return it (the parent where nothing changed).

        Large files are uploaded before the commit and stay on the Hub if it does not come to
        that, so the same command continues. The repository shows all of the change or nothing.
        """
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        operations: list[Any] = [
            CommitOperationAdd(name, data if isinstance(data, bytes) else str(data))
            for name, data in files.items()
        ]
        operations += [CommitOperationDelete(name, is_folder=False) for name in deleted]
        with (
            self.errors("cannot publish to"),
            quiet_client(),
            warnings.catch_warnings(record=True) as told,
        ):
            warnings.simplefilter("always")
            done = self.api.create_commit(
                self.repo_id,
                operations,
                commit_message=message,
                repo_type=self.repo_type,
                parent_commit=parent,
            )
        for warning in told:
            if issubclass(warning.category, UserWarning):
                say(f"the Hub's client: {self.redact(str(warning.message))}")
        return str(done.oid)

    def present(self, names: Sequence[str], revision: str) -> dict[str, Any]:
        """Return what the Hub says of those of the files that are there at a commit."""
        held: dict[str, Any] = {}
        with self.errors("cannot look at the files of"):
            for start in range(0, len(names), _PATHS_A_REQUEST):
                chunk = list(names[start : start + _PATHS_A_REQUEST])
                found = self.api.get_paths_info(
                    self.repo_id, chunk, revision=revision, repo_type=self.repo_type
                )
                held |= {entry.path: entry for entry in found}
        return held

    def verify(self, files: Mapping[str, Path | bytes], revision: str) -> None:
        """Compare size and hash of every file with what the Hub now holds.

        Raises:
            BenchError: a file is missing there, or another one.
        """
        held = self.present(list(files), revision)
        for name, data in files.items():
            wrong = _difference(held.get(name), data)
            if wrong:
                raise BenchError(
                    f"{self.url} holds {wrong} for {name} after the upload; {_AGAIN}, and if it "
                    "stays so, delete the file there first"
                )

    def tag(self, name: str, revision: str) -> None:
        """Give a commit a name.

        Raises:
            UsageError: the name is that of another commit already.
        """
        from huggingface_hub.errors import HfHubHTTPError

        with self.errors(f"cannot tag {name!r} in"):
            try:
                self.api.create_tag(
                    self.repo_id, tag=name, revision=revision, repo_type=self.repo_type
                )
            except HfHubHTTPError as error:
                if error.response.status_code != 409:
                    raise
                held = self.api.repo_info(self.repo_id, repo_type=self.repo_type, revision=name)
                if held.sha != revision:
                    raise UsageError(
                        f"--tag {name!r} names another version of {self.url} already; the data is "
                        "published, give it another tag"
                    ) from None

    @contextlib.contextmanager
    def errors(self, what: str) -> Iterator[None]:
        """Turn what the client raises into one message with a remedy and without the token."""
        with hub_errors(f"{what} {self.url}", self.redact):
            yield

    def redact(self, text: str) -> str:
        """Return text without the token."""
        return text.replace(self.token, "***")


def endpoint() -> str:
    """Return the Hub's address, without a slash at the end."""
    from huggingface_hub import constants

    return (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")


@contextlib.contextmanager
def hub_errors(what: str, redact: Callable[[str], str] = str) -> Iterator[None]:
    """Turn the client's errors into BenchErrors.

    Args:
        what: begins the message.
        redact: is applied to what the client says.
    """
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import httpx

    try:
        yield
        return
    except BenchError:
        raise
    except (HfHubHTTPError, httpx.HTTPError, OSError, ValueError, RuntimeError) as error:
        found = _explained(error, what, redact)
    # Not chained: the client's own error may quote what we have taken out.
    raise found from None


@contextlib.contextmanager
def quiet_client() -> Iterator[None]:
    """Show the client's progress bars on a terminal only, not in logs and pipes."""
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    if sys.stderr.isatty() or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def _explained(error: BaseException, what: str, redact: Callable[[str], str]) -> BenchError:
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, HfHubHTTPError | OfflineModeIsEnabled):
        cause = cause.__cause__  # an upload's own error is wrapped in one that says which file
    if isinstance(cause, OfflineModeIsEnabled):
        return UsageError(f"{what}: HF_HUB_OFFLINE forbids it; unset it")
    said, remedy = redact(_one_line(cause or error)), _AGAIN
    if isinstance(cause, HfHubHTTPError):
        status = cause.response.status_code
        if status in (401, 403):
            remedy = "check that the token (HF_TOKEN or hf auth login) may do that"
        elif status == 404:
            remedy = "check the id, and that the token may see it"
        elif status == 412:
            remedy = f"somebody else changed it meanwhile; {_AGAIN}"
    return BenchError(f"{what}: {said}; {remedy}")


def _difference(entry: Any, data: Path | bytes) -> str | None:
    """Say in words what the Hub has instead of the file; None where it is the same."""
    if entry is None or not hasattr(entry, "blob_id"):
        return "nothing"
    content = data if isinstance(data, bytes) else None
    size = len(content) if content is not None else Path(str(data)).stat().st_size
    held = entry.lfs.size if entry.lfs is not None else entry.size
    if held != size:
        return f"{held:,} bytes instead of {size:,}"
    if entry.lfs is not None:
        same = entry.lfs.sha256 == _digest(hashlib.sha256(), data)
    else:  # git's own name of a file's content
        same = entry.blob_id == _digest(hashlib.sha1(b"blob %d\0" % size), data)
    return None if same else "other bytes"


def _digest(digest: Any, data: Path | bytes) -> str:
    if isinstance(data, bytes):
        digest.update(data)
    else:
        with data.open("rb") as handle:
            while block := handle.read(1 << 20):
                digest.update(block)
    return str(digest.hexdigest())


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()).rstrip(".")
    return (text or type(error).__name__)[:400]
