#!/usr/bin/env bash
# The whole road on a small synthetic dataset, each step as a person would start it; `make demo` sets up and runs this.
#
# Reads   workspace/training_demo/training/demo.config and annotations/label_map.pbtxt
# Writes  workspace/training_demo/demo/ and nothing else: the real data's files and metrics.json stay as they are
#
# Started again after a break it goes on with the training; `rm -r workspace/training_demo/demo` starts it all anew.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=.venv/bin/python
config=workspace/training_demo/training/demo.config
demo=workspace/training_demo/demo
images=$demo/images/ShelfImages
labels=$demo/annotations
results=$demo/results
evaluation=workspace/training_demo/evaluation
started=$SECONDS
export TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-2}    # TensorFlow's notes on the machine are no news here

if [ ! -x "$python" ]; then
    echo "error: $python is not there. Run make setup first, or make demo, which does." >&2
    exit 1
fi

step() {
    printf '\n== %s\n' "$1"
    shift
    "$python" "$@"
}

step "00 draw shelves" scripts/preprocessing/00_make_demo_shelves.py --out "$demo/shelves"
step "01 fetch: adopt and verify them" scripts/preprocessing/01_fetch_dataset.py --from "$demo/shelves" \
    --out "$demo/images"
step "02 split" scripts/preprocessing/02_split_annotations.py --images "$demo/images" --out "$labels"
step "03 anchors" scripts/preprocessing/03_estimate_anchors.py --labels "$labels/train_labels.csv" --config "$config" \
    --images "$images" --output "$results" --no-table
step "04 records" scripts/preprocessing/04_generate_tfrecords.py --annotations "$labels" --images "$images"
step "05 check the config" scripts/training/05_check_config.py --config "$config" \
    --train-labels "$labels/train_labels.csv" --val-labels "$labels/val_labels.csv" --test-labels "$labels/test_labels.csv"
step "06 train (about five minutes on two cores)" scripts/training/06_train.py --config "$config" \
    --run-dir "$demo/run" --save-seconds 120 --eval-seconds 120
step "07 export" scripts/training/07_export_inference_graph.py --run-dir "$demo/run" --name detector --output "$demo"
for side in val test; do
    step "08 detect on $side" $evaluation/08_detect.py --graph "$demo/detector" --labels "$labels/${side}_labels.csv" \
        --images "$images" --output "$results/${side}_detections.json"
done
step "09 score" $evaluation/09_score.py --graph-dir "$demo/detector" \
    --ground-truth "$labels/test_labels.csv" --detections "$results/test_detections.json" \
    --val-ground-truth "$labels/val_labels.csv" --val-detections "$results/val_detections.json" \
    --output "$demo/metrics.json" --counts-output "$demo/image2products.json"
step "08 draw the boxes found in the test images" $evaluation/08_detect.py --graph "$demo/detector" \
    --images "$images/test" \
    --output "$results/predictions.json" --draw "$demo/drawings" --metrics "$demo/metrics.json"
step "10 report" $evaluation/10_report.py --detections "$results/test_detections.json" \
    --labels "$labels/test_labels.csv" --images "$images" --metrics "$demo/metrics.json" \
    --config "$demo/detector/pipeline.config" --output "$results/report.html"

"$python" - "$demo" $((SECONDS - started)) <<'PYTHON'
import json
import sys

ENOUGH = 0.5                      # AP at IoU 0.5; a detector under it has not learned
demo, seconds = sys.argv[1], int(sys.argv[2])
with open(demo + "/metrics.json") as file:
    metrics = json.load(file)
print("""
== what happened
A detector with one anchor box per cell was trained from nothing on drawn shelves, exported, and scored on {images} test
images that it had not seen, in {minutes} minutes {rest} seconds.

AP at IoU 0.5: {mAP:.3f}. At score {threshold:.2f}: precision {precision:.3f}, recall {recall:.3f}, and the count of products in a
image is wrong by {mean_absolute_count_error:.2f} on average. It has seen drawings alone: of photographs it knows nothing.

Look at   {demo}/drawings/              the test images with the boxes found
          {demo}/results/report.html    the same with hits, misses and a score slider, in a browser
          {demo}/results/anchors.png    how well the anchors meet the packs
          {demo}/metrics.json           all figures
          {demo}/detector/              frozen_inference_graph.pb, the detector

Next      make data                     fetch the Grocery Dataset, or your own: make data FROM=/path/to/shelves
          make anchors                  then edit workspace/training_demo/training/ssd_inception_v2_shelf.config by hand
          make train && make export && make eval && make report""".format(
    demo=demo, minutes=seconds // 60, rest=seconds % 60, **metrics))
if metrics["mAP"] < ENOUGH:
    sys.exit("error: AP at IoU 0.5 is {:.3f}; expected at least {}. Something is wrong on the road: look into "
             "{}/run/train.log.".format(metrics["mAP"], ENOUGH, demo))
PYTHON
