PYTHON ?= python3
VENV := .venv
NNUNET := .venv-nnunet
DOCS := .venv-docs
DIST := .venv-dist
BIN := $(VENV)/bin
CORES ?= $(or $(shell nproc 2>/dev/null),2)
# Tests that wait, as those on SLURM do, leave their core to another worker.
WORKERS = $(shell echo $$(($(CORES) < 8 ? $(CORES) + 1 : 8)))

.PHONY: setup nnunet demo check style types test tests coverage docs docs-links pictures dist clean

setup: $(VENV)/ready

$(VENV)/ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 to 3.13 is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

# nnU-Net's own environment, for the rows that it trains.
nnunet: $(NNUNET)/ready

$(NNUNET)/ready: envs/nnunet.lock
	$(PYTHON) -m venv $(NNUNET)
	$(NNUNET)/bin/python -m pip install --quiet --disable-pip-version-check --requirement envs/nnunet.lock
	touch $@

# The main job on an embedded phantom; shows jobs done and left, and how trainings come along.
demo: $(VENV)/ready
	@echo "Making 32 phantom CTs, then training 10 small networks on them: four to fourteen minutes on two cores."
	$(BIN)/python -m renal phantom --labelled 30 --unlabelled 2 --seed 0 --size 192 --threads $(CORES) --output results/demo/data
	$(BIN)/snakemake --configfile demo.yaml --cores $(CORES) --quiet rules reason
	$(BIN)/snakemake --configfile demo.yaml --cores $(CORES) --quiet all --report results/demo/report.html
	@sed '/^## Each/,$$d' results/demo/tables/cv.md
	@echo 'Tables:   results/demo/tables/cv.md (own grid, ceiling, further metrics)'
	@echo
	@echo 'Pictures: results/demo/resvnet/pictures'
	@echo 'Page:     results/demo/report/index.html (cases to scroll through)'
	@echo 'Report:   results/demo/report.html (open it in a browser)'

# Style and types.
check: style types

style: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow/Snakefile rules

types: $(VENV)/ready
	$(BIN)/mypy

# Types are checked beside the tests, as mypy leaves all cores but one to others.
test: style
	$(MAKE) --jobs 2 types tests

tests: $(VENV)/ready
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup

# Lines and branches that the unit tests run, in steps that they start as programs too.
coverage: $(VENV)/ready
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup --cov --cov-report=term-missing:skip-covered tests/unit

# The site, in docs/site/html. Any warning, such as a dead link within it, is an error.
docs: $(DOCS)/ready
	if command -v dot > /dev/null; then $(MAKE) --no-print-directory pictures; fi
	$(DOCS)/bin/sphinx-build --fresh-env --quiet --fail-on-warning --keep-going docs docs/site/html
	@echo 'docs/site/html/index.html'

# Links to elsewhere; needs the network.
docs-links: $(DOCS)/ready
	$(DOCS)/bin/sphinx-build --builder linkcheck --quiet docs docs/site/links

# An environment of its own, which finds the package and its libraries in the other one.
$(DOCS)/ready: docs/requirements.lock $(VENV)/ready
	$(BIN)/python -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install --quiet --disable-pip-version-check --requirement docs/requirements.lock
	echo "import site; site.addsitedir('$$(realpath $(VENV))/lib/$$(ls $(VENV)/lib | head -1)/site-packages')" > $(DOCS)/lib/$$(ls $(DOCS)/lib | head -1)/site-packages/renal.pth
	touch $@

# The graphs of rules and rooms in README and docs, whose texts tests compare; needs Graphviz. The seed puts arrows in order.
pictures: $(VENV)/ready
	PYTHONHASHSEED=0 $(BIN)/snakemake --rulegraph dot --config 'methods=[resvnet,damnet]' > docs/pictures/rules.dot
	tred docs/pictures/rules.dot | dot -Tpng -Gdpi=90 -Nfontsize=12 -Nwidth=1.6 -o docs/pictures/rules.png
	$(BIN)/python benchmarks/structure.py --dot > docs/pictures/architecture.dot
	dot -Tpng -Gdpi=90 -o docs/pictures/architecture.png docs/pictures/architecture.dot

# Wheel and source distribution, checked by a twine that knows their metadata: the lock's packaging does not yet.
dist: $(VENV)/ready $(DIST)/ready
	rm -rf dist
	$(BIN)/hatchling build
	$(DIST)/bin/twine check --strict dist/*

$(DIST)/ready: Makefile
	$(PYTHON) -m venv $(DIST)
	$(DIST)/bin/python -m pip install --quiet --disable-pip-version-check twine==7.0.0
	touch $@

clean:
	rm -rf $(VENV) $(NNUNET) $(DOCS) $(DIST) docs/site docs/reference dist results/demo
