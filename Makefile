# The course's commands. `make` alone lists them.
PYTHON ?= python3
LAB_FLAGS ?=

BIN := .venv/bin
BENCH := .venv-bench/bin
PIP_INSTALL := -m pip install --disable-pip-version-check --constraint constraints.txt
# JupyterLab refuses to run as root without being told.
AS_ROOT := $(shell [ "$$(id -u)" -ne 0 ] || echo --allow-root)

# Says what is wrong with $(PYTHON), and what to do, before anything is made.
NAME_ONE := or name one with PYTHON=/path/to/python3
define CHECK_PYTHON
@command -v "$(PYTHON)" >/dev/null || { \
  echo "There is no '$(PYTHON)' here. Install Python 3.11 or newer, $(NAME_ONE)." >&2; exit 1; }
@"$(PYTHON)" -c 'import sys; sys.version_info >= (3, 11) or sys.exit("The course needs Python 3.11 or newer; %s is %s. Install a newer one, $(NAME_ONE)." % (sys.executable, sys.version.split()[0]))'
@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
  echo "'$(PYTHON)' cannot make a virtual environment. On Debian or Ubuntu: sudo apt install python3-venv" >&2; exit 1; }
endef

.DEFAULT_GOAL := help
.PHONY: help lab test check mutants build demo bench bench-gpu bench-grading lint clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo 'PYTHON=/path/to/python3 chooses the Python.'
	@echo 'LAB_FLAGS="--no-browser --port 9999" goes to JupyterLab.'

lab: .venv/.course ## set up, open JupyterLab on your notebooks in course/work
	$(BIN)/autograder update
	cd course && PATH="$(CURDIR)/$(BIN):$$PATH" \
	  JUPYTER_CONFIG_PATH="$(CURDIR)/course$${JUPYTER_CONFIG_PATH:+:$$JUPYTER_CONFIG_PATH}" \
	  exec jupyter lab $(AS_ROOT) $(LAB_FLAGS)

test: .venv/.test ## set up and run every test
	$(BIN)/python -m pytest

check: .venv/.test ## run the quick tests of one notebook: make check TOPIC=linear_attention
	@$(BIN)/python -c 'import sys; from autograder.registry import NOTEBOOKS as known; \
	  sys.argv[1] in known or sys.exit("TOPIC is one of " + ", ".join(known))' "$(TOPIC)"
	$(BIN)/python -m pytest -m "not slow and not browser" -k "$(TOPIC)" \
	  tests/autograder tests/benchmarks tests/course tests/solutions

mutants: .venv/.test ## change the solutions a bit at a time: no mutant may earn all points
	$(BIN)/python -m tests.mutants $(TOPIC)

build: .venv/.course ## build what has changed: course/release, recorded answers, README's tables
	$(BIN)/autograder build

demo: .venv/.course ## grade a class of example submissions, from release to feedback
	$(BIN)/autograder demo

bench: .venv-bench/.installed ## time the solutions beside the libraries, in their own environment
	set -e; for topic in $$($(BENCH)/python -c 'from autograder.registry import BENCHMARKS; \
	  print(*BENCHMARKS)'); do $(BENCH)/python -m benchmarks.$$topic; done

bench-gpu: .venv/.course ## check and time the Triton kernels on this machine's GPU
	$(BIN)/python -m benchmarks.gpu_attention

bench-grading: .venv/.course ## time the grading of a class beside stock nbgrader
	$(BIN)/python -m benchmarks.grading

lint: .venv/.test ## check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean: ## remove the environments and caches; notebooks and grades stay
	rm -rf .venv .venv-bench build *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis course/.build

# Each stamp is written last, so a set-up that failed half-way is done again.
.venv/.created .venv-bench/.created:
	$(CHECK_PYTHON)
	"$(PYTHON)" -m venv --clear $(@D)
	$(@D)/bin/python $(PIP_INSTALL) --upgrade pip
	@touch $@

.venv/.course: .venv/.created pyproject.toml constraints.txt
	$(BIN)/python $(PIP_INSTALL) --build-constraint constraints.txt --editable .
	@touch $@

.venv/.test: .venv/.created pyproject.toml constraints.txt
	$(BIN)/python $(PIP_INSTALL) --build-constraint constraints.txt --editable '.[test]'
	@touch .venv/.course $@

# torch first, at its pin: no peer can then bring another build of it.
.venv-bench/.installed: .venv-bench/.created pyproject.toml constraints.txt benchmarks/constraints.txt
	$(BENCH)/python $(PIP_INSTALL) torch
	$(BENCH)/python $(PIP_INSTALL) --constraint benchmarks/constraints.txt \
	  --build-constraint constraints.txt --editable '.[bench]'
	@touch $@
