# `make demo` and `make test` are all that is needed: both set up .venv first where it is missing
# or older than the files that say what goes into it.
comma := ,
PYTHON ?= python3
EXTRAS ?= cpu,experiments,test
VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/.installed-$(subst $(comma),-,$(EXTRAS))
DOCS_STAMP := $(STAMP)-with-docs
DEMO := out/demo

# The least versions that setup.py allows: an environment of its own, made by uv with Python 3.11.
LOWEST := .venv-lowest
LOWEST_UV := $(LOWEST)/uv/bin/uv
LOWEST_RUN := $(LOWEST)/env/bin/python
LOWEST_STAMP := $(LOWEST)/.installed

# Where `build` is, for a release.
RELEASE := .venv-release

.PHONY: demo test test-trust test-lowest release-check docs docs-serve lint format clean

demo: $(STAMP)
	$(RUN) -m experiments.taylor_regret --output_dir=$(DEMO) --data_dir=out/data

test: $(STAMP)
	$(RUN) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# Flips, kills and full disks at random, by hand and before a release; prints its figures.
# TRUST_SHARE=0.1 tries a tenth.
test-trust: $(STAMP)
	$(RUN) -m pytest -m slow tests/trust -n 2 --dist load

# Fails first where a bound is not the version that was installed for it.
test-lowest: $(LOWEST_STAMP)
	$(LOWEST_RUN) .ci/lowest_versions.py
	$(LOWEST_RUN) -m pytest -n 2 --dist loadfile --no-loadscope-reorder
	$(LOWEST_RUN) -m ruff check .
	$(LOWEST_RUN) -m ruff format --check .

# The guide, in out/site; a link that leads nowhere fails. Its examples are run by the tests.
# NO_MKDOCS_2_WARNING silences an advertisement of Material for MkDocs.
docs: $(DOCS_STAMP)
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict --quiet

docs-serve: $(DOCS_STAMP)
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs serve

# Wheel and sdist in out/dist, installed into an empty environment and tried there; some minutes,
# most of them for TensorFlow.
release-check: $(RELEASE)/.installed
	$(RELEASE)/bin/python -u .ci/release.py

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

$(DOCS_STAMP): $(STAMP)
	$(RUN) -m pip install --quiet --editable '.[docs]'
	touch $@

$(LOWEST_STAMP): setup.py pyproject.toml
	rm -rf $(LOWEST)
	$(PYTHON) -m venv $(LOWEST)/uv
	$(LOWEST)/uv/bin/python -m pip install --quiet uv
	$(LOWEST_UV) venv --quiet --python 3.11 $(LOWEST)/env
	$(LOWEST_UV) pip install --quiet --python $(LOWEST_RUN) --resolution lowest-direct \
		--editable '.[cpu,experiments,test]'
	touch $@

$(RELEASE)/.installed:
	$(PYTHON) -m venv $(RELEASE)
	$(RELEASE)/bin/python -m pip install --quiet build
	touch $@

clean:
	rm -rf $(VENV) $(LOWEST) $(RELEASE) out build dist *.egg-info
