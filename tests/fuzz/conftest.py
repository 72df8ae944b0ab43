"""How hard the fuzz tests try: ``quick`` in CI, ``long`` under ``make fuzz``.

FUZZ_EXAMPLES sets the number of inputs a property; without it the quick profile runs, the same
inputs every time, so that CI never fails by the luck of the draw.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

COMMON = {
    "deadline": None,  # `outcome.attempt` has a limit of its own
    "suppress_health_check": list(HealthCheck),
}
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "0"))
settings.register_profile(
    "fuzz-quick",
    max_examples=20,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    **COMMON,  # type: ignore[arg-type]
)
settings.register_profile("fuzz-long", max_examples=EXAMPLES or 2000, **COMMON)  # type: ignore[arg-type]
