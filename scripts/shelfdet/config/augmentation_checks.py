"""Checks of the augmentation steps, mainly of random crops, whose defaults suit no dense shelf."""

from typing import Any

from shelfdet.config import pipeline
from shelfdet.config.findings import Findings

# Fields of a crop with a usual value. object_detection takes a field that is not written as 0: with
# a 0 in CROP_FIELDS no crop is possible, with a 0 in KEEP_FIELDS slivers of products remain
# products.
CROP_FIELDS = {
    "min_aspect_ratio": 0.6,
    "max_aspect_ratio": 1.7,
    "min_area": 0.25,
    "max_area": 1.0,
}
KEEP_FIELDS = {"min_object_covered": 0.5, "overlap_thresh": 0.5}


def check(config: pipeline.Config, findings: Findings) -> None:
    """Checks all augmentation steps of the config."""
    for number, step in enumerate(config.train_config.data_augmentation_options):
        key = f"train_config.data_augmentation_options[{number}]"
        name = step.WhichOneof("preprocessing_step")
        if name is None:
            findings.error(
                key,
                found="an empty block",
                expected="one augmentation step",
                write="delete the block",
            )
        elif name.startswith("ssd_random_crop"):
            _check_crops(getattr(step, name).operations, f"{key}.{name}", findings)


def _check_crops(operations: Any, key: str, findings: Findings) -> None:
    if not operations:
        usual_values = dict(KEEP_FIELDS, **CROP_FIELDS)
        fields = "".join(f"  {name}: {usual:g}\n" for name, usual in usual_values.items())
        findings.warning(
            key,
            found="no operations: seven defaults, which ask for an overlap of 0 to 1. At 0 slivers "
            "of products remain products, at 1 a product cut by one pixel becomes background",
            expected="operations with an overlap_thresh near 0.5",
            write=f"operations {{\n{fields}  clip_boxes: true\n  random_coef: 0.25\n}}",
        )
    for number, operation in enumerate(operations):
        operation_key = f"{key}.operations[{number}]"
        _check_possible(operation, operation_key, findings)
        _check_kept_products(operation, operation_key, findings)
        _check_range(operation, "min_aspect_ratio", "max_aspect_ratio", operation_key, findings)
        _check_range(operation, "min_area", "max_area", operation_key, findings)


def _check_possible(operation: Any, key: str, findings: Findings) -> None:
    for name, usual in CROP_FIELDS.items():
        # Crops with a fixed aspect ratio lack some of these fields.
        if name in operation.DESCRIPTOR.fields_by_name and getattr(operation, name) <= 0:
            findings.error(
                f"{key}.{name}",
                found=f"{getattr(operation, name):g} (0 if not written): no crop is possible",
                expected="a number above 0",
                write=f"{name}: {_fitting(operation, name, usual):g}",
            )


def _fitting(operation: Any, name: str, usual: float) -> float:
    """The usual value of a limit, or that of the opposite limit where the two would be crossed."""
    kind, _, quantity = name.partition("_")  # "min" or "max"; "area" or "aspect_ratio"
    opposite = getattr(operation, f"{'max' if kind == 'min' else 'min'}_{quantity}")
    if opposite <= 0:
        return usual
    return min(usual, opposite) if kind == "min" else max(usual, opposite)


def _check_kept_products(operation: Any, key: str, findings: Findings) -> None:
    """Which products that a crop cuts remain products."""
    for name, usual in KEEP_FIELDS.items():
        if not operation.HasField(name):
            findings.warning(
                f"{key}.{name}",
                found="nothing, which is 0: slivers of products remain products",
                expected="the share of a product that must be inside the crop",
                write=f"{name}: {usual:g}",
            )
    if operation.overlap_thresh >= 1:
        findings.warning(
            key + ".overlap_thresh",
            found=f"{operation.overlap_thresh:g}: a product cut by one pixel becomes background",
            expected="less than 1",
            write="overlap_thresh: 0.5",
        )


def _check_range(operation: Any, low: str, high: str, key: str, findings: Findings) -> None:
    if low not in operation.DESCRIPTOR.fields_by_name:
        return
    low_value = getattr(operation, low)
    high_value = getattr(operation, high)
    if 0 < high_value < low_value:
        findings.error(
            f"{key}.{high}",
            found=f"{high_value:g}, below {low} {low_value:g}",
            expected="at least as much",
            write=f"{high}: {_fitting(operation, high, CROP_FIELDS[high]):g}",
        )
