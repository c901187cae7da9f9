"""Ignored boxes of tiles, in records: what object_detection's training and evaluation do with them.

The network is an SSD with one anchor per cell, 8 x 8 cells of 16 px, anchors of 48 x 48 px.
"""

import numpy as np
import pytest
import tensorflow as tf

from shelfdet.config import pipeline
from shelfdet.core import boxes, paths
from shelfdet.data import examples, labels, records

SIDE = 128
ANCHOR = 48
NETWORK = [
    ("model.ssd.feature_extractor", "num_layers: 1 depth_multiplier: 0.25"),
    (
        "model.ssd.image_resizer",
        f"fixed_shape_resizer {{ width: {SIDE} height: {SIDE} }}",
    ),
    (
        "model.ssd.anchor_generator",
        f"ssd_anchor_generator {{ num_layers: 1 scales: {ANCHOR / SIDE} aspect_ratios: 1 "
        "reduce_boxes_in_lowest_layer: false interpolated_scale_aspect_ratio: 0 }",
    ),
]
INSIDE = (16, 16, 64, 64)
# Of 48 px, 20 are in the tile that ends at x = 128: too few to be labelled.
CUT = (108, 32, 156, 80)


def decoded_record(path, products):
    """The example of the tile 0 to 128 of a larger image, as TfExampleDecoder reads it."""
    from object_detection.data_decoders import tf_example_decoder

    image = labels.labelled("a.jpg", (256, 128), [("product", box) for box in products])
    example = examples.cut(image, (0, 0, SIDE, SIDE))
    jpeg, stored_wh = records._as_jpeg(np.zeros((SIDE, SIDE, 3), dtype=np.uint8))
    records.write(path, [example], [(jpeg, stored_wh)], {"product": 1})
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        (serialised,) = tf.compat.v1.io.tf_record_iterator(str(path))
        return session.run(tf_example_decoder.TfExampleDecoder().decode(tf.constant(serialised)))


def gradients(decoded):
    """How the training loss changes with each anchor's prediction, of a class and of a box.

    Returns:
      (anchors_xyxy, of_class, of_box): (N, 4) in pixels, (N,) and (N,), 0 where no effect.
    """
    from object_detection.builders import model_builder

    config = pipeline.with_changes(pipeline.read(paths.SHIPPED_CONFIG), NETWORK)
    # Without mining of hard negatives every anchor has an effect, unless it is ignored.
    config.model.ssd.loss.ClearField("hard_example_miner")
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        model = model_builder.build(config.model, is_training=True)
        pixels, true_shapes = model.preprocess(tf.zeros([1, SIDE, SIDE, 3]))
        predicted = model.predict(pixels, true_shapes)
        model.provide_groundtruth(
            groundtruth_boxes_list=[tf.constant(decoded["groundtruth_boxes"])],
            groundtruth_classes_list=[tf.ones([len(decoded["groundtruth_boxes"]), 1])],
            groundtruth_weights_list=[tf.constant(decoded["groundtruth_weights"])],
        )
        loss = tf.add_n(list(model.loss(predicted, true_shapes).values()))
        names = ("class_predictions_with_background", "box_encodings")
        of = tf.gradients(loss, [predicted[name] for name in names])
        session.run(tf.compat.v1.global_variables_initializer())
        of_class, of_box, anchors = session.run(of + [model.anchors.get()])
    per_anchor = (np.abs(part).reshape(len(anchors), -1).sum(axis=1) for part in (of_class, of_box))
    return (boxes.from_normalised_yxyx(anchors, (SIDE, SIDE)),) + tuple(per_anchor)


def test_training_takes_an_ignored_box_neither_for_a_product_nor_for_background(tmp_path):
    anchors, of_class, of_box = gradients(decoded_record(tmp_path / "a.record", [INSIDE, CUT]))
    to_cut = boxes.iou(anchors, [CUT])[:, 0]
    # The anchor with its centre in the tile at (120, 56), 12 px off the product's: 36 / 60.
    assert to_cut.max() == pytest.approx(0.6)
    np.testing.assert_array_equal(of_class[to_cut >= 0.5], 0)
    np.testing.assert_array_equal(of_box[to_cut >= 0.5], 0)
    assert (of_class[to_cut < 0.4] > 0).all()  # background, and the product inside
    assert of_box[boxes.iou(anchors, [INSIDE])[:, 0] >= 0.5].min() > 0


def test_without_the_ignored_box_its_anchors_would_be_background(tmp_path):
    anchors, of_class, _ = gradients(decoded_record(tmp_path / "a.record", [INSIDE]))
    assert (of_class > 0).all()


def test_evaluation_counts_no_detection_of_an_ignored_box_as_an_error(tmp_path):
    from object_detection.metrics import coco_evaluation

    decoded = decoded_record(tmp_path / "a.record", [INSIDE, CUT])
    truth = boxes.from_normalised_yxyx(decoded["groundtruth_boxes"], (SIDE, SIDE))[:, [1, 0, 3, 2]]
    # Found: a part of the cut product, with the higher score, and the other product.
    detected = np.array([[116, 40, 128, 72], INSIDE], dtype=np.float32)[:, [1, 0, 3, 2]]

    def average_precision(is_crowd):
        evaluator = coco_evaluation.CocoDetectionEvaluator([{"id": 1, "name": "product"}])
        evaluator.add_single_ground_truth_image_info(
            "a",
            {
                "groundtruth_boxes": truth,
                "groundtruth_classes": np.ones(len(truth)),
                "groundtruth_is_crowd": is_crowd,
            },
        )
        evaluator.add_single_detected_image_info(
            "a",
            {
                "detection_boxes": detected,
                "detection_scores": np.array([0.9, 0.8], dtype=np.float32),
                "detection_classes": np.ones(2),
            },
        )
        return evaluator.evaluate()["DetectionBoxes_Precision/mAP@.50IOU"]

    assert decoded["groundtruth_is_crowd"].tolist() == [False, True]
    assert average_precision(decoded["groundtruth_is_crowd"]) == pytest.approx(1)
    assert average_precision(np.zeros(2, dtype=bool)) < 0.6


def test_no_coordinate_is_one_that_an_evaluator_refuses(tmp_path):
    from object_detection.core import box_list, box_list_ops

    far_outside = (100, 10, 250, 60)
    decoded = decoded_record(tmp_path / "a.record", [INSIDE, far_outside])
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        found = box_list.BoxList(tf.constant(decoded["groundtruth_boxes"]))
        absolute = box_list_ops.to_absolute_coordinates(found, SIDE, SIDE).get()
        assert len(session.run(absolute)) == 2
