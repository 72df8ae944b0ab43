"""The scripts of benchmarks/ are importable here, as they are from their own folder."""

from __future__ import annotations

import sys

from places import ROOT

sys.path.append(str(ROOT / "benchmarks"))
