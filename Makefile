# `make run` and `make test` need Python 3.10 or newer with venv, and nothing else.

PYTHON ?= python3
VENV ?= .venv
# None: the server's own default, or what the configuration file says that ARGS may name.
PORT ?=
ARGS ?=
SERVER ?= localhost
USERNAME ?=

.PHONY: run run_server run_client test test-trial test-all explore check soak demo cluster screenshots bench bench-short bench-cluster clean

run run_server: $(VENV)/run
	$(VENV)/bin/twistd -n chat $(if $(PORT),--port $(PORT)) $(ARGS)

run_client: $(VENV)/run
	@$(VENV)/bin/twisted-chat $(SERVER) $(PORT) $(if $(USERNAME),--name '$(USERNAME)')

# In a minute: all that needs no install, no long fault and no display.
test: $(VENV)/test
	$(VENV)/bin/python -m pytest -q -n 2 --dist worksteal tests

# The same cases under trial, which also looks for what a test leaves in the reactor.
test-trial: $(VENV)/test
	$(VENV)/bin/python -m twisted.trial tests

# Everything, the same in every run.
test-all: test-trial
	HYPOTHESIS_PROFILE=thorough $(VENV)/bin/python -m pytest -q -n 2 --dist worksteal tests
	$(VENV)/bin/python -m pytest -q slow_tests

# New examples for what Hypothesis tests, in every run; those that fail are kept in .hypothesis.
explore: $(VENV)/test
	HYPOTHESIS_PROFILE=random $(VENV)/bin/python -m pytest -q -n 2 --dist worksteal tests

check: $(VENV)/check
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy --strict twisted_chat tests slow_tests benchmarks conftest.py docs

# A server and three people who talk, in tmux or in three windows.
demo: $(VENV)/run
	@$(VENV)/bin/python docs/demo.py

# Three nodes on a PostgreSQL of their own, behind HAProxy if it is installed; Ctrl-C ends it all.
cluster: $(VENV)/postgresql
	@$(VENV)/bin/python -m docs.cluster $(if $(PORT),--port $(PORT))

# The pictures in the documentation, of the real programs.
screenshots: $(VENV)/test
	$(VENV)/bin/python -m docs.screenshots

# Every server in turn, five rounds; the plot goes to docs/. About half an hour.
bench: $(VENV)/bench
	$(VENV)/bin/python -m benchmarks --plot docs/performance.png

# Only to see that it works.
bench-short: $(VENV)/run
	$(VENV)/bin/python -m benchmarks --short

# One, two and four nodes on a PostgreSQL of their own, and one on SQLite. About ten minutes.
bench-cluster: $(VENV)/bench $(VENV)/postgresql
	$(VENV)/bin/python -m benchmarks.cluster --plot docs/cluster.png

# 200 people talk for a minute; everyone must get everything, once and in order.
soak: $(VENV)/run
	$(VENV)/bin/python -m benchmarks.soak

clean:
	rm -rf $(VENV) build dist *.egg-info _trial_temp* .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/bin/pip:
	$(PYTHON) -m venv $(VENV)

$(VENV)/run: setup.cfg pyproject.toml | $(VENV)/bin/pip
	$(VENV)/bin/pip install --quiet --editable .
	touch $@

$(VENV)/test: setup.cfg pyproject.toml | $(VENV)/run
	$(VENV)/bin/pip install --quiet --editable '.[test]'
	touch $@

$(VENV)/postgresql: setup.cfg pyproject.toml | $(VENV)/run
	$(VENV)/bin/pip install --quiet --editable '.[postgresql]'
	touch $@

$(VENV)/bench: setup.cfg pyproject.toml | $(VENV)/run
	$(VENV)/bin/pip install --quiet --editable '.[bench]'
	touch $@

$(VENV)/check: setup.cfg pyproject.toml | $(VENV)/test
	$(VENV)/bin/pip install --quiet --editable '.[test,check]'
	touch $@
