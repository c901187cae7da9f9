#!/usr/bin/env bash
# The full pipeline on a small synthetic dataset, step by step as a user would run it. `make demo` sets up and runs this.
#
# Reads   workspace/training_demo/training/demo.config and annotations/label_map.pbtxt
# Writes  workspace/training_demo/demo/ and nothing else: your data, runs, graphs and metrics.json are not changed
#
# After an interruption the same command resumes the training; `rm -r workspace/training_demo/demo` starts again.

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
export MAKE_GOALS="data anchors train export eval report"    # this script runs them: no step names the next command
export TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-2}    # hides TensorFlow's notes on the processor

if [ ! -x "$python" ]; then
    echo "error: $python: no such file; expected the Python of this workspace. Run make setup, or make demo." >&2
    exit 1
fi

interrupted() {    # runs at every end
    if [ $? = 130 ]; then
        echo "make demo was interrupted. The same command continues: it repeats the short steps and resumes the training." >&2
    fi
}
trap interrupted EXIT
trap 'exit 130' INT

step() {
    printf '\n== %s\n' "$1"
    shift
    "$python" "$@"
}

step "00 draw shelves" scripts/preprocessing/00_make_demo_shelves.py --out "$demo/shelves"
step "01 fetch: link and verify the images and boxes" scripts/preprocessing/01_fetch_dataset.py \
    --from "$demo/shelves" --out "$demo/images"
step "02 split" scripts/preprocessing/02_split_annotations.py --images "$demo/images" --out "$labels"
step "03 anchors" scripts/preprocessing/03_estimate_anchors.py --labels "$labels/train_labels.csv" --config "$config" \
    --images "$images" --output "$results" --no-table
step "04 records" scripts/preprocessing/04_generate_tfrecords.py --annotations "$labels" --images "$images"
step "05 check the config" scripts/training/05_check_config.py --config "$config" \
    --train-labels "$labels/train_labels.csv" --val-labels "$labels/val_labels.csv" --test-labels "$labels/test_labels.csv"
step "06 train (about five minutes on two cores)" scripts/training/06_train.py --config "$config" \
    --run-dir "$demo/run" --save-seconds 120 --eval-seconds 120
step "07 export" scripts/training/07_export_inference_graph.py --run-dir "$demo/run" --name detector --output "$demo"
for split in val test; do
    step "08 detect in the $split images" $evaluation/08_detect.py --graph "$demo/detector" \
        --labels "$labels/${split}_labels.csv" --images "$images" --output "$results/${split}_detections.json"
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

AP50_EXPECTED = 0.5  # the demo's detector reaches more than 0.9; below this it has not learned

demo, seconds = sys.argv[1], int(sys.argv[2])
with open(f"{demo}/metrics.json") as file:
    metrics = json.load(file)
print(f"""
== result
A detector with one anchor box per feature-map cell was trained from scratch on synthetic shelves,
exported, and scored on {metrics["images"]} test images that it was not trained on, in {seconds // 60} min {seconds % 60} s.

AP50 {metrics["mAP"]:.3f}; at score {metrics["threshold"]:.2f}: precision {metrics["precision"]:.3f}, recall {metrics["recall"]:.3f}, count MAE {metrics["mean_absolute_count_error"]:.2f} products an image.
It was trained on drawings only and does not work on photographs.

Results   {demo}/drawings/             the test images with the boxes found
          {demo}/results/report.html   the same with all errors and a score slider, in a browser
          {demo}/results/anchors.png   anchor coverage of the products
          {demo}/metrics.json          all figures
          {demo}/detector/             frozen_inference_graph.pb, the detector

Next      make data        download the Grocery Dataset; or your own images: make data FROM=folder
          make anchors     prints anchors for them; edit by hand, with its numbers,
                           workspace/training_demo/training/ssd_inception_v2_custom.config
          make train       trains with that config, into training/ssd_inception_v2_custom/
          make export      writes trained-inference-graphs/ssd_inception_v2_custom/
          make eval        scores it; then make report, or make predict IMAGES=folder""")
if metrics["mAP"] < AP50_EXPECTED:
    sys.exit(
        f"error: AP50 is {metrics['mAP']:.3f}; expected at least {AP50_EXPECTED}. The training "
        f"failed: see {demo}/run/train.log."
    )
PYTHON
