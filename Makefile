# Two commands to start: `make quickstart` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: quickstart test lint format clean

quickstart: $(STAMP)
	rm -rf runs/quickstart runs/quickstart-multvae
	$(BIN)/python bin/prepare.py generate --shape tiny --seed 0 --out data/quickstart --overwrite
	$(BIN)/python bin/train.py --config configs/quickstart.py --config.pia.enabled=false \
	  --config.name=quickstart-multvae
	$(BIN)/python bin/train.py --config configs/quickstart.py
	$(BIN)/python bin/evaluate.py --workdir runs/quickstart --against runs/quickstart-multvae

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
