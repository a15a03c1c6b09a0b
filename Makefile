# One command for each thing; `make help` lists them.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt

.PHONY: help demo test test-browser lint soak bench bench-train bench-panel bench-room docs clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv
	$(PIP) --editable .
	@touch $@

.venv/installed-dev: .venv/installed
	$(PIP) --editable '.[training,test,lint]'
	@touch $@

.venv/installed-docs: .venv/installed
	$(PIP) --editable '.[docs]'
	@touch $@

demo: .venv/installed ## set up, then judge the simulated sample head
	$(BIN)/paranasal predict ParanasalSSLLib/data/sample/simulated_head.nii.gz --output demo \
		--note "This is a simulated head with a cyst in the left sinus: no patient."

test: .venv/installed-dev lint ## set up, check style and types, run all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile \
		--cov ParanasalSSLLib --cov-branch --cov-report term:skip-covered

# An environment of its own: the reading room's views need another slicer-core than the panel's tests.
.venv-viewer/installed: pyproject.toml constraints-viewer.txt
	$(PYTHON) -m venv .venv-viewer
	.venv-viewer/bin/python -m pip install --quiet --constraint constraints-viewer.txt \
		--editable '.[viewer,browser-test]'
	@touch $@

# The scene's code is the panel's own: its tests run here on what the room has in the application's place.
SCENE_TESTS := $(foreach name,boxes cases export readings results result_segments segments,Testing/Slicer/test_$(name).py)

test-browser: .venv-viewer/installed ## the reading room in a real browser (Debian: chromium)
	.venv-viewer/bin/python -m pytest Testing/Viewer $(SCENE_TESTS)

lint: .venv/installed-dev ## style, types, and which room may import which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

soak: .venv/installed-dev ## 2,000 hostile inputs, then 200 kills at random moments (half an hour)
	OMP_NUM_THREADS=1 $(BIN)/python Testing/soak/soak.py
	OMP_NUM_THREADS=1 $(BIN)/python Testing/soak/kills.py

bench: .venv/installed-dev ## seconds and memory of each stage of `predict`
	$(BIN)/python Testing/benchmarks/bench_predict.py

bench-train: .venv/installed-dev ## training steps a second against the usual per-sample pipeline
	$(BIN)/python Testing/benchmarks/bench_training.py

bench-panel: .venv/installed-dev ## seconds until the Slicer panel is open
	$(BIN)/python Testing/benchmarks/bench_panel.py

bench-room: .venv-viewer/installed ## seconds from a click in the reading room's worklist to the case
	.venv-viewer/bin/python Testing/benchmarks/bench_room.py

docs: .venv/installed-docs ## the documentation as a site, in build/docs
	$(BIN)/sphinx-build --quiet -b html Docs build/docs

clean: ## remove what `make` made
	rm -rf .venv .venv-viewer demo build *.egg-info
