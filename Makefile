# Everything runs in a virtual environment of its own, with the versions in requirements.lock and requirements-dev.lock.
PYTHON ?= python3
VENV ?= .venv
PORT ?= 8000
# TORCH=no leaves torch and ultralytics out: enough for `make test-quick`.
TORCH ?= yes
# The CPU build of torch is a tenth of the CUDA build. TORCH_INDEX= (empty) takes the package index's own build.
TORCH_INDEX ?= $(shell nvidia-smi >/dev/null 2>&1 || echo https://download.pytorch.org/whl/cpu)
TRAINING_VENV ?= .venv-training
AUDIT_VENV ?= .venv-audit
BENCH_VENV ?= .venv-bench
ROUNDS ?= 4
SCENES ?= var/training
SEED ?= 1000000
COUNT ?= 3000
SIZE ?= 640
HOURS ?= 2
RATE ?= 0.0012

BIN := $(VENV)/bin
EXTRAS := $(if $(filter no,$(TORCH)),,ultralytics)
COMPILE := uv pip compile --universal --upgrade --no-header pyproject.toml
TRAIN := nice $(TRAINING_VENV)/bin/python -m
pip = $(1)/python -m pip --disable-pip-version-check -qq
PIP := $(call pip,$(BIN))
MANAGE := $(BIN)/python manage.py
ANSWERS := $(BIN)/python -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=5)'

.DEFAULT_GOAL := help
.PHONY: help run test test-quick test-database soak demo bench evaluate train lint lint-scripts audit format lock

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 15

# With `pip` of $(1), if $(2) is not empty. An index of PyTorch's that does not answer within 5 seconds is left out.
define install_torch
index="$(if $(2),$(TORCH_INDEX))"; test -z "$$index" || if $(ANSWERS) "$$index/torch/" 2>/dev/null; \
	then $(call pip,$(1)) install -c requirements.lock --no-deps --index-url "$$index" torch torchvision; \
	else echo "$$index does not answer: torch comes from the package index."; fi
endef

# What runs.
$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' \
		|| { echo "ObjectVision needs Python 3.11, 3.12 or 3.13: make PYTHON=python3.12"; exit 1; }
	@echo "Installing into $(VENV), once ..."
	@$(PYTHON) -m venv $(VENV)
	@$(call install_torch,$(BIN),$(EXTRAS))
	@$(PIP) install -c requirements.lock -e '.$(EXTRAS:%=[%])'
	@touch $@

# What checks and tests it, on top.
$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.lock
	@echo "Installing what tests need into $(VENV), once ..."
	@$(PIP) install -c requirements-dev.lock -e '.[dev$(EXTRAS:%=,%)]'
	@touch $@

run: $(VENV)/.installed ## Set up, then serve on PORT (8000)
	@$(MANAGE) setup
	@exec $(MANAGE) serve --port $(PORT)

demo: $(VENV)/.installed ## Send a photo through a server of its own and show what was found
	@$(MANAGE) demo

# An environment for each peer, since they ask for different versions. One that fails is shown with its error.
PEERS := $(patsubst benchmarks/peers/%.txt,$(BENCH_VENV)/%/.tried,$(wildcard benchmarks/peers/*.txt))
bench: $(VENV)/.installed-dev $(PEERS) ## Measure against peers, in ROUNDS (4); MEASURES="batch single"
	@$(BIN)/python -m benchmarks $(MEASURES) --rounds $(ROUNDS) --peers $(BENCH_VENV) $(OPTIONS)

$(BENCH_VENV)/%/.tried: benchmarks/peers/%.txt | $(VENV)/.installed
	@echo "Installing a peer into $(@D), once ..."
	@$(PYTHON) -m venv --clear $(@D)
	@{ $(call install_torch,$(@D)/bin,$(shell grep -x torch $<)) && $(call pip,$(@D)/bin) install -r $<; } \
		2>$(@D)/error && rm $(@D)/error || tail -1 $(@D)/error
	@touch $@

evaluate: $(VENV)/.installed ## Measure the bundled detector on the held-out scenes
	@$(BIN)/python -m training.evaluate detections/bundled

# In an environment of its own, since training needs a torchvision that fits torch.
train: $(TRAINING_VENV)/.installed ## Train the bundled detector onwards for HOURS, on COUNT new scenes from SEED on
	@rm -rf $(SCENES)
	@$(TRAIN) training.render $(SCENES)/seen --first $(SEED) --count $(COUNT) --size $(SIZE)
	@$(TRAIN) training.render $(SCENES)/crowd --made crowd --first $(SEED) --count $$(( $(COUNT) / 4 )) --size $(SIZE)
	@$(TRAIN) training.export training/checkpoint --output $(SCENES)/start
	@nice $(BIN)/python -m training.mine $(SCENES)/hard --detector $(SCENES)/start --first $(SEED) --size $(SIZE)
	@$(TRAIN) training.train $(SCENES)/seen $(SCENES)/crowd $(SCENES)/hard --onwards training/checkpoint \
		--output $(SCENES)/trained --hours $(HOURS) --size $(SIZE) --batch 16 --rate $(RATE)
	@$(TRAIN) training.export $(SCENES)/trained
	@$(BIN)/python -m training.evaluate detections/bundled --record

$(TRAINING_VENV)/.installed: $(VENV)/.installed
	@$(PYTHON) -m venv $(TRAINING_VENV)
	@$(TRAINING_VENV)/bin/python -m pip --disable-pip-version-check -qq install torch torchvision \
		ultralytics-opencv-headless opencv-python-headless openvino
	@touch $@

# Tests wait for processes more than they compute: four at a time suit two cores.
APPS := $(patsubst %/tests/,%,$(wildcard */tests/))
# Each compiles the tests unless it may read what the one before has compiled.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest
PARALLEL := -n 4 --dist loadfile --no-loadscope-reorder
# AGAIN=yes runs the tests that failed once more, one at a time: a busy machine may miss a deadline, a fault fails again.
ONCE_MORE = || { [ $$? -eq 1 ] && [ "$(AGAIN)" = yes ] && echo "Once more, by themselves:" \
	&& $(PYTEST) --last-failed --last-failed-no-failures none; }
test: lint ## Check and test everything, on PostgreSQL where there is one; DATABASE=sqlite
	@export DATABASE=$(DATABASE); $(PYTEST) $(PARALLEL) -m "not soak" $(OPTIONS) $(ONCE_MORE)

# No other processes, no browser, no PyTorch, nothing that takes long: what lies outside of tests/.
test-quick: $(VENV)/.installed-dev ## The tests for in between, some two minutes
	@export DATABASE=$(DATABASE); $(PYTEST) $(PARALLEL) -m "not soak and not slow and not torch" $(APPS) $(OPTIONS) \
		$(ONCE_MORE)

test-database: $(VENV)/.installed-dev ## The tests that read or write the database; DATABASE=sqlite
	@export DATABASE=$(DATABASE); $(PYTEST) $(PARALLEL) -m "database and not soak" $(OPTIONS) $(ONCE_MORE)

soak: $(VENV)/.installed-dev ## The tests that take long
	@$(BIN)/python -m pytest -m soak

lint: $(VENV)/.installed-dev ## Check style, types, import order, security, migrations and the API's document
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy .
	@$(BIN)/lint-imports
	@$(MAKE) --no-print-directory lint-scripts
	@$(BIN)/bandit -q -c pyproject.toml -r accounts benchmarks console detections notifications objectvision training manage.py flowerconfig.py gunicorn.conf.py
	@$(MANAGE) makemigrations --check --dry-run
	@$(MANAGE) spectacular --validate --fail-on-warn --file /dev/null

# The console's scripts run as they are. Their types are checked where there is npm, for which CI asks.
lint-scripts:
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory node_modules/.installed && node_modules/.bin/tsc -p .; \
		elif [ "$(REQUIRE_SERVICES)" = 1 ]; then echo "There is no npm to check the scripts with."; exit 1; \
		else echo "There is no npm: the types of the console's scripts were not checked."; fi

node_modules/.installed: package-lock.json
	@npm ci --silent --no-audit --no-fund
	@touch $@

# Asks pypi.org, which is why it is no part of the tests.
ADVISORIES := https://pypi.org/pypi/django/5.2/json
audit: ## Look for known weaknesses in the pinned dependencies (needs pypi.org)
	@test -d $(AUDIT_VENV) || $(PYTHON) -m venv $(AUDIT_VENV)
	@$(AUDIT_VENV)/bin/python -m pip --disable-pip-version-check -qq install pip-audit
	@$(AUDIT_VENV)/bin/python -c 'import requests; requests.get("$(ADVISORIES)", timeout=10).json()["vulnerabilities"]' \
		2>/dev/null || { echo "The advisories at pypi.org cannot be read from here: nothing was audited."; exit 1; }
	@$(AUDIT_VENV)/bin/pip-audit --strict --disable-pip --no-deps -r requirements-dev.lock

format: $(VENV)/.installed-dev ## Rewrite the code in the project's style
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# The second file has all versions of the first, and those of the tools.
lock: ## Pin the newest versions that fit pyproject.toml (needs uv)
	$(COMPILE) --extra ultralytics --extra flower -o requirements.lock
	$(COMPILE) --extra ultralytics --extra flower --extra dev -c requirements.lock -o requirements-dev.lock
