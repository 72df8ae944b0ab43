"""Which published CSV files belong together: one configuration, its splits, its strategy."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from personaroute_bench.errors import UsageError, did_you_mean
from personaroute_bench.interchange.arrow_rows import TableFile
from personaroute_bench.schemas import SPLITS

_SPLIT_FILE = re.compile(r"router_user_(train|val|test)_data(_\w+)?\.csv", re.IGNORECASE)
_RAW_FILE = re.compile(r"router_user_data(_\w+)?\.csv", re.IGNORECASE)
_OURS = {"train": "train", "val": "validation", "test": "test"}


@dataclass(frozen=True, slots=True)
class Published:
    """The files of one published configuration."""

    config: str
    files: dict[str, Path]
    """Split to file; ``all`` to the one file that holds every split."""

    @property
    def official(self) -> bool:
        """Whether the splits are those of the files."""
        return "all" not in self.files


def find_files(path: Path, config: str | None) -> Published:
    """Find the files of one configuration.

    Args:
        path: a folder with files named as they are published, or one CSV with all splits.
        config: for instance ``Router_user_data_v1``; None: the only one there is.

    Raises:
        UsageError: nothing there, several configurations, or a split is missing.
    """
    if path.is_file():
        return _single_file(path, config)
    if not path.is_dir():
        raise UsageError(f"no file or folder {path}; give the folder of the published CSV files")
    if config == "LLM_judge_results":
        raise UsageError(
            "LLM_judge_results lists the judge's replies, which are the column best_answer of "
            "Router_user_data_v2 already; give --config Router_user_data_v2"
        )
    found = _configs(path)
    if not found:
        raise UsageError(
            f"{path} has no file named like router_user_train_data_v1.csv or "
            "router_user_data_v1.csv; give the folder of the published CSV files, or one CSV"
        )
    if config is None and len(found) > 1:
        raise UsageError(f"{path} holds {', '.join(found)}; choose one with --config")
    if config is not None and config not in found:
        raise UsageError(f"{path} has no --config {config!r}{did_you_mean(config, list(found))}")
    name = config or next(iter(found))
    files = found[name]
    missing = [split for split in SPLITS if split not in files]
    if not missing:
        return Published(name, {split: files[split] for split in SPLITS})
    if "all" in files and len(missing) == len(SPLITS):
        return Published(name, {"all": files["all"]})
    raise UsageError(f"{path}: {name} has no file for {', '.join(missing)}; all three are read")


def _single_file(path: Path, config: str | None) -> Published:
    if _SPLIT_FILE.fullmatch(path.name):
        raise UsageError(
            f"{path} is one split of several; give the folder {path.parent}, so that train, val "
            "and test are read together"
        )
    if config is not None:
        raise UsageError(f"--config {config} chooses among files of a folder, {path} is a file")
    return Published(path.stem, {"all": path})


def _configs(folder: Path) -> dict[str, dict[str, Path]]:
    """Return the configurations in a folder: name to its files by split."""
    found: dict[str, dict[str, Path]] = {}
    for file in sorted(folder.iterdir()):
        split, raw = _SPLIT_FILE.fullmatch(file.name), _RAW_FILE.fullmatch(file.name)
        if split:
            name = f"Router_user_data{split[2] or ''}"
            found.setdefault(name, {})[_OURS[split[1].lower()]] = file
        elif raw:
            found.setdefault(f"Router_user_data{raw[1] or ''}", {})["all"] = file
    return found


def strategy_of(file: TableFile) -> str:
    """Return the strategy that a file's columns tell.

    Raises:
        UsageError: neither, or both.
    """
    judged = "best_answer" in file.columns
    rewarded = "reward" in file.columns
    if judged == rewarded:
        raise UsageError(
            f"{file.path} has {'both' if judged else 'neither'} of the columns 'reward' "
            "(multi-cost-efficiency) and 'best_answer' (LLM judge); give a file with one of them"
        )
    return "llm_judge" if judged else "multi_cost_efficiency"
