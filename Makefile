# make lab     set up .venv if need be, open your own copies of the lessons, in my_lessons, in JupyterLab
# make test    set up .venv if need be, run the tests and all notebooks
# make test-all    the same with lessons on full-size networks and all of torchvision's models, as continuous integration
# make lesson LESSON=04    all that concerns one lesson: its notebooks, exercises, interactive and tests
# make notebooks   run every notebook again and store its outputs (after changing a lesson)
# make readme      write the lessons' table into README.md, and TEACHING.md, anew (after changing a lesson)
# make coverage    which lines of helpers the unit tests reach
# make mutants     small changes of the right answers that the checks of the exercises let pass (a minute at most)
# make bench    time and memory of helpers beside what else people use; ten minutes, or make bench ARGS=--quick
# make site     a book for the browser of the stored notebooks, in build/site
# make oldest     the unit tests of helpers with the oldest versions that pyproject.toml allows; or make newest
# make constraints     write the versions of this .venv into constraints.txt (when all tests are green)
#
# Another Python: make lab PYTHON=python3.12    Options for JupyterLab: make lab ARGS=--no-browser
# PyTorch on Linux is the one for CPUs if no GPU is found; TORCH=default make lab takes the ordinary one

PYTHON = python3
ARGS =
LESSON =
BIN = .venv/bin

.PHONY: lab test test-all lesson notebooks readme coverage mutants bench site oldest newest constraints setup test-tools has-python has-tests

lab: has-python
	@exec $(PYTHON) tools/lab.py $(ARGS)

test: has-python has-tests
	@exec $(PYTHON) tools/test.py

test-all: has-python has-tests
	@exec $(PYTHON) tools/test.py --all

lesson: has-python has-tests
	@exec $(PYTHON) tools/test.py --lesson "$(LESSON)"

notebooks: has-tests test-tools
	@$(BIN)/python tools/refresh_notebooks.py

readme: has-tests test-tools
	@$(BIN)/python tools/refresh_readme.py

coverage: has-tests test-tools
	@OMP_NUM_THREADS=2 $(BIN)/python -m pytest -q -m "not long and not slow" --cov=helpers --cov-branch \
		--cov-report=term-missing:skip-covered tests/helpers

mutants: has-tests test-tools
	@OMP_NUM_THREADS=1 $(BIN)/python tools/mutants.py

bench: has-python has-tests
	@$(PYTHON) tools/setup.py bench
	@$(BIN)/python benchmarks $(ARGS)

site: has-python has-tests
	@$(PYTHON) tools/setup.py site
	@$(BIN)/python tools/build_site.py

oldest newest: has-python has-tests
	@$(PYTHON) tools/versions.py $@

constraints: test-tools
	@$(BIN)/python tools/write_constraints.py

has-tests:
	@test -d tests || { echo "a handout has no tests: they are in the workbook that it was made from" >&2; exit 1; }

has-python:
	@command -v $(PYTHON) >/dev/null || { echo "there is no '$(PYTHON)'; install Python 3.11 or newer" >&2; exit 1; }

setup: has-python
	@$(PYTHON) tools/setup.py

test-tools: has-python
	@$(PYTHON) tools/setup.py test
