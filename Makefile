# make demo      set up .venv and fine-tune on the built-in sentences (no Hub, no GPU)
# make test      set up .venv and run the whole test suite
# make test-hub  the tests against the official weights and data (needs the Hub)
# make bench     speed beside tokenizers, transformers and onnxruntime (ARGS=--save keeps the tables)
# make bench-emotion  what fine-tuning comes to on the real tweets, beside the Trainer: an hour
# make parity    the table of differences from transformers

PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
PIP    := $(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-hub bench bench-emotion parity lint clean

demo: $(VENV)/.demo
	$(PY) -m train finetune --demo --output-dir runs/demo --overwrite
	$(PY) -m train predict --model runs/demo/final "i cant believe how lucky i feel today"

test: lint
	$(PY) -m pytest -n 2 --dist loadfile

test-hub: $(VENV)/.test
	HF_HUB_OFFLINE=0 OMP_NUM_THREADS=$$($(PY) -c "import os; print(os.cpu_count())") \
		$(PY) -m pytest -m hub

bench: $(VENV)/.bench
	@echo "Each benchmark takes up to four minutes on two quiet cores"
	for name in tokenizer inference training probe growing demo; do $(PY) -m tests.benchmarks.$$name $(ARGS) || exit 1; done

bench-emotion: $(VENV)/.bench
	$(PY) -m tests.benchmarks.emotion $(ARGS)

parity: $(VENV)/.test
	$(PY) -m tests.parity

lint: $(VENV)/.test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

clean:
	rm -rf $(VENV) *.egg-info .pytest_cache .ruff_cache .mypy_cache

EXTRAS_demo := demo,plots
EXTRAS_test := test
EXTRAS_bench := bench

# A stamp per set of packages: the second call finds it and starts at once.
$(VENV)/.demo $(VENV)/.test $(VENV)/.bench: $(VENV)/.%: pyproject.toml constraints.txt | $(PY)
	@echo "Installing into $(VENV) (a few minutes the first time) ..."
	$(PIP) -e ".[$(EXTRAS_$*)]"
	@touch $@

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "MiniBERT needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
