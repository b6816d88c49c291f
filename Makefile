# make          lists the targets
# make demo     sets everything up and shows the main job: run, killed, the same line finishes
# make test     sets everything up and runs the tests
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
JOBS ?= 2
MINUTES ?= 10
SEED ?= 0
# make zoo ZOO='--engine criu sqlite' runs these only
ZOO ?=

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

demo: engine compiler  ## set everything up, then start, SIGKILL and resume a program, and compare
	@PATH="$(abspath $(BIN)):$$PATH" examples/demo

test: $(BIN)/pytest programs  ## set everything up, then run all tests
	@$(BIN)/dmtcp-ctl setup || true  # without an engine the tests that need none run, and one fails with the reason
	$(BIN)/pytest -n $(JOBS) --dist worksteal tests

lint: $(BIN)/ruff  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(BIN)/dmtcp-run  ## print the benchmarks, side by side in one run
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python benchmarks/main_job.py

bench-mpi: $(BIN)/dmtcp-run programs  ## print how often MPI jobs of one node come through being killed
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python benchmarks/mpi.py

bench-mpi-nodes: $(BIN)/pytest programs  ## the same of MPI jobs of two nodes, inside Slurm, as root
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python benchmarks/mpi_nodes.py

bench-engines: $(BIN)/dmtcp-run  ## print what each engine costs, by the size of the program
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python benchmarks/engines.py

bench-files: $(BIN)/dmtcp-run  ## print what it costs a program that its changes of files are noted
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python benchmarks/files.py

campaign: $(BIN)/pytest programs  ## run ten jobs through preemptions, cancellations and dead nodes, and print what was lost
	DMTCP_RUN_CAMPAIGN_MINUTES=$(MINUTES) DMTCP_RUN_CAMPAIGN_SEED=$(SEED) $(BIN)/pytest -s tests/slurm/test_campaign.py

zoo: $(BIN)/pytest programs  ## run all programs of the zoo on all engines, and write what came of it to docs/
	@for package in nodejs gromacs lammps; do tests/install-programs $$package || true; done  # what is missing is not run
	$(BIN)/pip install --quiet --editable '.[zoo]' || true
	PYTHONPATH=tests $(BIN)/python -m zoo run --jobs $(JOBS) $(ZOO)

zoo-page: $(BIN)/pytest  ## write docs/programs.md from docs/zoo.json
	PYTHONPATH=tests $(BIN)/python -m zoo page

engine: $(BIN)/dmtcp-run  ## bring DMTCP or CRIU here, unless one of them works already
	@$(BIN)/dmtcp-ctl setup

compiler:
	@tests/install-programs gcc

programs:  ## install, with Debian's packages where they can be, what the tests run besides Python
	@tests/install-programs

clean:  ## remove the virtual environment and what was built
	rm -rf $(VENV) build dist *.egg-info
	$(MAKE) -C examples clean

$(BIN)/dmtcp-run: pyproject.toml $(wildcard dmtcp_py/native/*.[ch])
	@tests/install-programs python3-venv
	@tests/install-programs gcc || true  # only the parts in C want it
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable .
	@touch $@

$(BIN)/pytest: pyproject.toml $(BIN)/dmtcp-run
	$(BIN)/pip install --quiet --editable '.[test]'
	@touch $@

$(BIN)/ruff: pyproject.toml $(BIN)/dmtcp-run
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@

.PHONY: help demo test lint bench bench-engines bench-files campaign zoo zoo-page engine compiler programs clean bench-mpi bench-mpi-nodes
