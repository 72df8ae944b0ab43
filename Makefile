# Two commands do it all on a fresh machine: `make generate` and `make test`.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
OUT ?= personaroute-data
USERS ?= 1000
EXAMPLES ?= 1000

.PHONY: help generate evaluate test lint types check fuzz soak lock audit bench-clients clean

help:  ## say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# The light core: enough to generate and evaluate, no torch and no litellm.
$(VENV)/.core: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e .
	touch $@

$(VENV)/.dev: $(VENV)/.core
	$(PIP) -e '.[dev,dask,litellm,gnn,report]'
	touch $@

generate: $(VENV)/.core  ## set up, then make the benchmark: 1,000 users x 240 queries x 10 LLMs
	$(BIN)/bench generate --users $(USERS) --out $(OUT)

evaluate: generate  ## ... and evaluate the bundled routers on it
	$(BIN)/bench evaluate $(OUT)

test: $(VENV)/.dev  ## set up, then run the tests
	$(BIN)/python -m pytest -n auto --dist loadgroup

lint: $(VENV)/.dev  ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev  ## mypy, strict
	$(BIN)/python -m mypy

check: lint types test  ## what CI runs

fuzz: $(VENV)/.dev  ## the fuzz tests with EXAMPLES inputs a property, not twenty
	FUZZ_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest -n auto tests/fuzz

soak: $(VENV)/.dev  ## 20,000 calls under fire, killed five times, audited to the cent
	$(BIN)/python -u tests/soak/soak.py

$(VENV)/tools/.done: tools/requirements.txt | $(BIN)/python
	$(PYTHON) -m venv $(VENV)/tools
	$(VENV)/tools/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

lock: $(VENV)/tools/.done  ## write requirements.lock anew: every version with its hashes
	$(VENV)/tools/bin/uv pip compile pyproject.toml tools/gnn-without-torch.in -c constraints.txt \
		--extra litellm --extra dask --extra report --extra reasoning-gym --extra dev \
		--generate-hashes --universal --python-version 3.11 --no-header --no-annotate \
		--quiet --output-file requirements.lock

audit: $(VENV)/tools/.done  ## hijacked releases, code at start-up, published advisories
	$(VENV)/tools/bin/python tools/audit.py \
		--site $$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

clean:  ## remove the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
