# make demo: build the environment, run the whole suite on the embedded model, print the table
# make test: build the environment, run the tests        make lint / make wheel: what CI checks besides
# make dist: build and check the release, and run the demo from the wheel in a clean environment
# make audit-dependencies: look for known vulnerabilities of the pinned packages; needs a network
# make docs: build the documentation site into build/site; a broken link or a page without a place is an error
# make reference DATA=FOLDER: measure a real model on the published files in a folder; it is downloaded with pip
#   (DATA="FOLDER lm1b=FILE" adds a file by hand, TASKS=lambada,ptb/s32 chooses; default: the paper's columns)
#   (a path with a space needs quotes within quotes: DATA="'my data'")
# make drill: kill runs, mutate files and load the program; under 20 minutes on 2 cores
#   (DRILL="--part input --share 0.1" chooses; docs/reliability.md has the figures)
# make benchmark: measure speed beside other tools, by hand, for a GPT-2 and a LLaMA shape
# make benchmark-gpu: the same on a GPU, after the tests that need one (SPEED="--cbt 0" passes options on to both)
# CONSTRAINTS=constraints-lowest.txt chooses the lowest versions, CONSTRAINTS=/dev/null the newest (after make clean)
PYTHON ?= python3
CONSTRAINTS ?= constraints.txt
BIN := .venv/bin
# A user's script must type-check against the sources and, with py.typed, against the wheel.
MYPY := $(CURDIR)/$(BIN)/mypy --strict --follow-imports silent
SHAPES ?= 12x768 llama-30x576
PYTEST := OMP_NUM_THREADS=1 $(CURDIR)/$(BIN)/python -m pytest --numprocesses auto --dist worksteal

.PHONY: demo test drill lint audit audit-dependencies wheel dist docs reference benchmark benchmark-gpu clean

demo: .venv/.stamp
	$(BIN)/gpt2eval run --out build/demo

test: .venv/.stamp
	$(PYTEST)

drill: .venv/.stamp
	OMP_NUM_THREADS=1 PYTHONPATH=tests $(BIN)/python -m drill --write $(DRILL)

lint: audit
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(MYPY) tests/typing
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-actions action.yml
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.citation-file-format \
	--default-filetype yaml CITATION.cff

audit: .venv/.stamp
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml gpt2eval

# --strict: a package that cannot be audited is a failure. pip-audit says which of the two it is.
audit-dependencies: .venv/.stamp
	$(BIN)/pip-audit --strict --no-deps --disable-pip --requirement constraints.txt

# the tests of what a user meets, against the built wheel instead of the sources
wheel: .venv/.stamp
	rm -rf build/wheel && mkdir -p build/wheel/run
	$(BIN)/python -m build --wheel --no-isolation --outdir build/wheel . >build/wheel/log
	$(BIN)/python -m pip install -q --no-deps --target build/wheel/site build/wheel/*.whl
	cp -r tests docs results pyproject.toml README.md CITATION.cff build/wheel/run/
	cd build/wheel/run && export PYTHONPATH=$(CURDIR)/build/wheel/site && \
	../../../$(BIN)/python -c 'import gpt2eval; assert "wheel" in gpt2eval.__file__, gpt2eval.__file__' && \
	$(MYPY) tests/typing && \
	$(PYTEST) tests/cli tests/config tests/report tests/text tests/test_api_public.py tests/test_readme.py

# sdist and wheel, as they are uploaded; the wheel of the sdist is the wheel of the sources
dist: .venv/.stamp
	rm -rf dist build/dist
	$(BIN)/python -m build --no-isolation --outdir dist . >/dev/null
	$(BIN)/python -m build --no-isolation --wheel --outdir build/dist . >/dev/null
	cmp dist/*.whl build/dist/*.whl
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl
	$(BIN)/python tests/release/clean_install.py dist build/dist

docs: .venv/.stamp
	$(BIN)/python docs/generate_cli.py
	$(BIN)/python docs/generate_published.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

reference: .venv/.stamp
	@$(BIN)/python benchmarks/reference.py $(DATA) $(if $(TASKS),--tasks $(TASKS))

benchmark: .venv/.stamp
	for shape in $(SHAPES); do $(BIN)/python benchmarks/speed.py --shape $$shape $(SPEED) || exit 1; done

benchmark-gpu: .venv/.stamp
	$(BIN)/python -c 'import sys, torch; torch.cuda.is_available() or sys.exit("benchmark-gpu: no CUDA device")'
	$(CURDIR)/$(BIN)/python -m pytest -m gpu -rs tests/models/test_gpu.py
	for shape in $(SHAPES); do $(BIN)/python benchmarks/speed.py --gpu --shape $$shape \
	--dtype bfloat16 --peer-dtype bfloat16 $(SPEED) || exit 1; done

.venv/.stamp: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -c $(CONSTRAINTS) torch
	$(BIN)/python -m pip install -q -c $(CONSTRAINTS) -e ".[dev]"
	touch $@

clean:
	rm -rf .venv build dist
