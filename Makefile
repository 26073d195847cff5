# make demo   see it work            make test     all checks, then all tests
# make lint   the checks only        make format   format the code
# make test T=tests/cli/test_x.py    only these tests (pytest's own arguments)
# make mysql  all tests on MySQL     make soak     kill and fail at random, for 10 minutes
# make galera a cluster that loses nodes
# make crash  kill and refuse at each step    make bench    speed, compared with other tools
# make pictures   draw the terminal of the README from a real run

PYTHON ?= python3
# Tests often wait, for a process, a server or a clock.
WORKERS ?= $(shell expr 1 + $$(nproc))
T ?=
BIN := .venv/bin

MAKEFLAGS += --no-print-directory
export PYTHON

.PHONY: help demo test mysql crash galera soak bench pictures lint format clean

help:
	@sed -n '/^#/!q; s/^# //p' Makefile

demo: .venv/.core
	@PATH="$(CURDIR)/$(BIN):$$PATH" scripts/demo

test: lint
	@$(BIN)/pytest -q -n $(WORKERS) --dist worksteal $(T)

# All that needs a server, on MySQL; `make test` has the conformance tests there.
mysql: .venv/.tests
	@test -x .venv/mysql/mysqld || { echo 'make mysql: no MySQL; to try again: scripts/setup tests'; exit 1; }
	@$(BIN)/pytest -q -n $(WORKERS) --dist worksteal --server=mysql $(T)

galera: .venv/.tests
	@$(BIN)/pytest -q -m galera tests/promises/test_cluster.py

# EVENTCTL_SOAK=60 make soak: for 60 seconds; EVENTCTL_SEED=N repeats a run; STORE=mariadb
soak: .venv/.tests
	@$(BIN)/python -m tests.promises.soak $(STORE)

crash: .venv/.tests
	@EVENTCTL_CRASH_POINTS=0 EVENTCTL_MODEL_EXAMPLES=3000 EVENTCTL_REFUSALS=0 $(BIN)/pytest -q -rP \
		-n $(WORKERS) --dist worksteal -o faulthandler_timeout=3600 $(or $(T),tests/promises/test_crash.py \
		tests/promises/test_io_faults.py tests/promises/test_model.py tests/promises/test_refused.py \
		tests/upkeep)

# ARGS="--quick" for small sizes, ARGS="--only sweep" for a part
bench: .venv/.tests
	@$(BIN)/python -m benchmarks.run $(ARGS)

pictures: .venv/.core
	@$(BIN)/python -m scripts.pictures

lint: .venv/.tests
	@$(BIN)/ruff check --quiet --output-format concise .
	@$(BIN)/ruff format --check --quiet . || { echo 'lint: not formatted; run: make format'; exit 1; }
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/python scripts/check_imports.py
	@$(BIN)/python scripts/check_words.py

format: .venv/.tests
	@$(BIN)/ruff check --quiet --fix --exit-zero .
	@$(BIN)/ruff format --quiet .

clean:
	rm -rf .venv benchmarks/.venvs .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist

# A stamp says what .venv is ready for; it is made anew when what it rests on changes.
.venv/.core .venv/.tests: .venv/.%: pyproject.toml scripts/setup scripts/unpack_mysql
	@scripts/setup $*
	@touch $@
