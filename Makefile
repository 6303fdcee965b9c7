# Each target makes what it needs; `make run` and `make test` work on a fresh clone.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
TASK ?= digits
ARGS ?=

.PHONY: run test slow check lint types imports docs package examples benchmark clean

run: $(VENV)/.installed
	$(BIN)/thetadot run $(TASK) $(ARGS)

test: $(VENV)/.developing
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile -m 'not slow'

slow: $(VENV)/.developing
	$(BIN)/python -m pytest --numprocesses auto --dist loadgroup -m slow

check: lint types imports docs package examples

lint: $(VENV)/.developing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.developing
	$(BIN)/mypy

imports: $(VENV)/.developing
	$(BIN)/lint-imports

# the site, in build/docs; needs no network, and takes a warning for an error
docs: $(VENV)/.developing
	$(BIN)/python docs/gallery.py
	for name in $$(sed -n 's/^## thetadot //p' docs/command.md); do COLUMNS=96 $(BIN)/thetadot $$name --help > docs/pictures/$$name.txt || exit 1; done
	$(BIN)/python -m sphinx --builder html --fail-on-warning --keep-going --quiet docs build/docs

# an sdist, the wheel made from it, and that wheel in a fresh environment, away from this folder
package: $(VENV)/.developing
	rm -rf dist build/fresh
	$(BIN)/python -m build --outdir dist .
	$(PYTHON) -m venv build/fresh
	build/fresh/bin/python -m pip install --quiet --constraint constraints.txt dist/thetadot-*.whl
	cd build/fresh && bin/thetadot --version && bin/thetadot convert --lr 0.1 --momentum 0.9 --batch-size 128 --to-lr 0.01 && bin/thetadot simulate dirac-gan --time 5 --out simulated
	test -f build/fresh/lib/python3*/site-packages/thetadot/py.typed
	rm -rf build/fresh

examples: $(VENV)/.developing
	set -e; for script in examples/[0-9]*.py examples/wrong_on_purpose.py docs/notebooks/*.py; do echo "== $$script"; MPLBACKEND=Agg $(BIN)/python $$script; done

benchmark: $(VENV)/.developing
	$(BIN)/python benchmarks/pilot.py run

$(VENV)/.installed: pyproject.toml constraints.txt
	@echo "installing into $(VENV); this takes a minute or two"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[digits]'
	touch $@

$(VENV)/.developing: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group dev
	touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
