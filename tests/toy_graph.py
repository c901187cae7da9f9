"""A frozen graph with a detector's inputs and outputs that needs no training: it finds the bright part of an image."""

BRIGHT = 200
SCORES = (0.25, 0.75)  # of the whole image, and of the bright part: not in falling order
CLASS_IDS = (1, 1)


def write(path, class_ids=CLASS_IDS, output_suffix=""):
    """Writes the graph to ``path``: it takes uint8 pixels (1, height, width, 3), gives two boxes and two of padding."""
    import tensorflow as tf

    graph = tf.Graph()
    with graph.as_default():
        pixels = tf.compat.v1.placeholder(tf.uint8, (1, None, None, 3), name="image_tensor")
        bright = tf.cast(
            tf.where(tf.reduce_all(pixels[0] > BRIGHT, axis=2)), tf.float32
        )  # (bright pixels, 2) of y, x
        size_hw = tf.cast(tf.shape(pixels)[1:3], tf.float32)
        corners = tf.concat([tf.reduce_min(bright, 0), tf.reduce_max(bright, 0) + 1], 0) / tf.tile(
            size_hw, [2]
        )
        boxes = tf.stack([tf.constant([0.0, 0.0, 1.0, 1.0]), corners, tf.zeros(4), tf.zeros(4)])
        tf.expand_dims(boxes, 0, name="detection_boxes" + output_suffix)
        tf.constant([SCORES + (0.0, 0.0)], name="detection_scores")
        tf.constant([tuple(float(one) for one in class_ids) + (1.0, 1.0)], name="detection_classes")
        tf.constant([2.0], name="num_detections")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path
