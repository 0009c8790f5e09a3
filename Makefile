# make lab     set up .venv if need be, open the workbook in JupyterLab
# make test    set up .venv if need be, run the tests and all notebooks
# make test-all    the same with lessons on full-size networks and all of torchvision's models, as continuous integration
# make notebooks   run every notebook again and store its outputs (after changing a lesson)
#
# Another Python: make lab PYTHON=python3.12    Options for JupyterLab: make lab ARGS=--no-browser

PYTHON = python3
ARGS =
BIN = .venv/bin
# the file browser shows the whole workbook, not just its notebooks
LAB = --ServerApp.root_dir=.
# two workers, each with a core of its own; a file stays with one worker, in the order that conftest.py gives
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: lab test test-all notebooks setup

lab: setup
	@# on the PATH, so that `python` is this workbook's in JupyterLab's terminals, too
	@echo "lab: opening notebooks/00_start_here.ipynb; stop the server with Ctrl-C"
	@if [ "$$(id -u)" = 0 ]; then root=--allow-root; fi; \
	PATH="$(CURDIR)/$(BIN):$$PATH" exec $(BIN)/python -m jupyterlab $$root $(LAB) $(ARGS) notebooks/00_start_here.ipynb

test: CHOSEN = -m "not long"
test test-all: setup
	@echo "test: style"
	@$(BIN)/python -m ruff check . && $(BIN)/python -m ruff format --check .
	@echo "test: helpers and notebooks"
	@$(PYTEST) $(CHOSEN) --nbval --nbval-current-env --nbval-cell-timeout=300 \
		--nbval-sanitize-with tests/nbval_sanitize.cfg --ignore tests/browser tests notebooks
	@echo "test: interactives in a browser"
	@$(PYTEST) tests/browser

notebooks: setup
	@$(BIN)/python .ci/refresh_notebooks.py

setup:
	@sh .ci/setup $(PYTHON)
