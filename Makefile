# Everything below runs in a virtual environment of its own, with exactly the versions in requirements.lock.
PYTHON ?= python3
VENV ?= .venv
PORT ?= 8000
# The CPU build of torch is a tenth of the CUDA build. Set TORCH_INDEX= (empty) to take the package index's own,
# or to PyTorch's index of another build.
TORCH_INDEX ?= $(shell nvidia-smi >/dev/null 2>&1 || echo https://download.pytorch.org/whl/cpu)
TRAINING_VENV ?= .venv-training
AUDIT_VENV ?= .venv-audit
SCENES ?= var/training
SEED ?= 1000000
COUNT ?= 3000
SIZE ?= 640
HOURS ?= 2
RATE ?= 0.0012

BIN := $(VENV)/bin
TRAIN := nice $(TRAINING_VENV)/bin/python -m
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
MANAGE := $(BIN)/python manage.py

.DEFAULT_GOAL := help
.PHONY: help run test soak demo evaluate train lint audit format lock

help: ## Show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' \
		|| { echo "ObjectVision needs Python 3.11, 3.12 or 3.13: make PYTHON=python3.12"; exit 1; }
	@echo "Installing into $(VENV), once ..."
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install -c requirements.lock $(if $(TORCH_INDEX),--retries 1 --extra-index-url $(TORCH_INDEX)) torch torchvision
	@$(PIP) install -c requirements.lock -e '.[dev]'
	@touch $@

run: $(VENV)/.installed ## Set up, then serve on PORT (8000)
	@$(MANAGE) setup
	@exec $(MANAGE) serve --port $(PORT)

demo: $(VENV)/.installed ## Send a photo through a server of its own and show what was found
	@$(MANAGE) demo

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

test: lint ## Check and test everything
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal --cov --cov-report=term -m "not soak"

soak: $(VENV)/.installed ## The tests that take long
	@$(BIN)/python -m pytest -m soak

lint: $(VENV)/.installed ## Check style, types, import order, security, migrations and the API's document
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy .
	@$(BIN)/lint-imports
	@$(BIN)/bandit -q -c pyproject.toml -r accounts detections notifications objectvision training manage.py gunicorn.conf.py
	@$(MANAGE) makemigrations --check --dry-run
	@$(MANAGE) spectacular --validate --fail-on-warn --file /dev/null

# Asks pypi.org, which is why it is no part of the tests.
ADVISORIES := https://pypi.org/pypi/django/5.2/json
audit: ## Look for known weaknesses in the pinned dependencies (needs pypi.org)
	@test -d $(AUDIT_VENV) || $(PYTHON) -m venv $(AUDIT_VENV)
	@$(AUDIT_VENV)/bin/python -m pip --disable-pip-version-check -qq install pip-audit
	@$(AUDIT_VENV)/bin/python -c 'import requests; requests.get("$(ADVISORIES)", timeout=10).json()["vulnerabilities"]' \
		2>/dev/null || { echo "The advisories at pypi.org cannot be read from here: nothing was audited."; exit 1; }
	@$(AUDIT_VENV)/bin/pip-audit --strict --disable-pip --no-deps -r requirements.lock

format: $(VENV)/.installed ## Rewrite the code in the project's style
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

lock: ## Pin the newest versions that fit pyproject.toml (needs uv)
	uv pip compile --universal --upgrade --no-header --extra dev pyproject.toml -o requirements.lock
