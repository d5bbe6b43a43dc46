# Everything a newcomer needs: `make` does the main job, `make test` tests, `make help` lists the rest.

DATA ?=
LABELS ?=
SPLIT ?=
# Without data and sets: a demonstration on the phantom, with a quarter of the pixels and few steps. 14 classes
# need far more steps than 4 before they are learned.
DEMO := $(if $(DATA)$(LABELS)$(SHARDS),,yes)
SHARDS ?= $(if $(DEMO),data/phantom/shards_2mm,data/shards)
MODELS ?= models/saved
RESULTS ?= results/evaluation_results
EPOCHS ?= $(if $(DATA),,4)
LR ?= $(if $(DATA),,0.003)
CLASSES ?= $(if $(DATA),,4)
DEVICE ?= auto
ANALYSIS ?=
PART ?=
RESUME ?= auto
MINUTES ?= 8
REAL ?=
OUT ?= results/gpu-proof
PYTHON ?= python3

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
SETS := $(if $(DATA),--data-dir "$(DATA)") $(if $(LABELS),--labels-dir "$(LABELS)") \
	$(if $(SPLIT),--split "$(SPLIT)") --shards-dir "$(SHARDS)" --device $(DEVICE) \
	$(if $(DEMO),--use-dummy-data --spacing-mm 2 --shape 160 128 --synthetic-samples 64)
CHOICES := $(if $(CLASSES),--num-classes $(CLASSES))

# Slices of the demonstration are too small to share; threads that share busy cores wait for each other.
ifneq ($(DEMO),)
export OMP_NUM_THREADS ?= 1
endif

.DEFAULT_GOAL := all
.PHONY: all setup shards verify train eval demo test test-all lint bench gpu-proof clean help

# $(call next,STEP,MINUTES of the demonstration)
next = @printf '\n== %s%s\n' '$(1)' '$(if $(DEMO), (about $(2) of 8 minutes on two slow shared cores))'

all: $(READY) ## the main job: shards, both models, the report on their robustness
	$(call next,1 of 4: first pictures: results/demo/synth.png,1)
	$(BIN)/python example.py --demo synth --output-dir results/demo
	$(call next,2 of 4: sets of slices and synthetic samples: $(SHARDS),1)
	$(MAKE) shards
	$(call next,3 of 4: training of Model A and Model B: $(MODELS),3)
	$(MAKE) train
	$(call next,4 of 4: measurements of both and the report: $(RESULTS)/report.html,2)
	$(MAKE) eval

setup: $(READY) ## create .venv and install (again when pyproject.toml or constraints.txt change)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $(PYTHON) is older than Python 3.11; try make PYTHON=python3.12" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(READY)

shards: $(READY) ## write the sets of slices and synthetic samples to SHARDS
	$(BIN)/python shards/main.py $(SETS)

verify: $(READY) ## check every byte and every sample of the sets in SHARDS
	$(BIN)/python shards/main.py verify "$(SHARDS)"

train: $(READY) ## train Model A (synthetic only) and Model B (real T1 only)
	$(BIN)/torchrun --standalone train/main.py $(SETS) --save-dir "$(MODELS)" $(CHOICES) \
		$(if $(EPOCHS),--epochs $(EPOCHS)) $(if $(LR),--lr $(LR)) --resume $(RESUME)

eval: $(READY) ## measure both models and write RESULTS/report.html
	$(BIN)/python eval/main.py --model compare $(SETS) --model-dir "$(MODELS)" --output-dir "$(RESULTS)" $(CHOICES) \
		$(if $(PART),--part $(PART)) $(if $(ANALYSIS),--refresh-analysis "$(ANALYSIS)")

demo: $(READY) ## write pictures of what the generator does to results/demo
	$(BIN)/python example.py --demo all --output-dir results/demo

test: $(READY) ## the fast tests (real data: set SPIDER_MINI and REAL_VOLUMES)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not slow"

test-all: $(READY) ## all tests, with the slow ones
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

lint: $(READY) ## formatting, style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(READY) ## measure generator, shards, training and service on DEVICE, side by side with peers
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench,serve]'
	$(BIN)/python benchmarks/generator.py --device $(DEVICE)
	$(BIN)/python benchmarks/shards.py --device $(DEVICE)
	$(BIN)/python benchmarks/training.py --device $(DEVICE)
	$(BIN)/python benchmarks/service.py --device $(DEVICE)

gpu-proof: $(READY) ## try everything on one CUDA GPU in MINUTES, into OUT; REAL names a folder of real slices
	$(BIN)/python benchmarks/gpu_proof.py --minutes $(MINUTES) --out "$(OUT)" $(if $(REAL),--real "$(REAL)")

clean: ## remove what was installed and cached; data, models and results stay
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  \1\t/' | expand -t 14
	@echo "Variables: DATA= LABELS= SPLIT= SHARDS=$(SHARDS) MODELS=$(MODELS) RESULTS=$(RESULTS)"
	@echo "           EPOCHS= LR= CLASSES= (4, 0.003, 4 without DATA; else 20, 0.001, 14)"
	@echo "           DEVICE=$(DEVICE) PYTHON=$(PYTHON) ANALYSIS= (a text whose tables make eval writes anew)"
	@echo "           MINUTES=$(MINUTES) OUT=$(OUT) REAL= (of make gpu-proof)"
