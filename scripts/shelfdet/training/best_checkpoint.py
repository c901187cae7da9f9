"""Keeps a copy of the checkpoint with the highest COCO AP on validation."""

import json
import pathlib
import shutil
from typing import Any, Dict

from shelfdet import UserError
from shelfdet.core import files
from shelfdet.inference import checkpoints

# Names in evaluations.jsonl, and those of object_detection's coco_detection_metrics.
METRICS = {
    "AP": "DetectionBoxes_Precision/mAP",
    "AP50": "DetectionBoxes_Precision/mAP@.50IOU",
    "AP75": "DetectionBoxes_Precision/mAP@.75IOU",
}


def keep_best(run: pathlib.Path, checkpoint: pathlib.Path, eval_result: Dict[str, Any]) -> None:
    """Logs one evaluation, and copies its checkpoint to best/ if its AP is the highest so far.

    Of several with the same AP the last is the best. An AP below 0 is none: COCO's evaluation gives
    -1 where there is no ground-truth box.

    Args:
      run: the run's folder; a line is added to its evaluations.jsonl.
      checkpoint: prefix of the checkpoint's files, .../model.ckpt-STEP.
      eval_result: dict of metric name to value, from the estimator.

    Raises:
      UserError: there is no COCO AP among the metrics, or best/ cannot be written.
    """
    if METRICS["AP"] not in eval_result:
        raise UserError(
            "eval_config.metrics_set: gave no COCO AP; expected coco_detection_metrics, by which "
            'the best checkpoint is chosen. Write metrics_set: "coco_detection_metrics".'
        )
    result = {"step": int(eval_result["global_step"])}
    for name, key in METRICS.items():
        result[name] = round(float(eval_result[key]), 5)
    line = json.dumps(result) + "\n"
    with open(str(run / checkpoints.EVALUATIONS_FILE), "a") as file:
        file.write(line)
    if not result["AP"] >= 0:  # written so that NaN is none, too
        return
    best = files.restore_interrupted(run / checkpoints.BEST_FOLDER)
    evaluation = best / checkpoints.EVALUATION_FILE
    if evaluation.exists() and files.read_json(evaluation)["AP"] > result["AP"]:
        return
    with files.replacing(best) as partial:
        partial.mkdir()
        for path in checkpoint.parent.glob(checkpoint.name + ".*"):
            shutil.copy2(str(path), str(partial))
        state = f'model_checkpoint_path: "{checkpoint.name}"\n'
        (partial / checkpoints.STATE_FILE).write_text(state)
        (partial / checkpoints.EVALUATION_FILE).write_text(line)
