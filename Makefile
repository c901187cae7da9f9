# The pipeline in its order; `make` alone lists the targets. Options are given as `make train CONFIG=mine`. Their names are
# in scripts/variables.mk. Values are used as typed; those that are 1 here (PAD=1) are off with 0, no, false or off. One
# that no target asked for uses is refused.
# Every step is a script that also runs by itself: .venv/bin/python scripts/.../NN_step.py --help
#
# CONFIG is the name of a config in training/, or the path of one. training/NAME.config trains into training/NAME/, is
# exported into trained-inference-graphs/NAME/ and scored into metrics.json beside its graph, so that nothing of yours
# replaces the included detectors. Without CONFIG the scripts use the config that you edit,
# training/ssd_inception_v2_custom.config.
# RUN_DIR=folder names another folder for the run, GRAPH=name another graph.

SHELL := bash
.DEFAULT_GOAL := help
.NOTPARALLEL:

include scripts/variables.mk

# PYTHON_HERE=path: another Python for all steps
RUN_PYTHON := $(if $(PYTHON_HERE),$(call quoted,$(PYTHON_HERE)),.venv/bin/python)
PREPROCESSING := $(RUN_PYTHON) scripts/preprocessing
TRAINING := $(RUN_PYTHON) scripts/training
EXPERIMENTS := $(RUN_PYTHON) scripts/experiments
EVALUATION := $(RUN_PYTHON) workspace/training_demo/evaluation
WORKSPACE := workspace/training_demo
LABELS := $(WORKSPACE)/annotations
RESULTS := $(WORKSPACE)/evaluation/results

# Programs take the names apart, because make's own functions would split a path at its spaces.
CONFIG_NAME := $(if $(CONFIG),$(shell basename -- $(call quoted,$(CONFIG)) .config))
CONFIG_IS_PATH := $(if $(CONFIG),$(findstring /,$(CONFIG))$(shell test -f $(call quoted,$(CONFIG)) && echo yes))
CONFIG_FILE := $(if $(CONFIG),$(if $(CONFIG_IS_PATH),$(CONFIG),$(WORKSPACE)/training/$(CONFIG_NAME).config))
RUN_FOLDER := $(if $(RUN_DIR),$(RUN_DIR),$(if $(CONFIG),$(WORKSPACE)/training/$(CONFIG_NAME)))
GRAPH_NAME := $(if $(GRAPH),$(GRAPH),$(if $(RUN_FOLDER),$(shell basename -- $(call quoted,$(RUN_FOLDER)))))
GRAPH_FOLDER := $(if $(GRAPH_NAME),$(WORKSPACE)/trained-inference-graphs/$(GRAPH_NAME))
START_FOLDER := $(if $(START),$(WORKSPACE)/trained-inference-graphs/$(START))
TRAIN_OPTIONS := $(call option,--config,$(CONFIG_FILE)) $(call option,--run-dir,$(RUN_DIR)) \
    $(call option,--start-from,$(START_FOLDER))
EXPORT_OPTIONS := $(call option,--run-dir,$(RUN_FOLDER)) $(call option,--name,$(GRAPH_NAME)) \
    $(call option,--checkpoint,$(CHECKPOINT)) $(if $(UNFOLDED),--unfolded)
DETECT_OPTIONS := $(call option,--graph,$(GRAPH_FOLDER)) $(call option,--exif,$(EXIF)) $(if $(PAD),--pad-strips) \
    $(call option,--runtime,$(RUNTIME))
# The label files in whose images `make eval` detects: NAME=default,sku110k names the datasets
EVALUATED_LABELS := $(foreach name,$(or $(subst $(COMMA), ,$(NAME)),default),$(foreach split,val test,\
    $(LABELS)/$(if $(filter-out default,$(name)),$(name)/)$(split)_labels.csv))
DETECT_IN = $(EVALUATION)/08_detect.py --labels $(call quoted,$(1)) $(DETECT_OPTIONS) \
    $(call option,--tiles,$(TILES))$(LINE_BREAK)
# On images of which the network is certain at once, --tiles=auto changes nothing.
PREDICT_OPTIONS := $(call option,--draw,$(or $(DRAW),$(RESULTS)/drawn)) $(call option,--threshold,$(THRESHOLD)) \
    $(call option,--tiles,$(or $(TILES),auto)) $(if $(SKIP_BAD),--skip-bad)
# Labels and detections of all images of a dataset, for make suspects; not the detections that make eval scores
OF_DATASET := $(if $(filter-out default,$(NAME)),$(NAME)/)
DETECT_FOR_SUSPECTS = $(EVALUATION)/08_detect.py --labels $(LABELS)/$(OF_DATASET)$(1)_labels.csv \
    --output $(RESULTS)/$(OF_DATASET)suspects/$(1)_detections.json $(DETECT_OPTIONS) $(call option,--tiles,$(TILES))$(LINE_BREAK)
# Neither is in the results, which `make clean` removes: a person's corrections are no results.
SUSPECT_OPTIONS := $(call option,--threshold,$(THRESHOLD)) $(if $(FORMAT)$(OUTPUT),\
    $(call option,--marked,$(or $(OUTPUT),$(WORKSPACE)/suspects)) $(call option,--format,$(FORMAT)))
PRELABEL_OPTIONS := $(call option,--prelabel,$(or $(OUTPUT),$(WORKSPACE)/prelabels)) $(call option,--format,$(FORMAT)) \
    $(call option,--threshold,$(THRESHOLD)) $(call option,--tiles,$(or $(TILES),auto)) $(if $(SKIP_BAD),--skip-bad)
# Step 12. Images and tables are at URIs, and need not be on this machine.
SPARK_OPTIONS := $(call option,--output,$(or $(OUTPUT),$(RESULTS)/spark)) $(call option,--master,$(MASTER)) \
    $(call option,--archive,$(ARCHIVE)) $(call option,--graph,$(GRAPH_FOLDER)) $(call option,--exif,$(EXIF)) \
    $(if $(PAD),--pad-strips) $(call option,--threshold,$(THRESHOLD)) $(call option,--tiles,$(or $(TILES),auto))
CURVES := $(or $(RUN_FOLDER),$(WORKSPACE)/training)
# --logdir is a list: NAME:FOLDER,FOLDER
splits_logdir = $(findstring :,$(1))$(findstring $(COMMA),$(1))
# What `make data` writes and `make clean` removes, also of datasets with a name; those have no spaces in it
LABEL_FOLDERS := $(LABELS) $(filter $(LABELS)/%,$(patsubst %/.,%,$(wildcard $(LABELS)/*/.)))
LABEL_FILES := $(foreach folder,$(LABEL_FOLDERS),$(folder)/classes.pbtxt \
    $(foreach split,train val test,$(folder)/$(split)_labels.csv $(folder)/$(split).record \
    $(wildcard $(folder)/$(split).record-?????-of-?????)))
# Shards that a run of step 04 had completed when it was killed
WAITING_SHARDS := $(foreach folder,$(LABEL_FOLDERS),$(foreach split,train val test,\
    $(wildcard $(folder)/.$(split).record.shards)))
# NAME=name: the dataset; several, with a comma between them, for make eval
DATASET := $(call option,--dataset,$(NAME))
# How step 04 shrinks and divides images
RECORD_OPTIONS := $(call option,--max-side,$(MAX_SIDE)) $(call option,--tiles,$(TILES)) $(call option,--product-scale,$(PRODUCT_SCALE)) \
    $(call option,--product-aspect-ratio,$(PRODUCT_ASPECT_RATIO)) $(call option,--empty-images,$(EMPTY_IMAGES))
# How steps 01 and 02 treat images that are missing or have no annotation
GAPS := $(if $(ALLOW_MISSING),--allow-missing) $(call option,--empty-images,$(EMPTY_IMAGES))
SPLIT_OPTIONS := $(call option,--split,$(SPLIT)) $(call option,--fold,$(FOLD)) $(call option,--seed,$(SEED)) \
    $(call option,--val-share,$(VAL_SHARE)) $(call option,--exif,$(EXIF)) $(GAPS) \
    $(call option,--bad-boxes,$(BAD_BOXES)) $(call option,--out-of-image,$(OUT_OF_IMAGE)) \
    $(call option,--classes,$(CLASSES))
# Step 01 has the options of step 02, too, so that it replaces nothing by what step 02 would refuse.
# FROM, ANNOTATIONS, FORMAT and CORRECTED are for step 01 alone, which puts into place what step 02 reads.
FETCH_OPTIONS := $(call option,--from,$(FROM)) $(call option,--annotations,$(ANNOTATIONS)) \
    $(call option,--format,$(FORMAT)) $(call option,--corrected,$(CORRECTED)) \
    $(call option,--test-share,$(TEST_SHARE)) $(SPLIT_OPTIONS)

.PHONY: help setup setup-deploy demo lint test data anchors config check train export deploy pretrained eval report predict predict-spark spark-environment prelabel suspects tensorboard reproduce ablations label-noise bench clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup:  ## install Python 3.7, .venv and models/research where they are missing (CPU=intel|stock PYTHON=path SPARK=1)
	@CPU=$(call quoted,$(CPU)) PYTHON=$(call quoted,$(PYTHON)) SPARK=$(call quoted,$(SPARK)) bash scripts/setup.sh

setup-deploy: setup  ## install what make deploy and the runtimes onnxruntime and openvino need
	@bash scripts/setup_deploy.sh $(RUN_PYTHON)

demo: setup  ## the full pipeline on a small synthetic dataset, in a folder of its own; about 10 minutes
	@bash scripts/demo.sh

lint: setup  ## check the format and the style of the code
	$(RUN_PYTHON) -m ruff format --check .
	$(RUN_PYTHON) -m ruff check .

test: setup-deploy  ## run the tests (TESTS=files; SHELF_DATA=folder also runs those that need the real photographs)
	$(call environment,SHELF_DATA) $(call environment,SHELF_DATA_ORIGINAL) \
	    $(RUN_PYTHON) -m pytest -n 2 --dist loadfile $(foreach word,$(TESTS),$(call quoted,$(word)))

# Each step replaces its files once all new ones are complete. Step 05 finds records that differ from the label files.
data: setup  ## steps 01, 02, 04: images to TFRecords (FROM=folder NAME=name CLASSES=keep TILES=2; more: docs/data.md)
	$(if $(MAX_SIDE)$(TILES)$(PRODUCT_SCALE)$(PRODUCT_ASPECT_RATIO),$(PREPROCESSING)/04_generate_tfrecords.py $(RECORD_OPTIONS) --check-options)
	$(PREPROCESSING)/01_fetch_dataset.py $(DATASET) $(FETCH_OPTIONS)
	$(PREPROCESSING)/02_split_annotations.py $(DATASET) $(SPLIT_OPTIONS)
	$(PREPROCESSING)/04_generate_tfrecords.py $(DATASET) $(call option,--exif,$(EXIF)) $(RECORD_OPTIONS)

anchors: setup  ## step 03: anchor coverage of a config, and better anchors (CONFIG=name NAME=name TILES=2 EXIF=apply)
	$(PREPROCESSING)/03_estimate_anchors.py $(DATASET) $(call option,--config,$(CONFIG_FILE)) $(call option,--exif,$(EXIF)) \
	    $(call option,--tiles,$(TILES))

config: setup  ## write training/NAME.config for your dataset, to be edited (CONFIG=name or NAME=name MINUTES=60 STEPS=2800)
	$(TRAINING)/write_config.py $(call option,--config,$(CONFIG)) $(DATASET) $(call option,--minutes,$(MINUTES)) \
	    $(call option,--steps,$(STEPS)) $(if $(OVERWRITE),--overwrite)

check: setup  ## step 05: find mistakes in a config (CONFIG=name RUN_DIR=folder START=graph)
	$(TRAINING)/05_check_config.py $(TRAIN_OPTIONS)

train: check  ## steps 05, 06: train, or resume (CONFIG=name RUN_DIR=folder WORKERS=2; START=graph: with its weights)
	$(TRAINING)/06_train.py $(TRAIN_OPTIONS) $(call option,--workers,$(WORKERS))

export: setup  ## step 07: checkpoint to frozen graph (CONFIG=name RUN_DIR=folder GRAPH=name CHECKPOINT=newest UNFOLDED=1)
	$(TRAINING)/07_export_inference_graph.py $(EXPORT_OPTIONS)

deploy: setup-deploy  ## step 11: the graph as ONNX, SavedModel and OpenVINO int8 (CONFIG=name GRAPH=name NAME=name THRESHOLD=0.5)
	$(TRAINING)/11_deploy.py $(call option,--graph,$(GRAPH_FOLDER)) $(DATASET) $(call option,--threshold,$(THRESHOLD))

pretrained: setup  ## download the zoo's COCO checkpoint, which ssd_inception_v2_coco.config fine-tunes
	$(TRAINING)/fetch_pretrained.py

eval: setup  ## steps 08, 09: detect and score, into metrics.json (GRAPH=name NAME=a,b EXIF=apply TILES=2 PAD=1 RUNTIME=openvino)
	$(foreach labels,$(EVALUATED_LABELS),$(call DETECT_IN,$(labels)))
	$(EVALUATION)/09_score.py $(call option,--dataset,$(NAME)) $(call option,--graph-dir,$(GRAPH_FOLDER))

report: setup  ## step 10, after make eval: an HTML page of the test images with all errors (CONFIG=name GRAPH=name NAME=name)
	$(EVALUATION)/10_report.py $(DATASET) $(if $(GRAPH_NAME),$(call option,--config,$(GRAPH_FOLDER)/pipeline.config))

predict: setup  ## step 08: draw and count (IMAGES=folder CONFIG=name GRAPH=name TILES=1 PAD=1 THRESHOLD=0.5; more: docs/deployment.md)
	$(if $(IMAGES),,$(error name the photographs: make predict IMAGES=folder))
	$(EVALUATION)/08_detect.py $(call option,--images,$(IMAGES)) $(DETECT_OPTIONS) $(PREDICT_OPTIONS)

predict-spark: setup  ## step 12: detections in millions of images, by Spark (IMAGES=uri OUTPUT=uri MASTER=address; docs/scaling.md)
	$(if $(IMAGES),,$(error name the photographs: make predict-spark IMAGES=uri OUTPUT=uri))
	$(EVALUATION)/12_predict_spark.py $(call option,--images,$(IMAGES)) $(SPARK_OPTIONS)

spark-environment: setup  ## what workers of step 12 need, in one file (OUTPUT=environment.tar.gz)
	$(EVALUATION)/pack_environment.py $(call option,--output,$(or $(OUTPUT),$(RESULTS)/environment.tar.gz))

prelabel: setup  ## step 08: detections as annotations to correct (IMAGES=folder FORMAT=voc OUTPUT=folder THRESHOLD=0.5; docs/data.md)
	$(if $(IMAGES),,$(error name the photographs: make prelabel IMAGES=folder FORMAT=voc))
	$(EVALUATION)/08_detect.py $(call option,--images,$(IMAGES)) $(DETECT_OPTIONS) $(PRELABEL_OPTIONS)

suspects: setup  ## labels worth a second look, the worst first (CONFIG=name NAME=name TILES=2 FORMAT=voc OUTPUT=folder; docs/data.md)
	$(EVALUATION)/suspects.py $(DATASET) $(SUSPECT_OPTIONS) --check-options
	$(foreach split,train val test,$(call DETECT_FOR_SUSPECTS,$(split)))
	$(EVALUATION)/suspects.py $(DATASET) $(SUSPECT_OPTIONS)

tensorboard: setup  ## show the curves of all runs in the browser, or of one (CONFIG=name or RUN_DIR=folder)
	$(if $(call splits_logdir,$(CURVES)),$(error $(CURVES): TensorBoard takes a name with , or : apart; rename the folder))
	@test -d $(call quoted,$(CURVES)) || { echo $(call quoted,error: $(CURVES): no such folder; expected that of a run) >&2; exit 1; }
	$(RUN_PYTHON) -m tensorboard.main $(call option,--logdir,$(CURVES))

reproduce: setup  ## train the included detector again and compare the figures (FOLD=0..3: on held-out planograms)
	$(EXPERIMENTS)/reproduce.py $(call option,--fold,$(FOLD)) $(call option,--seed,$(SEED)) $(call option,--run-dir,$(RUN_DIR))

ablations: setup  ## short trainings, each with one choice of the recipe changed; hours, and it can be resumed
	$(EXPERIMENTS)/ablations.py

label-noise: setup  ## how much the labels of repeated photographs differ, and so which AP they allow
	$(EXPERIMENTS)/label_noise.py

bench: setup  ## images/s and memory of steps 04, 08, 09 (SHELF_DATA=folder SHELF_DATA_ORIGINAL=folder: real photographs)
	$(call environment,SHELF_DATA) $(call environment,SHELF_DATA_ORIGINAL) $(EXPERIMENTS)/benchmarks.py

clean:  ## remove what is made again in minutes: labels, records, results, the demo; never images, runs or graphs
	rm -rf $(WORKSPACE)/demo $(RESULTS) $(WAITING_SHARDS) .pytest_cache .hypothesis .ruff_cache
	rm -f $(LABEL_FILES)
	find scripts tests workspace -name __pycache__ -type d -prune -exec rm -rf {} +
