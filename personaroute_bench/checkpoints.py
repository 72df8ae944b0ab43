"""Trained routers on disk, and in use: `load_router("model").route("What is …?", user="u1")`.

A checkpoint is a folder of two files, model.json (what was trained, settings, ids) and
model.safetensors (arrays). Nothing in it is unpickled or evaluated: the router's kind is looked up
in a fixed list, arrays are checked against the shapes that the kind expects.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.errors import BenchError, UsageError, did_you_mean
from personaroute_bench.files import atomic_path, read_json, write_json

Arrays = dict[str, NDArray[Any]]

FORMAT = "personaroute-bench router"
VERSION = 1
# Short names of the routers that can be saved.
KINDS = ("explicit-utility", "personalized", "personalized-graph")
# A JSON file larger than this is not one that `save` wrote.
MOST_JSON_BYTES = 256 * 2**20


class Saveable(Protocol):
    """A router that can be written to a checkpoint, and scores single decisions."""

    user_ids: NDArray[np.str_]
    llm_ids: NDArray[np.str_]
    order: NDArray[np.int64]

    def state(self) -> tuple[dict[str, Any], Arrays]:
        """Return settings and ids (JSON), and arrays."""
        ...

    @classmethod
    def from_state(cls, meta: Mapping[str, Any], arrays: Arrays, device: str) -> Saveable:
        """Return the router; KeyError, ValueError or TypeError where the state does not fit."""
        ...

    def scores(self, users: Any, embeddings: Any, tasks: Any) -> NDArray[np.float32]:
        """Return [u, n, M]."""
        ...

    def expectations(self, embeddings: Any, tasks: Any) -> dict[str, NDArray[np.float64]]:
        """Return [n, M] expected `performance`, `cost` and `cost_usd`; NaN where unknown."""
        ...

    def reason(self, user: int) -> dict[str, float]:
        """Return what a user (a row, -1 unknown) weighs, by name: weights of the utility."""
        ...


@dataclass(frozen=True)
class Decision:
    """Which LLM for whom, and why. Mappings are from LLM id, best first."""

    user: str
    query: str
    choice: str
    scores: dict[str, float]
    expected_performance: float | None
    """Of the choice, in [0, 1]; None where nothing is known."""
    expected_cost_usd: float | None
    task: str | None
    task_source: str
    """``given``, or ``predicted`` from the embedding."""
    why: str

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return dict(self.__dict__)


@dataclass
class TrainedRouter:
    """A router with what it takes to use it: an embedder, tasks, and how it was trained."""

    kind: str
    router: Any
    task_ids: list[str]
    centroids: NDArray[np.float32]
    """[T, D] unit mean embeddings of the tasks' past queries."""
    embedder: str
    training: dict[str, Any]
    """Strategy, feedback, seed, … and `task_accuracy`."""

    @property
    def user_ids(self) -> list[str]:
        """Users that the router knows."""
        known: list[str] = self.router.user_ids.tolist()
        return known

    def predict_tasks(self, embeddings: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return [n] the task whose centroid is nearest by cosine."""
        nearest: NDArray[np.int64] = (embeddings @ self.centroids.T).argmax(axis=1)
        return nearest

    def route(
        self,
        queries: str | Sequence[str],
        user: str | Sequence[str],
        *,
        task: str | Sequence[str | None] | None = None,
        candidates: Sequence[str] | None = None,
    ) -> list[Decision]:
        """Decide for n queries, each of one user.

        Args:
            queries: one or n texts.
            user: one, or n; a user without a past is answered as the average user.
            task: one, or n; None: predicted from the embedding.
            candidates: LLM ids to choose from; None: all.

        Raises:
            UsageError: an unknown task or candidate, or lists of different length.
        """
        texts = [queries] if isinstance(queries, str) else list(queries)
        users = [user] * len(texts) if isinstance(user, str) else list(user)
        given = [task] * len(texts) if task is None or isinstance(task, str) else list(task)
        if not len(texts) == len(users) == len(given):
            raise UsageError(
                f"{len(texts)} queries, {len(users)} users and {len(given)} tasks; give one user "
                "and task for all queries, or one for each"
            )
        if not texts:
            return []
        columns = self._columns(candidates)
        return self._decide(texts, users, given, columns)

    def _decide(
        self, texts: list[str], users: list[str], given: list[str | None], columns: list[int]
    ) -> list[Decision]:
        from personaroute_bench.embeddings import make_embedder

        embeddings = make_embedder(self.embedder).embed(texts)
        if embeddings.shape[1] != self.centroids.shape[1]:
            raise UsageError(
                f"the embedder {self.embedder} gives {embeddings.shape[1]} dimensions, the router "
                f"was trained on {self.centroids.shape[1]}; train it again"
            )
        tasks = self._tasks(given, embeddings)
        place = {name: i for i, name in enumerate(self.user_ids)}
        rows = np.asarray([place.get(name, -1) for name in users], np.int64)
        scores = np.empty((len(texts), len(self.router.llm_ids)), np.float64)
        for row in np.unique(rows):  # a user's queries together
            mine = np.flatnonzero(rows == row)
            one = np.asarray([row])
            scores[mine] = self.router.scores(one, embeddings[mine], tasks[mine])[0]
        expected = self.router.expectations(embeddings, tasks)
        allowed = [m for m in self.router.order.tolist() if m in set(columns)]
        result = []
        for i, (text, name) in enumerate(zip(texts, users, strict=True)):
            ranked = sorted(allowed, key=lambda m: -scores[i, m])
            best = ranked[0]
            result.append(
                Decision(
                    user=name,
                    query=text,
                    choice=str(self.router.llm_ids[best]),
                    scores={str(self.router.llm_ids[m]): float(scores[i, m]) for m in ranked},
                    expected_performance=_known(expected["performance"][i, best]),
                    expected_cost_usd=_known(expected["cost_usd"][i, best]),
                    task=self.task_ids[tasks[i]],
                    task_source="predicted" if given[i] is None else "given",
                    why=self._why(int(rows[i])),
                )
            )
        return result

    def _columns(self, candidates: Sequence[str] | None) -> list[int]:
        known = self.router.llm_ids.tolist()
        if candidates is None:
            return list(range(len(known)))
        for name in candidates:
            if name not in known:
                raise UsageError(f"unknown candidate {name!r}{did_you_mean(name, known)}")
        if not candidates:
            raise UsageError("no candidates; name at least one, or leave the option out")
        return [known.index(name) for name in candidates]

    def _tasks(self, given: list[str | None], embeddings: NDArray[np.float32]) -> NDArray[np.int64]:
        tasks = self.predict_tasks(embeddings)
        for i, name in enumerate(given):
            if name is not None:
                if name not in self.task_ids:
                    raise UsageError(f"unknown task {name!r}{did_you_mean(name, self.task_ids)}")
                tasks[i] = self.task_ids.index(name)
        return tasks

    def _why(self, row: int) -> str:
        weights = self.router.reason(row)
        whom = "the average user (this one has no past here)" if row < 0 else "this user"
        strongest = sorted(weights.items(), key=lambda item: -abs(item[1]))[:3]
        said = ", ".join(f"{name} {weight:+.2f}" for name, weight in strongest)
        return f"weights of {whom}, for a typical difference between responses: {said}"

    def save(self, path: str | Path) -> None:
        """Write the checkpoint folder, its JSON last."""
        from safetensors.numpy import save_file

        path = Path(path)
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path} is a file; give a folder for the model")
        state, arrays = self.router.state()
        arrays = {name: np.ascontiguousarray(a) for name, a in arrays.items()}
        arrays["centroids"] = self.centroids
        with atomic_path(path / "model.safetensors") as temporary:
            save_file(arrays, temporary)
        head = {
            "format": FORMAT,
            "version": VERSION,
            "router": self.kind,
            "embedder": self.embedder,
            "task_ids": self.task_ids,
            "training": self.training,
            "state": state,
        }
        write_json(path / "model.json", head)


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def load_router(path: str | Path, device: str = "cpu") -> TrainedRouter:
    """Read a checkpoint that `bench train` wrote.

    Raises:
        UsageError: there is none, or it is broken, foreign, or does not fit together.
    """
    path = Path(path)
    if not (path / "model.json").is_file():
        raise UsageError(f"{path} holds no trained router; make one with: bench train --out {path}")
    if (path / "model.json").stat().st_size > MOST_JSON_BYTES:
        raise UsageError(f"{path}/model.json is too large to be one of ours")
    head = read_json(path / "model.json")
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise UsageError(f"{path}/model.json is not a router of this project")
    if head.get("version") != VERSION:
        raise UsageError(
            f"{path} has version {head.get('version')!r}, this program reads {VERSION}; train again"
        )
    kind = head.get("router")
    if kind not in KINDS:
        raise UsageError(f"{path} holds a router {kind!r}{did_you_mean(str(kind), KINDS)}")
    arrays = _read_arrays(path / "model.safetensors")
    from personaroute_bench.evaluation.registry import load

    try:
        centroids = arrays.pop("centroids")
        router = load(kind).from_state(head["state"], arrays, device)
        trained = TrainedRouter(
            kind=kind,
            router=router,
            task_ids=[str(name) for name in head["task_ids"]],
            centroids=centroids,
            embedder=str(head["embedder"]),
            training=dict(head["training"]),
        )
        if centroids.ndim != 2 or len(centroids) != len(trained.task_ids):
            raise ValueError(f"{centroids.shape} centroids of {len(trained.task_ids)} tasks")
    except BenchError:
        raise
    except (KeyError, ValueError, TypeError, IndexError, RuntimeError, AttributeError) as error:
        first = (str(error).splitlines() or [""])[0][:200]
        raise UsageError(
            f"{path}: model.json and model.safetensors do not fit together "
            f"({type(error).__name__}: {first}); train again"
        ) from error
    return trained


def _read_arrays(path: Path) -> Arrays:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        arrays: Arrays = load_file(path)
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise UsageError(f"cannot read {path}: {error}; train again") from error
    for name, array in arrays.items():
        if array.dtype.kind == "f" and np.isinf(array).any():
            raise UsageError(f"{path}: the array {name!r} holds infinite numbers; train again")
    return arrays


def dumps(value: Any) -> str:
    """Return JSON on one line, NaN refused."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
