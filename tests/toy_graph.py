"""A frozen graph with the input and outputs of a detector that needs no training.

It detects the bright part of an image with score 0.75, and the whole image with score 0.25.
"""

BRIGHT = 200
SCORES = (0.25, 0.75)  # of the whole image and of its bright part: not in falling order
CLASS_IDS = (1, 1)


def write(path, class_ids=CLASS_IDS, output_suffix=""):
    """Writes the graph to ``path``.

    Its input is uint8 pixels of shape (1, height, width, 3); its outputs are two boxes and two rows
    of padding, as object_detection's exporter pads them.
    """
    import tensorflow as tf

    graph = tf.Graph()
    with graph.as_default():
        pixels = tf.compat.v1.placeholder(tf.uint8, (1, None, None, 3), name="image_tensor")
        is_bright = tf.reduce_all(pixels[0] > BRIGHT, axis=2)  # (height, width)
        bright_yx = tf.cast(tf.where(is_bright), tf.float32)  # (bright pixels, 2)
        size_hw = tf.cast(tf.shape(pixels)[1:3], tf.float32)
        corners = tf.concat([tf.reduce_min(bright_yx, 0), tf.reduce_max(bright_yx, 0) + 1], 0)
        bright_box = corners / tf.tile(size_hw, [2])  # ymin, xmin, ymax, xmax in 0 to 1
        whole_image = tf.constant([0.0, 0.0, 1.0, 1.0])
        padding = tf.zeros(4)
        boxes = tf.stack([whole_image, bright_box, padding, padding])
        tf.expand_dims(boxes, 0, name="detection_boxes" + output_suffix)
        tf.constant([SCORES + (0.0, 0.0)], name="detection_scores")
        classes = [float(class_id) for class_id in class_ids]
        tf.constant([classes + [1.0, 1.0]], name="detection_classes")
        tf.constant([2.0], name="num_detections")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path
