# make lab     set up .venv if need be, open the workbook in JupyterLab
# make test    set up .venv if need be, run everything that continuous integration runs
# make notebooks   run every notebook again and store its outputs (after changing a lesson)
#
# Another Python: make lab PYTHON=python3.12    Options for JupyterLab: make lab ARGS=--no-browser

PYTHON = python3
ARGS =
BIN = .venv/bin
# the file browser shows the whole workbook, not just its notebooks
LAB = --ServerApp.root_dir=.

.PHONY: lab test notebooks setup

lab: setup
	@echo "lab: opening notebooks/00_start_here.ipynb; stop the server with Ctrl-C"
	@if [ "$$(id -u)" = 0 ]; then root=--allow-root; fi; \
	exec $(BIN)/python -m jupyterlab $$root $(LAB) $(ARGS) notebooks/00_start_here.ipynb

test: setup
	@echo "test: style"
	@$(BIN)/python -m ruff check . && $(BIN)/python -m ruff format --check .
	@echo "test: helpers and notebooks"
	@$(BIN)/python -m pytest --nbval --nbval-current-env --nbval-cell-timeout=300 \
		--nbval-sanitize-with tests/nbval_sanitize.cfg --ignore tests/browser tests notebooks
	@echo "test: interactives in a browser"
	@$(BIN)/python -m pytest tests/browser

notebooks: setup
	@$(BIN)/python .ci/refresh_notebooks.py

setup:
	@sh .ci/setup $(PYTHON)
