# The running order, in one runnable place. Bare `make` lists the targets; options are given as `make train CONFIG=...`.
# Every step is a script that can be run by hand too: .venv/bin/python scripts/.../NN_step.py --help

SHELL := bash
.DEFAULT_GOAL := help
.NOTPARALLEL:

PYTHON_HERE := .venv/bin/python
PREPROCESSING := $(PYTHON_HERE) scripts/preprocessing
TRAINING := $(PYTHON_HERE) scripts/training
EVALUATION := $(PYTHON_HERE) workspace/training_demo/evaluation
WORKSPACE := workspace/training_demo
LABELS := $(WORKSPACE)/annotations
RESULTS := $(WORKSPACE)/evaluation/results

# $(call option,--flag,VALUE): the flag with its value, if there is one
option = $(if $(2),$(1) "$(2)")

# A config trains into the folder of its name, and is exported from there, unless RUN_DIR says otherwise. Its graph has
# the name of that folder, so that it does not take the place of the one that ships.
RUN_OF_CONFIG := $(if $(RUN_DIR),$(RUN_DIR),$(if $(CONFIG),$(WORKSPACE)/training/$(basename $(shell basename "$(CONFIG)"))))
GRAPH_NAME := $(if $(GRAPH),$(GRAPH),$(if $(RUN_OF_CONFIG),$(shell basename "$(RUN_OF_CONFIG)")))
GRAPH_FOLDER := $(if $(GRAPH_NAME),$(WORKSPACE)/trained-inference-graphs/$(GRAPH_NAME))
START_FOLDER := $(if $(START),$(WORKSPACE)/trained-inference-graphs/$(START))
# What `make data` makes. It removes the old ones before step 02 may refuse the new images, for they may be of others.
LABEL_FILES := $(foreach split,train val test,$(LABELS)/$(split)_labels.csv $(LABELS)/$(split).record)
# What steps 01 and 02 do with images that are not there, or not annotated
GAPS := $(if $(ALLOW_MISSING),--allow-missing) $(call option,--empty-images,$(EMPTY_IMAGES))
DIVISION := $(call option,--split,$(SPLIT)) $(call option,--fold,$(FOLD)) $(call option,--seed,$(SEED)) \
    $(call option,--val-share,$(VAL_SHARE)) $(call option,--exif,$(EXIF)) $(GAPS) \
    $(call option,--bad-boxes,$(BAD_BOXES)) $(call option,--out-of-image,$(OUT_OF_IMAGE))
# intel-tensorflow's worker threads spin for 200 ms after each operation, unless told otherwise; the usual build ignores this.
export KMP_BLOCKTIME ?= 1

.PHONY: help setup demo test data anchors check train export pretrained eval report predict tensorboard reproduce compare ceiling bench clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup:  ## Python 3.7, .venv, models/research; nothing if all is there (CPU=intel|stock PYTHON=path)
	@CPU="$(CPU)" PYTHON="$(PYTHON)" bash scripts/setup.sh

demo: setup  ## everything on a small synthetic dataset, in its own folder, about 10 minutes
	@bash scripts/demo.sh

test: setup  ## the tests (TESTS=tests/test_boxes.py; SHELF_DATA=folder runs those that need the real photographs too)
	$(PYTHON_HERE) -m pytest -n 2 --dist loadfile $(TESTS)

# ANNOTATIONS and FORMAT are for step 01 alone: it puts them where step 02 looks and knows them.
data: setup  ## steps 01, 02, 04 (FROM= SPLIT=official|grouped FOLD=0..3 EXIF=apply and more: README, "Your own data")
	@$(PREPROCESSING)/02_split_annotations.py $(DIVISION) --check-options
	$(PREPROCESSING)/01_fetch_dataset.py $(call option,--from,$(FROM)) $(call option,--annotations,$(ANNOTATIONS)) \
	    $(call option,--format,$(FORMAT)) $(call option,--test-share,$(TEST_SHARE)) $(call option,--seed,$(SEED)) $(GAPS)
	@rm -f $(LABEL_FILES)
	$(PREPROCESSING)/02_split_annotations.py $(DIVISION)
	$(PREPROCESSING)/04_generate_tfrecords.py $(call option,--exif,$(EXIF))

anchors: setup  ## step 03: how well a config's anchors meet the products, and which would be best (CONFIG=file)
	$(PREPROCESSING)/03_estimate_anchors.py $(call option,--config,$(CONFIG))

check: setup  ## step 05: is this config fit to train with? (CONFIG=file START=graph)
	$(TRAINING)/05_check_config.py $(call option,--config,$(CONFIG)) $(call option,--start-from,$(START_FOLDER))

train: check  ## steps 05, 06: train, or go on where training stopped (CONFIG=file RUN_DIR=folder; START=graph: from its weights)
	$(TRAINING)/06_train.py $(call option,--config,$(CONFIG)) $(call option,--run-dir,$(RUN_DIR)) $(call option,--start-from,$(START_FOLDER))

export: setup  ## step 07: checkpoint to a frozen graph, named after CONFIG= or RUN_DIR= (GRAPH= CHECKPOINT=best|newest|prefix UNFOLDED=1)
	$(TRAINING)/07_export_inference_graph.py $(call option,--run-dir,$(RUN_OF_CONFIG)) \
	    $(call option,--checkpoint,$(CHECKPOINT)) $(call option,--name,$(GRAPH_NAME)) $(if $(UNFOLDED),--unfolded)

pretrained: setup  ## fetch the zoo's COCO checkpoint, which ssd_inception_v2_coco.config fine-tunes
	$(TRAINING)/fetch_pretrained.py

eval: setup  ## steps 08, 09: score on val and test; writes metrics.json, image2products.json (GRAPH=name or CONFIG= RUN_DIR=; EXIF=)
	$(EVALUATION)/08_detect.py $(call option,--graph,$(GRAPH_FOLDER)) --labels $(LABELS)/val_labels.csv $(call option,--exif,$(EXIF))
	$(EVALUATION)/08_detect.py $(call option,--graph,$(GRAPH_FOLDER)) --labels $(LABELS)/test_labels.csv $(call option,--exif,$(EXIF))
	$(EVALUATION)/09_score.py $(call option,--graph-dir,$(GRAPH_FOLDER))

report: setup  ## step 10: one HTML page of the test images with hits and errors (after make eval; GRAPH=name or CONFIG= RUN_DIR=)
	$(EVALUATION)/10_report.py $(if $(GRAPH_NAME),$(call option,--config,$(GRAPH_FOLDER)/pipeline.config))

predict: setup  ## step 08 on a folder: draw, count (IMAGES=folder; GRAPH= CONFIG= RUN_DIR= EXIF= PAD=1 TILES=2 THRESHOLD= SKIP_BAD= DRAW=)
	$(if $(IMAGES),,$(error name the photographs: make predict IMAGES=folder))
	$(EVALUATION)/08_detect.py --images "$(IMAGES)" $(call option,--graph,$(GRAPH_FOLDER)) $(call option,--exif,$(EXIF)) \
	    $(if $(PAD),--pad-strips) $(call option,--tiles,$(TILES)) $(call option,--threshold,$(THRESHOLD)) $(if $(SKIP_BAD),--skip-bad) --draw "$(or $(DRAW),$(RESULTS)/drawn)"

tensorboard: setup  ## curves of a run, or of all of them, in the browser (RUN_DIR=folder)
	$(PYTHON_HERE) -m tensorboard.main --logdir "$(or $(RUN_OF_CONFIG),$(WORKSPACE)/training)"

reproduce: setup  ## train the shipped detector anew; how far its figures are from metrics.json (FOLD=0..3: on held-out planograms)
	$(PYTHON_HERE) scripts/experiments/reproduce.py $(call option,--fold,$(FOLD)) $(call option,--seed,$(SEED)) $(call option,--run-dir,$(RUN_DIR))

compare: setup  ## what each choice of the recipe is worth: two dozen short trainings, hours; ablations.json keeps what is done
	$(PYTHON_HERE) scripts/experiments/ablations.py

ceiling: setup  ## how far the labels agree with themselves, and so what AP they allow
	$(PYTHON_HERE) scripts/experiments/label_noise.py

bench: setup  ## images/s and memory of steps 04, 08 and 09 (SHELF_DATA=, SHELF_DATA_ORIGINAL=folder: on real ones)
	$(PYTHON_HERE) scripts/experiments/benchmarks.py

clean:  ## remove what can be made again in minutes: labels, records, results, the demo; never images, runs, graphs
	rm -rf $(WORKSPACE)/demo $(RESULTS) .pytest_cache .hypothesis
	rm -f $(LABEL_FILES)
	find scripts tests workspace -name __pycache__ -type d -prune -exec rm -rf {} +
