# The two commands: `make demo` and `make test`. Everything is put into .venv and .cache, both ignored by git.
PYTHON ?= python3
SEED   ?= 0
# virtual machines at a time, of up to 8 GiB each
GUESTS ?= 2
VENV   := .venv
BIN    := $(VENV)/bin
CODE   := base pcibus registers firmware gpumodel amdriver nvdriver probe evidence resets repro render lab runtime commands tools bench tests examples gpumend.py cli.py

# The tests start some hundred processes: each would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-long test-lab test-lab-long test-peer lab lint pytest fuzz fuzz-short bench firmware firmware-nvidia source regs regs-check isa llvm picture reset-matrix isa-check clean help
.DEFAULT_GOAL := help

help:
	@echo "make demo      a modelled hive with two sick GPUs, looked at"
	@echo "make test      ruff, mypy, 20 s of fuzzing, pytest (fast tests)"
	@echo "make test-long what takes minutes: resets of served models that are killed half way"
	@echo "make test-lab  a stock Debian kernel in QEMU with our models on its PCI bus"
	@echo "make test-lab-long  the same for what takes minutes in an emulated machine"
	@echo "make test-peer tinygrad, installed into .venv: unmodified on served models, and on our driver"
	@echo "make lab       fetch and build what test-lab and gpumend lab run need into .cache/lab"
	@echo "make fuzz      200,000 mutations of every parser, 5,000 kernels compiled and interpreted (SEED=n for others)"
	@echo "make bench     ratios against the interpreter's own floor, peers' figures beside"
	@echo "make firmware  fetch AMD's firmware files from Debian into .cache/ (tests use them)"
	@echo "make firmware-nvidia  fetch NVIDIA's GSP firmware (104 MB) for the tests of its containers"
	@echo "make source    fetch the kernel source that the register tables come from into .cache/"
	@echo "make regs      generate registers/amd and registers/data again from the kernel's headers"
	@echo "make regs-check  are the committed tables what that source gives"
	@echo "make llvm      fetch LLVM 22 from Debian into .cache/: tinygrad compiles kernels with it (LLVM_PATH)"
	@echo "make isa       generate the table of instructions again from LLVM's descriptions"
	@echo "make reset-matrix  what reset makes of every fault of the model: docs/reset-matrix.md"
	@echo "make isa-check  vector instructions against tinygrad's emulator, and docs/isa-coverage.md"
	@echo "make clean     remove .venv, .cache and what tools leave behind"

demo: $(VENV)/.demo
	@$(BIN)/gpumend model demo

test: lint fuzz-short pytest

lint: $(VENV)/.test
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy

pytest: $(VENV)/.test
	$(BIN)/pytest -n auto -m 'not long'

test-long: $(VENV)/.test
	$(BIN)/pytest -n auto -m long --ignore tests/peer

lab: $(VENV)/.demo
	$(BIN)/gpumend lab build

test-lab: $(VENV)/.test
	$(BIN)/pytest -ra -n $(GUESTS) --dist loadfile -m 'not long' --durations=20 tests/lab

test-lab-long: $(VENV)/.test
	$(BIN)/pytest -ra -m long --durations=10 tests/lab

test-peer: $(VENV)/.bench firmware
	$(BIN)/pytest -ra tests/peer tests/model/test_examples.py

fuzz: $(VENV)/.test firmware
	$(BIN)/python -m tests.fuzz.fuzz_discovery --count 200000 --seed $(SEED)
	$(BIN)/python -m tests.fuzz.fuzz_firmware --count 200000 --seed $(SEED)
	$(BIN)/python -m tests.fuzz.fuzz_remote --count 200000 --seed $(SEED)
	$(BIN)/python -m tests.fuzz.fuzz_vfio_user --count 200000 --seed $(SEED)
	$(BIN)/python -m tests.fuzz.fuzz_kernels --count 5000 --seed $(SEED)

fuzz-short: $(VENV)/.test
	@$(BIN)/python -m tests.fuzz.fuzz_discovery --seconds 20 --seed $(SEED) & first=$$!; \
	$(BIN)/python -m tests.fuzz.fuzz_firmware --seconds 20 --seed $(SEED) && wait $$first

bench: $(VENV)/.bench
	$(BIN)/python -m bench

firmware: $(VENV)/.demo
	$(BIN)/python tools/get_firmware.py

firmware-nvidia: $(VENV)/.demo
	$(BIN)/python tools/get_firmware.py --nvidia

source: $(VENV)/.demo
	$(BIN)/python tools/debian_source.py

regs: $(VENV)/.dev source
	$(BIN)/python tools/gen_structs.py
	$(BIN)/python tools/gen_registers.py

isa: $(VENV)/.demo
	$(BIN)/python tools/get_llvm.py --source
	$(BIN)/python tools/gen_isa.py
	$(BIN)/python -m tests.isa_code

llvm: $(VENV)/.demo
	$(BIN)/python tools/get_llvm.py

regs-check: $(VENV)/.dev
	$(BIN)/python tools/gen_structs.py --check
	$(BIN)/python tools/gen_registers.py --check

isa-check: $(VENV)/.bench
	$(BIN)/python tools/get_llvm.py --clang
	$(BIN)/python tools/get_oracle.py
	mkdir -p .cache/isa
	for part in mi300x mi350x; do LLVM_PATH=$$($(BIN)/python -c 'from tools.get_llvm import LIBRARY; print(LIBRARY)') \
	  $(BIN)/python -m tests.peer.tinygrad_numbers "model:$$part*2" --mnemonics .cache/isa/$$part.txt || exit 1; done
	$(BIN)/python tools/isa_check.py --write --ran .cache/isa/mi300x.txt --ran .cache/isa/mi350x.txt

reset-matrix: $(VENV)/.demo firmware
	$(BIN)/python -m tools.reset_matrix

picture: $(VENV)/.demo
	$(BIN)/gpumend model demo --svg docs/demo.svg > /dev/null

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "gpumend needs Python 3.11 or later: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "no venv: apt-get install python3-venv (Debian, Ubuntu)"; rm -rf $(VENV); exit 1; }

$(VENV)/.demo: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install -q --disable-pip-version-check -e .
	@touch $@

$(VENV)/.test: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install -q --disable-pip-version-check -e '.[test]'
	@touch $@

$(VENV)/.bench: $(VENV)/.test
	$(BIN)/pip install -q --disable-pip-version-check -e '.[test,tinygrad]'
	@touch $@

$(VENV)/.dev: $(VENV)/.test
	$(BIN)/pip install -q --disable-pip-version-check -e '.[test,dev]'
	@touch $@

clean:
	rm -rf $(VENV) .cache build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
