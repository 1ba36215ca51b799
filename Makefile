# Every target sets up .venv by itself when it is missing or setup.py changed.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: quickstart test test-all lint bench clean

$(STAMP): setup.py
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -e '.[dev]'
	touch $@

quickstart: $(STAMP)
	$(BIN)/tf-recall quickstart

test: $(STAMP)
	$(BIN)/pytest -n 2 --dist loadscope

test-all: $(STAMP)
	$(BIN)/pytest -n 2 --dist loadscope -m ''

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# make bench NAME=train_speed [ARGS=--quick]: peers are installed into an environment of their own.
bench:
	test -n "$(NAME)" || (echo "say which: make bench NAME=train_speed; benchmarks/README.md lists them"; exit 2)
	test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	.venv-bench/bin/pip install --quiet -e '.[scann,tfds,serve,bench]'
	.venv-bench/bin/python benchmarks/$(NAME).py $(ARGS)

clean:
	rm -rf $(VENV) .venv-bench *.egg-info .pytest_cache .ruff_cache
