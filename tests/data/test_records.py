"""Step 04: records equal their labels, by object_detection's own decoder; images it cannot read."""

import io
import pathlib
import re
import resource
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from shelfdet import UserError
from shelfdet.core import files, paths, tiles
from shelfdet.data import examples, images, labels, record_writing, records

LABEL_MAP = {"product": 1}


def draw_image(path, size_wh=(40, 30), mode="RGB", **save):
    gradient = np.add.outer(np.arange(size_wh[1]) * 4, np.arange(size_wh[0]) * 3).astype(np.uint8)
    Image.fromarray(np.dstack([gradient, 255 - gradient, gradient // 2])).convert(mode).save(
        str(path), **save
    )
    return path


def labelled(name="a.JPG", size_wh=(40, 30), boxes=((4, 3, 20, 15), (10, 0, 40, 30)), classes=None):
    return labels.LabelledImage(
        name,
        size_wh,
        np.array(boxes, dtype=float).reshape(-1, 4),
        classes or ("product",) * len(boxes),
    )


def test_a_plain_jpeg_is_stored_byte_for_byte(tmp_path):
    path = draw_image(tmp_path / "a.JPG", quality=71)
    ((data, stored_wh),) = records.encode_parts(path, (40, 30), [None], 1024, "ignore")
    assert data == path.read_bytes() and stored_wh == (40, 30)


@pytest.mark.parametrize(
    "mode, kind", [("CMYK", "JPEG"), ("RGBA", "PNG"), ("P", "PNG"), ("RGB", "BMP"), ("P", "GIF")]
)
def test_any_other_image_becomes_an_rgb_jpeg(tmp_path, mode, kind):
    import tensorflow as tf

    path = draw_image(tmp_path / "named.JPG", mode=mode, format=kind)
    ((data, stored_wh),) = records.encode_parts(path, (40, 30), [None], 1024, "ignore")
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        decoded = session.run(tf.image.decode_jpeg(data))
    assert data[:2] == b"\xff\xd8" and stored_wh == (40, 30) and decoded.shape == (30, 40, 3)
    expected = np.asarray(Image.open(str(path)).convert("RGB"), dtype=float)
    assert np.abs(decoded - expected).mean() < 5  # JPEG at quality 95 of a dithered image


def test_a_long_image_is_shrunk_with_its_aspect(tmp_path):
    path = draw_image(tmp_path / "a.JPG", (400, 300))
    ((data, stored_wh),) = records.encode_parts(path, (400, 300), [None], 100, "ignore")
    assert stored_wh == (100, 75) and Image.open(io.BytesIO(data)).size == (100, 75)


def test_an_image_of_another_size_than_its_labels_is_refused(tmp_path):
    path = draw_image(tmp_path / "a.JPG")
    with pytest.raises(
        UserError,
        match=r"a.JPG: 40 x 30 pixels as TensorFlow decodes it; expected 80 x 60.*step 02",
    ):
        records.encode_parts(path, (80, 60), [None], 0, "ignore")
    with pytest.raises(UserError, match="--exif apply"):
        records.encode_parts(path, (30, 40), [None], 0, "ignore")


def test_an_unknown_class_names_those_of_the_label_map():
    with pytest.raises(
        UserError, match=r"a.JPG: class 'milk'; expected one of the label map's: product"
    ):
        milk = labelled(boxes=[(0, 0, 1, 1)], classes=("milk",))
        records.to_example(examples.whole(milk), b"", (40, 30), LABEL_MAP)


@pytest.fixture
def annotated(tmp_path):
    """A folder with labels and images: one without products, one whose name needs UTF-8."""
    (tmp_path / "label_map.pbtxt").write_text('item {\n  id: 1\n  name: "product"\n}\n')
    names = ["a.JPG", "Kühlregal 2.JPG", "empty.JPG"]
    for name in names:
        draw_image(tmp_path / name, (400, 300))
    labels.write_labels(
        [
            labelled(names[0], (400, 300)),
            labelled(names[1], (400, 300), [(1, 2, 3, 5)]),
            labelled(names[2], (400, 300), []),
        ],
        tmp_path / "train_labels.csv",
    )
    return tmp_path


def write_train_record(folder):
    return record_writing.write_records(folder, folder, ["train"], folder / "label_map.pbtxt")


def arguments(folder, *more):
    """Command line of step 04 for the folder of ``annotated``."""
    return [
        "--annotations",
        str(folder),
        "--images",
        str(folder),
        "--label-map",
        str(folder / "label_map.pbtxt"),
        "--splits",
        "train",
    ] + list(more)


def test_step_04_writes_what_object_detection_reads(annotated, script, capsys):
    script("04_generate_tfrecords").main(arguments(annotated, "--max-side", "100"))
    assert (
        "3 images (3 shrunk to at most 100 px), 3 boxes, at most 2 an image; read back and equal"
        in capsys.readouterr().out
    )
    import tensorflow as tf
    from object_detection.core import standard_fields as fields
    from object_detection.data_decoders import tf_example_decoder

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        decoder = tf_example_decoder.TfExampleDecoder()
        first = next(tf.compat.v1.io.tf_record_iterator(str(annotated / "train.record")))
        decoded = session.run(decoder.decode(tf.constant(first)))
    # (4, 3, 20, 15) of 400 x 300, as ymin, xmin, ymax, xmax
    assert decoded[fields.InputDataFields.groundtruth_boxes][0] == pytest.approx(
        [3 / 300, 4 / 400, 15 / 300, 20 / 400]
    )
    assert decoded[fields.InputDataFields.groundtruth_classes].tolist() == [1, 1]
    assert decoded[fields.InputDataFields.image].shape == (75, 100, 3)


def test_a_failure_keeps_the_old_record(annotated):
    (annotated / "train.record").write_bytes(b"old")
    (annotated / "a.JPG").write_bytes((annotated / "a.JPG").read_bytes()[:900])
    with pytest.raises(UserError, match="a.JPG: cannot be decoded to its end"):
        write_train_record(annotated)
    assert (annotated / "train.record").read_bytes() == b"old"
    assert not list(annotated.glob(".*"))


def test_a_split_without_any_box_is_refused(annotated):
    labels.write_labels([labelled("empty.JPG", (400, 300), [])], annotated / "train_labels.csv")
    with pytest.raises(UserError, match="train_labels.csv: 1 image without any box; expected"):
        write_train_record(annotated)
    assert not (annotated / "train.record").exists()


def test_two_at_once_in_one_folder(annotated, monkeypatch):
    monkeypatch.setattr(files, "LOCK_SECONDS", 0)
    with files.replacing(annotated / "train.record") as partial:
        partial.write_text("another program's")
        with pytest.raises(UserError, match="train.record: another program is writing it"):
            write_train_record(annotated)
    assert (annotated / "train.record").read_text() == "another program's"
    write_train_record(annotated)


def test_a_missing_image_is_named(annotated):
    (annotated / "empty.JPG").unlink()
    with pytest.raises(UserError, match=r"1 of 3 images does not exist: empty.JPG"):
        write_train_record(annotated)


def test_reading_back_finds_a_record_that_differs(annotated):
    write_train_record(annotated)
    found = labels.read_labels(annotated / "train_labels.csv")
    found[1] = found[1]._replace(boxes_xyxy=found[1].boxes_xyxy + 1)
    with pytest.raises(
        UserError, match=r"Kühlregal 2.JPG reads back with boxes off by up to 0.0033"
    ):
        list(
            records.check(
                annotated / "train.record",
                list(map(examples.whole, found)),
                [(400, 300)] * 3,
                LABEL_MAP,
                annotated / "label_map.pbtxt",
            )
        )


@pytest.mark.parametrize(
    "count, end, text",
    [
        (3, -20, "train.record: is damaged before empty.JPG"),
        (4, None, "train.record: ends before more.JPG; expected 4 images"),
        (2, None, "train.record: holds more than the expected 2 images"),
    ],
)
def test_reading_back_finds_damage_and_a_wrong_number_of_images(annotated, count, end, text):
    write_train_record(annotated)
    record = annotated / "train.record"
    record.write_bytes(record.read_bytes()[:end])
    found = labels.read_labels(annotated / "train_labels.csv")
    found = (found + [labelled("more.JPG", (400, 300))])[:count]
    checked = records.check(
        record,
        list(map(examples.whole, found)),
        [(400, 300)] * count,
        LABEL_MAP,
        annotated / "label_map.pbtxt",
    )
    with pytest.raises(UserError, match=text):
        list(checked)


def test_a_full_disk_is_an_error_and_leaves_nothing(annotated):
    """RLIMIT_FSIZE simulates a full disk: the write fails half-way."""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    process = subprocess.run(
        [sys.executable, str(paths.ROOT / "scripts" / "preprocessing" / "04_generate_tfrecords.py")]
        + arguments(annotated),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=limit,
    )
    assert process.returncode == 1
    assert "train.record: cannot be written" in process.stdout and "Traceback" not in process.stdout
    assert not (annotated / "train.record").exists() and not list(annotated.glob(".*"))


def test_all_real_test_images_can_be_written(shelf_data, tmp_path):
    folder = shelf_data / "ShelfImages" / "test"
    (tmp_path / "label_map.pbtxt").write_text('item {\n  id: 1\n  name: "product"\n}\n')
    found = [
        labelled(path.name, images.inspect(path).size_wh, [(1, 1, 9, 9)])
        for path in images.list_images(folder)
    ]
    labels.write_labels(found, tmp_path / "test_labels.csv")
    (written,) = record_writing.write_records(
        tmp_path, folder, ["test"], tmp_path / "label_map.pbtxt"
    )
    assert (written.images, written.stored.boxes) == (71, 71)


@pytest.fixture
def tiled(tmp_path):
    """Labels of one image of 400 x 300 with a product in each corner, and one over the middle."""
    (tmp_path / "label_map.pbtxt").write_text('item {\n  id: 1\n  name: "product"\n}\n')
    corners = [(x, y, x + 30, y + 40) for x in (5, 360) for y in (5, 250)]
    over_the_middle = [(150, 100, 250, 200)]
    for split in ("train", "test"):
        draw_image(tmp_path / f"{split}.JPG", (400, 300), quality=90)
        labels.write_labels(
            [labelled(f"{split}.JPG", (400, 300), corners + over_the_middle)],
            tmp_path / f"{split}_labels.csv",
        )
    return tmp_path


def decoded_examples(record):
    import tensorflow as tf
    from object_detection.data_decoders import tf_example_decoder

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        decoder = tf_example_decoder.TfExampleDecoder()
        serialised = tf.compat.v1.placeholder(tf.string)
        decoded = decoder.decode(serialised)
        return [
            session.run(decoded, {serialised: example})
            for example in tf.compat.v1.io.tf_record_iterator(str(record))
        ]


@pytest.mark.parametrize("options, expected", [(["--tiles", "2"], True), ([], False)])
def test_a_record_says_whether_it_holds_tiles(tiled, script, options, expected):
    record = tiled / "train.record"
    assert not records.holds_tiles(record)  # there is none yet
    script("04_generate_tfrecords").main(arguments(tiled, *options))
    assert records.holds_tiles(record) == expected
    record.write_bytes(record.read_bytes()[:20])
    assert not records.holds_tiles(record)


def test_tiles_are_parts_of_the_image_with_their_boxes(tiled, script, capsys):
    script("04_generate_tfrecords").main(
        arguments(tiled, "test", "--tiles", "2", "--max-side", "0")
    )
    lines = capsys.readouterr().out.splitlines()
    # By hand: tiles of 223 x 167, so that each shows 73 x 67 px of the middle box.
    assert (
        "train.record: 4 examples of 1 image (2 x 2 of 1), 4 boxes, 4 boxes cut by more than half "
        "and ignored, at most 2 an example; 1 product in no tile: larger than what tiles share"
        in lines[0]
    )
    assert "test.record: 1 image, 5 boxes, at most 5 an image" in lines[1]
    pixels = np.asarray(Image.open(str(tiled / "train.JPG")), dtype=float)
    places = [(0, 0), (177, 0), (0, 133), (177, 133)]
    first_corner_of_product = [(5, 5), (360, 5), (5, 250), (360, 250)]
    for decoded, (left, top), (x, y) in zip(
        decoded_examples(tiled / "train.record"), places, first_corner_of_product
    ):
        assert decoded["image"].shape == (167, 223, 3)
        part = pixels[top : top + 167, left : left + 223]
        assert np.abs(decoded["image"] - part).mean() < 3
        ymin, xmin, ymax, xmax = decoded["groundtruth_boxes"][0] * [167, 223, 167, 223]
        assert (xmin, ymin, xmax, ymax) == pytest.approx(
            (x - left, y - top, x - left + 30, y - top + 40), abs=1e-3
        )
        assert decoded["groundtruth_weights"].tolist() == [1, 0]
        assert decoded["filename"] == b"train.JPG"
        place = f"{left},{top},{left + 223},{top + 167}"
        assert decoded["source_id"].decode() == f"train.JPG [{place}]"


def test_whole_images_and_their_tiles_in_one_record(tiled):
    (written,) = record_writing.write_records(
        tiled, tiled, ["train"], tiled / "label_map.pbtxt", tiling=examples.Tiling((1, 2))
    )
    assert (written.images, written.stored.examples, written.stored.boxes, written.stored.lost) == (
        1,
        5,
        9,
        0,
    )
    whole = decoded_examples(tiled / "train.record")[0]
    assert whole["source_id"] == b"train.JPG" and whole["image"].shape == (300, 400, 3)


def test_large_tiles_are_shrunk_and_their_boxes_stay(tiled):
    (written,) = record_writing.write_records(
        tiled, tiled, ["train"], tiled / "label_map.pbtxt", 100, tiling=examples.Tiling((2,))
    )
    assert written.stored.shrunk == 4
    decoded = decoded_examples(tiled / "train.record")[0]
    assert decoded["image"].shape == (75, 100, 3)
    assert decoded["groundtruth_boxes"][0] == pytest.approx([5 / 167, 5 / 223, 45 / 167, 35 / 223])


def test_tiles_of_turned_images_are_cut_after_turning(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    draw_image(tmp_path / "a.JPG", (200, 300), exif=exif.tobytes())
    parts = [(0, 0, 167, 112)]
    ((data, stored_wh),) = records.encode_parts(tmp_path / "a.JPG", (300, 200), parts, 0, "apply")
    expected = images.load(tmp_path / "a.JPG", exif="apply").pixels[:112, :167]
    assert stored_wh == (167, 112)
    assert np.abs(np.asarray(Image.open(io.BytesIO(data)), dtype=float) - expected).mean() < 2


def test_options_are_checked_without_any_file(script, tmp_path, capsys):
    step_04 = script("04_generate_tfrecords")
    folders = ["--annotations", str(tmp_path), "--images", str(tmp_path), "--check-options"]
    step_04.main(["--product-scale", "0.1"] + folders)
    with pytest.raises(SystemExit):
        step_04.main(["--product-aspect-ratio", "0.6"] + folders)
    assert "needs --product-scale" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["2,2", "0", "two", "1,"])
def test_wrong_numbers_of_tiles_are_refused(script, value, capsys):
    with pytest.raises(SystemExit):
        script("04_generate_tfrecords").parse(["--tiles", value])
    assert "error: --tiles: found" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options, message",
    [
        (
            ["--product-aspect-ratio", "0.6"],
            r"--product-aspect-ratio \(make: PRODUCT_ASPECT_RATIO=\) needs --product-scale",
        ),
        (["--product-scale", "0.1", "--product-aspect-ratio", "0"], "found '0', expected a number"),
    ],
)
def test_a_wrong_aspect_ratio_is_refused(script, options, message, capsys):
    with pytest.raises(SystemExit):
        script("04_generate_tfrecords").parse(options)
    assert re.search(message, capsys.readouterr().err)


def test_a_scale_that_divides_no_image_is_named(script, tiled, capsys):
    step_04 = script("04_generate_tfrecords")
    folders = ["--annotations", str(tiled), "--images", str(tiled), "--splits", "train", "test"]
    said = "--product-scale 0.001 (make: PRODUCT_SCALE=0.001): no image is divided, for products"
    step_04.main(["--product-scale", "0.001"] + folders)
    assert said in capsys.readouterr().out
    # The median product is 30 x 40 of 400 x 300: a scale of 0.1, and 0.17 in 2 x 2 tiles.
    step_04.main(["--product-scale", "0.17"] + folders)
    assert "no image is divided" not in capsys.readouterr().out


def test_the_most_frequent_grids_are_named(script):
    step_04 = script("04_generate_tfrecords")
    grids = {tiles.Grid(1, rows): rows for rows in range(1, 8)}
    stored = record_writing.Written(pathlib.Path("a.record"), 28, grids, None)
    assert step_04.divided(stored) == (
        "1 x 7 of 7, 1 x 6 of 6, 1 x 5 of 5, 1 x 4 of 4, 1 x 3 of 3, and 2 other grids"
    )
