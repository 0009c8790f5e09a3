# make lab     set up .venv if need be, open your own copies of the lessons, in my_lessons, in JupyterLab
# make test    set up .venv if need be, run the tests and all notebooks
# make test-all    the same with lessons on full-size networks and all of torchvision's models, as continuous integration
# make lesson LESSON=04    all that concerns one lesson: its notebooks, exercises, interactive and tests
# make notebooks   run every notebook again and store its outputs (after changing a lesson)
# make readme      write the lessons' table into README.md, and TEACHING.md, anew (after changing a lesson)
# make coverage    which lines of helpers the unit tests reach
# make mutants     small changes of the right answers that the checks of the exercises let pass (a minute at most)
# make constraints     write the versions of this .venv into constraints.txt (when all tests are green)
#
# Another Python: make lab PYTHON=python3.12    Options for JupyterLab: make lab ARGS=--no-browser

PYTHON = python3
ARGS =
LESSON =
BIN = .venv/bin
FIRST = my_lessons/$(notdir $(firstword $(sort $(wildcard notebooks/[0-9]*.ipynb))))
# the file browser shows the whole workbook, not just its notebooks
LAB = --ServerApp.root_dir=.
# two workers, each with a core of its own; a file stays with one worker, in the order that conftest.py gives
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
NBVAL = --nbval --nbval-cell-timeout=300 --nbval-sanitize-with tests/support/nbval_sanitize.cfg

.PHONY: lab test test-all lesson notebooks readme coverage mutants constraints setup has-tests

lab: setup
	@# on the PATH, so that `python` is this workbook's in JupyterLab's terminals, too
	@$(BIN)/python -m workbook.my_lessons
	@echo "lab: opening $(FIRST); stop the server with Ctrl-C"
	@if [ "$$(id -u)" = 0 ]; then root=--allow-root; fi; \
	PATH="$(CURDIR)/$(BIN):$$PATH" exec $(BIN)/python -m jupyterlab $$root $(LAB) $(ARGS) $(FIRST)

test: CHOSEN = -m "not long"
test test-all: has-tests setup
	@$(PYTEST) $(CHOSEN) $(NBVAL) tests notebooks

lesson: has-tests setup
	@$(PYTEST) -m "not long" $(NBVAL) --lesson "$(LESSON)" tests notebooks

notebooks: has-tests setup
	@$(BIN)/python tools/refresh_notebooks.py

readme: has-tests setup
	@$(BIN)/python tools/refresh_readme.py

coverage: has-tests setup
	@OMP_NUM_THREADS=2 $(BIN)/python -m pytest -q -m "not long and not slow" --cov=helpers --cov-branch \
		--cov-report=term-missing:skip-covered tests/helpers

mutants: has-tests setup
	@OMP_NUM_THREADS=1 $(BIN)/python tools/mutants.py

constraints: setup
	@$(BIN)/python tools/write_constraints.py

has-tests:
	@test -d tests || { echo "a handout has no tests: they are in the workbook that it was made from" >&2; exit 1; }

setup:
	@sh tools/setup.sh $(PYTHON)
