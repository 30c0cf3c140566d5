# Three commands on a fresh machine with Python 3.11+, git and make:
#   make demo    a person cut out of a moving picture: out/demo.mp4, out/demo.png
#   make live    a page for your browser's camera, on this computer alone
#   make test    the tests
# and for those who change the code: make check, make bench, make help.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INPUTS := pyproject.toml constraints.txt

# pip reads these two: the pins hold for what is installed and for what builds it.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_BUILD_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DELETE_ON_ERROR:
.PHONY: help demo live test check parity zoo golden bench bench-gpu first-time triton platforms constraints clean

help:
	@echo "make demo         a person cut out of a moving picture: out/demo.mp4, out/demo.png"
	@echo "make live         a page for your browser's camera, on this computer alone (PORT=8000)"
	@echo "make test         the tests"
	@echo "make check        ruff, basedpyright, import-linter"
	@echo "make parity       models and losses against PyTorch's libraries, in .venv-peers"
	@echo "make zoo          trains every decoder on every family of encoders, for a moment each"
	@echo "make golden       the small files by which make test knows them, written anew"
	@echo "make bench        how fast it is, beside MediaPipe and OpenCV (PEERS=folder of .onnx files)"
	@echo "make bench-gpu    the same on an NVIDIA GPU, beside PyTorch; installs nothing"
	@echo "make triton       adds what the Triton tests need (Linux x86-64, no GPU needed)"
	@echo "make first-time   the README's way to the page in an empty home, timed (FIRST=folder)"
	@echo "make platforms    asks the registry whether the plain install resolves on each system"
	@echo "make constraints  renews constraints.txt"
	@echo "make clean        removes .venv, .venv-peers and out"

demo: $(VENV)/.plain
	$(BIN)/python serve.py --source sample --background blur --person largest --sink out/demo.mp4 \
	  --max-frames 150 --report out/demo.json
	$(BIN)/python -m segjax.cli.demo --video out/demo.mp4 --picture out/demo.png

PORT ?= 8000
live: $(VENV)/.plain
	@$(BIN)/python serve.py --source browser --port $(PORT)

# A file's tests stay in one process, which compiles for all of them.
test: $(VENV)/.dev
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

# PyTorch's CPU build will do; an environment of its own, since nothing else here needs it.
PARITY := .venv-peers
parity: $(PARITY)/.made
	$(PARITY)/bin/python -m pytest -m peers tests/interop tests/training/test_losses.py

zoo: $(VENV)/.dev
	$(BIN)/python -m pytest -m zoo --numprocesses auto --dist worksteal tests/models

golden: $(PARITY)/.made
	$(PARITY)/bin/python tests/interop/write_golden.py
	$(PARITY)/bin/python tests/training/loss_peers.py

PEERS ?= ../shared/peers
bench: $(VENV)/.dev
	$(BIN)/python benchmarks/bench.py --peers $(PEERS) --out out

FIRST ?= out/first-time
first-time: $(VENV)/.dev
	rm -rf $(FIRST)
	$(BIN)/python tests/web/first_time.py $(FIRST)

# From the tree, with the Python and the packages that the GPU machine has.
OUT ?= out/gpu
bench-gpu:
	PYTHONPATH=.:kernels$${PYTHONPATH:+:$$PYTHONPATH} $(PYTHON) benchmarks/bench.py --gpu --out $(OUT)

triton: $(VENV)/.dev
	$(BIN)/pip install --quiet triton jax-triton flatbuffers
	@# The plugin lowers to CUDA; without its dependencies JAX goes on seeing only the CPU.
	$(BIN)/pip install --quiet --no-deps jax-cuda13-plugin

platforms: $(VENV)/.dev
	$(BIN)/python benchmarks/platforms.py --report out/platforms.json

# The newest versions that fit all supported Pythons and systems at once.
constraints: $(VENV)/.made
	env -u PIP_CONSTRAINT $(BIN)/pip install --quiet uv
	(sed '/^[^#]/,$$d' constraints.txt; $(BIN)/uv pip compile --quiet --universal --upgrade \
	  --python-version 3.11 --fork-strategy fewest --no-header --no-annotate \
	  --extra dev --extra gpu --extra tf pyproject.toml) > constraints.new
	mv constraints.new constraints.txt

clean:
	rm -rf $(VENV) $(PARITY) out

$(VENV)/.made:
	@command -v $(PYTHON) > /dev/null || { \
	  echo "error: no $(PYTHON) here; segjax needs Python 3.11 or newer; install it or name another: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: $(PYTHON) is $$($(PYTHON) --version 2>&1); segjax needs Python 3.11 or newer; name one: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null || { \
	  echo "error: $(PYTHON) lacks the venv module; it is needed to make $(VENV); on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(PARITY)/.made: BIN := $(PARITY)/bin
$(PARITY)/.made: $(VENV)/.made $(INPUTS)
	$(PYTHON) -m venv --clear $(PARITY)
	$(BIN)/pip install --quiet --editable . pytest pytest-timeout hypothesis \
	  torch==2.13.0 transformers==5.23.0 kornia==0.9.0 pillow
	@# Without its dependencies: its compiled operators fit only the PyTorch it was built with.
	$(BIN)/pip install --quiet --no-deps torchvision==0.28.0 timm==1.0.31
	@$(opencv)
	@touch $@

$(VENV)/.plain: $(VENV)/.made $(INPUTS)
	@echo "installing segjax and what it needs into $(VENV), once; it takes a minute or a few"
	$(BIN)/pip install --quiet --editable .
	@$(opencv)
	@$(native)
	@touch $@

$(VENV)/.dev: $(VENV)/.made $(INPUTS)
	$(BIN)/pip install --quiet --editable '.[dev]'
	@$(opencv)
	@$(native)
	@touch $(VENV)/.plain $@

# opencv-python links libGL, which containers and servers often lack. The headless build has the
# same functions but no windows, which nobody could see there anyway.
define opencv
if ! reason=$$($(BIN)/python -c 'import cv2' 2>&1); then \
  case "$$reason" in \
  *"cannot open shared object"*) \
    version=$$($(BIN)/python -c 'from importlib.metadata import version; print(version("opencv-python"))'); \
    echo "opencv-python does not load: $${reason##*ImportError: }"; \
    echo "taking opencv-python-headless $$version instead: all but --sink window works"; \
    $(BIN)/pip uninstall --quiet --yes opencv-python opencv-python-headless; \
    $(BIN)/pip install --quiet --no-deps "opencv-python-headless==$$version";; \
  *) echo "$$reason"; exit 1;; \
  esac; \
fi
endef

# What a processor does for a frame, in C where there is a compiler: XLA takes a third to a half longer.
define native
if command -v $${CC:-cc} > /dev/null; then \
  $(BIN)/python -m segjax_kernels.cpu.build > /dev/null || echo "going on without the C functions"; \
fi
endef
