# Two commands do all set-up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# The real images that some tests and recipes want; what needs them says so where they are missing.
export PALPATE_DATA ?= $(wildcard $(abspath ../shared/data))

.PHONY: demo test fast lint types install test-slow results tiny tiny-results clean

demo: $(VENV)/.installed  ## fine-tune, attack and report in minutes; prints the page
	$(BIN)/palpate demo

# A process for each core, and one thread in each: threads of several processes wait for each other.
# The tests of a file stay in one process, so that what they share is made once.
# Whatever the environment says, compiled files are kept: compiling is half of a start.
PYTEST := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 \
  $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadfile

# mypy has one process, so the tests start beside it. They end later and so have the last word.
test: $(VENV)/.tested  ## everything that CI runs
	$(MAKE) --no-print-directory -j2 types lint fast

fast: $(VENV)/.tested  ## the tests that take no minutes
	$(PYTEST) -m "not slow"

# Random examples, and more of them; shapes and types of every function checked at every call.
test-slow: $(VENV)/.tested  ## every test there is; an hour on 2 cores
	PALPATE_EXAMPLES=random $(PYTEST) --jaxtyping-packages=palpate,beartype.beartype

lint: $(VENV)/.tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.tested
	$(BIN)/mypy

install: $(VENV)/.installed

# torch first and pinned: whatever else asks for it must find this build.
$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt torch
	$(BIN)/pip install --quiet -c constraints.txt -e .
	touch $@

# References to compare with. They pin old versions or want torchvision, neither of which is needed.
REFERENCES := torchattacks foolbox eagerpy adversarial-robustness-toolbox
$(VENV)/.tested: $(VENV)/.installed
	$(BIN)/pip install --quiet -c constraints.txt -e ".[test,dev]"
	$(BIN)/pip install --quiet --no-deps -c constraints.txt $(REFERENCES)
	touch $@

results: $(VENV)/.installed  ## the tables of docs/results.md; hours on 2 cores
	for set in kvasir isic camus; do $(BIN)/palpate run --config recipes/$$set.yaml || exit 1; done
	$(BIN)/python docs/scripts/make_results.py runs/kvasir runs/isic runs/camus

# How the embedded model came about, and how it fares; hours, and wants Kvasir-SEG, ISIC and BUSI.
TINY := src/palpate/models/tiny
tiny: $(VENV)/.installed
	$(BIN)/palpate pretrain --config recipes/tiny.yaml
	mkdir -p $(TINY) && cp runs/tiny/model/* $(TINY)

tiny-results: $(VENV)/.installed  ## the card of palpate/tiny and its part of docs/results.md
	for set in phantom-endoscopy phantom-dermoscopy phantom-echo kvasir isic busi; do \
	  $(BIN)/palpate run --config recipes/press-tiny.yaml --data.name $$set \
	    --name $$set --out runs/press-tiny/$$set || exit 1; \
	done
	$(BIN)/python docs/scripts/make_tiny_card.py runs/press-tiny runs/tiny/model

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache
