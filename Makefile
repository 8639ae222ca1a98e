# `make demo` and `make test` are all that is needed: both set up .venv first where it is missing
# or older than the files that say what goes into it.
comma := ,
PYTHON ?= python3
EXTRAS ?= cpu,experiments,test
VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/.installed-$(subst $(comma),-,$(EXTRAS))
DEMO := out/demo

.PHONY: demo test lint format clean

demo: $(STAMP)
	$(RUN) -m experiments.taylor_regret --output_dir=$(DEMO) --data_dir=out/data

test: $(STAMP)
	$(RUN) -m pytest -n 2 --dist loadfile

lint: $(STAMP)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

format: $(STAMP)
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

$(STAMP): setup.py pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --upgrade pip
	$(RUN) -m pip install --quiet --editable '.[$(EXTRAS)]'
	touch $@

clean:
	rm -rf $(VENV) out build dist *.egg-info
