"""Step 02: the official split and the folds, on names and on real photographs."""

import collections
import hashlib
import itertools
import json
import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from shelfdet import UserError
from shelfdet.core import files, paths
from shelfdet.data import dataset, formats, labels
from shelfdet.data import label_map as label_map_file
from shelfdet.data.classes import ONE_CLASS
from shelfdet.data.formats import labels_csv
from shelfdet.data.splitting import groups, splits

NAME = "C{}_P{:02d}_N1_S{}_{}.JPG"


def shelves(cameras=2, planograms=12, ranks=2, copies=2):
    counts = itertools.product(range(cameras), range(planograms), range(ranks), range(copies))
    return [NAME.format(*(number + 1 for number in numbers)) for numbers in counts]


class TestRules:
    @pytest.mark.parametrize(
        "name, shelf, scene",
        [
            ("C1_P01_N1_S2_1.JPG", "C1_P01_N1_S2", ("C1", "P01")),
            ("C4_P12_N10_S5_11.jpeg", "C4_P12_N10_S5", ("C4", "P12")),
            ("C1_P01_N1_S2.JPG", "C1_P01_N1_S2.JPG", None),
            ("IMG_1.JPG", "IMG_1.JPG", None),
            ("IMG_2.JPG", "IMG_2.JPG", None),
            ("xC1_P01_N1_S2_1.JPG", "xC1_P01_N1_S2_1.JPG", None),
        ],
    )
    def test_names(self, name, shelf, scene):
        assert (splits.shelf(name), splits.scene(name)) == (shelf, scene)

    def test_folds_are_the_twelve_planograms(self):
        assert sorted(sum(splits.FOLDS, ())) == [f"P{n:02d}" for n in range(1, 13)]
        assert [len(fold) for fold in splits.FOLDS] == [3, 3, 3, 3]

    @pytest.mark.parametrize("seed", [0, 7])
    @pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
    def test_validation_is_the_first_shelves_by_hash(self, share, seed):
        names = shelves()
        split = splits.official(names, ["t.jpg"], share, seed)
        order = sorted(
            {name[:-6] for name in names},
            key=lambda shelf: hashlib.sha256(f"{seed}:{shelf}".encode()).hexdigest(),
        )
        expected = order[: math.ceil(math.ceil(share * 96) / 2)]  # each shelf has two images
        assert {name[:-6] for name in split["val"]} == set(expected)

    @settings(deadline=None, max_examples=40)
    @given(
        names=st.lists(
            st.sampled_from(shelves() + ["a.jpg", "b.jpg", "c.jpg"]), min_size=2, unique=True
        ),
        share=st.floats(0.001, 0.999),
        seed=st.integers(0, 99),
    )
    def test_no_shelf_is_in_train_and_val(self, names, share, seed):
        try:
            split = splits.official(names, ["t.jpg"], share, seed)
        except UserError:
            return
        assert sorted(split["train"] + split["val"]) == sorted(names)
        assert len(split["val"]) >= math.ceil(share * len(names)) and split["train"]
        assert not {splits.shelf(name) for name in split["train"]} & {
            splits.shelf(name) for name in split["val"]
        }

    @pytest.mark.parametrize("fold", range(4))
    def test_no_planogram_is_in_two_splits(self, fold):
        split = splits.grouped(shelves(), fold, 0.1, 0)
        planograms = [splits.planograms(split[name]) for name in paths.SPLITS]
        assert tuple(planograms[2]) == splits.FOLDS[fold]
        assert sum(len(found) for found in planograms) == len(set(sum(planograms, []))) == 12
        assert splits.overlap(split) == (0, 0, 0)

    def test_order_does_not_matter(self):
        names = shelves()
        assert splits.official(names, ["t.jpg"], 0.1, 0) == splits.official(
            names[::-1], ["t.jpg"], 0.1, 0
        )

    def test_each_name_outside_the_scheme_is_a_shelf_of_its_own(self):
        names = [f"shelf {number}.jpg" for number in range(10)]
        train, test = splits.hold_out(names, 0.2, seed=0)
        assert len(test) == 2 and sorted(train + test) == names
        with pytest.raises(UserError, match="1 shelf; expected enough"):
            splits.hold_out(["C1_P01_N1_S2_1.JPG", "C1_P01_N1_S2_2.JPG"], 0.2, seed=0)

    def test_overlap_of_test_images_with_the_others(self):
        split = {
            "train": ["C1_P01_N1_S1_1.JPG", "x.jpg"],
            "val": ["C1_P02_N1_S1_1.JPG"],
            "test": ["C1_P01_N1_S1_2.JPG", "C1_P02_N2_S1_1.JPG", "C2_P01_N1_S1_1.JPG", "x2.jpg"],
        }
        assert splits.overlap(split) == (1, 2, 1)

    def test_a_group_of_far_more_than_is_wanted_comes_last(self):
        names = [f"a_aug_{n}.jpg" for n in range(30)] + [f"{n}.jpg" for n in range(10)]
        group_of = {name: name[:2] if name.startswith("a_") else name for name in names}
        for seed in range(9):
            train, test = splits.hold_out(names, 0.1, seed, group_of.__getitem__)
            assert len(test) == 4 and len(train) == 36

    def test_a_split_by_folders(self):
        found = {"train": ["a", "b"], "val": ["v"], "test": ["t", "left out"]}
        alone = groups.Groups({}, [], [], [])
        box = [("product", (1, 2, 3, 4))]
        a, b, t, v = (labels.labelled(name, (9, 9), box) for name in "abtv")
        assert splits.choose(found, [a, b, t, v], alone) == {
            "train": ["a", "b"],
            "val": ["v"],
            "test": ["t"],
        }
        with pytest.raises(UserError, match="no image is in val"):
            splits.choose(found, [a, b, t], alone)
        with pytest.raises(UserError, match="val: 1 image without any box"):
            splits.choose(found, [a, b, t, labels.labelled("v", (9, 9), [])], alone)

    @pytest.mark.parametrize(
        "name, use", [("train", "train on"), ("val", "choose the best"), ("test", "measure AP on")]
    )
    def test_a_split_without_any_box_is_refused(self, name, use):
        split = {"train": ["train.jpg", "x.jpg"], "val": ["val.jpg"], "test": ["test.jpg"]}
        box = [("product", (1, 2, 3, 4))]
        labelled = [
            labels.labelled(image, (9, 9), [] if image in (f"{name}.jpg", "x.jpg") else box)
            for images in split.values()
            for image in images
        ]
        with pytest.raises(UserError) as caught:
            splits.refuse_without_boxes(split, labelled, chosen=False)
        text = str(caught.value)
        assert text.startswith(f"{name}: ") and f"{name}.jpg" in text and use in text
        assert f"put images with products into {name}/" in text
        if name == "val":
            with pytest.raises(UserError, match="another --seed .* or a larger --val-share"):
                splits.refuse_without_boxes(split, labelled, chosen=True)

    def test_refuses(self):
        with pytest.raises(
            UserError, match="2 of 97 images have names that do not state the planogram: a.jpg, b"
        ):
            splits.grouped(shelves()[:-1] + ["a.jpg", "b.jpg"], 0, 0.1, 0)
        with pytest.raises(UserError, match="validation would take them all"):
            splits.official(["C1_P01_N1_S1_1.JPG", "C1_P01_N1_S1_2.JPG"], ["t.jpg"], 0.1, 0)
        with pytest.raises(UserError, match="no image is in test"):
            splits.official(shelves(), [], 0.1, 0)
        with pytest.raises(UserError, match="no image is in train and val"):
            splits.official([], ["t.jpg"], 0.1, 0)


@pytest.fixture
def shelf_folder(tmp_path):
    """12 planograms, two copies of each in train and one in test."""
    for side, copies in (("train", (1, 2)), ("test", (3,))):
        for planogram in range(1, 13):
            for copy in copies:
                path = tmp_path / "ShelfImages" / side / NAME.format(1, planogram, 1, copy)
                path.parent.mkdir(parents=True, exist_ok=True)
                colour = (60 * copy, 0, 20 * planogram)  # no two files are identical
                Image.new("RGB", (40 + planogram, 30), colour).save(str(path), quality=100)
    names = sorted(path.name for path in tmp_path.glob("ShelfImages/*/*"))
    rows = [f"{name},1,2,{9 + n},20,0\n" for name in names for n in range(3)]
    (tmp_path / "annotations.csv").write_text("".join(rows))
    return tmp_path


@pytest.fixture
def run(script, shelf_folder, capsys):
    def run(*options):
        capsys.readouterr()
        script("02_split_annotations").main(
            [
                "--images",
                str(shelf_folder),
                "--out",
                str(shelf_folder / "out"),
            ]
            + list(options)
        )
        return capsys.readouterr().out

    return run


def object_detection_ids(path):
    """The label map as object_detection reads it."""
    from object_detection.utils import label_map_util

    return dict(label_map_util.get_label_map_dict(str(path)))


def names_of(folder):
    return {
        split: [image.filename for image in labels.read_labels(folder / f"{split}_labels.csv")]
        for split in paths.SPLITS
    }


class TestScript:
    def test_official(self, run, shelf_folder):
        out = run()
        found = names_of(shelf_folder / "out")
        assert {split: len(names) for split, names in found.items()} == {
            "train": 20,
            "val": 4,
            "test": 12,
        }
        assert all(name.endswith("_3.JPG") for name in found["test"])
        assert "annotations.csv (Grocery Dataset)" in out
        assert "train   20 images,     60 boxes, at most 3 an image" in out
        assert (
            "12 show a shelf that train or val shows, too, and 12 share camera and planogram" in out
        )
        first = labels.read_labels(shelf_folder / "out" / "test_labels.csv")[0]
        assert (first.size_wh, first.classes) == ((41, 30), ("product",) * 3)

    def test_grouped(self, run, shelf_folder):
        out = run("--split", "grouped", "--fold", "0")
        assert "test: planograms P03, P07, P11" in out and "of 9 test images, 0 show a shelf" in out
        assert len(names_of(shelf_folder / "out")["test"]) == 9

    def test_the_seed_decides(self, run, shelf_folder):
        run()
        first = names_of(shelf_folder / "out")
        run()
        assert names_of(shelf_folder / "out") == first
        run("--seed", "3")
        assert names_of(shelf_folder / "out") != first

    def test_train_and_test_directly(self, run, shelf_folder):
        run(
            "--images",
            str(shelf_folder / "ShelfImages"),
            "--annotations",
            str(shelf_folder / "annotations.csv"),
        )
        assert len(names_of(shelf_folder / "out")["test"]) == 12

    def test_label_files_as_input(self, run, shelf_folder):
        run()
        texts = [
            (shelf_folder / "out" / f"{split}_labels.csv").read_text() for split in paths.SPLITS
        ]
        whole = "".join(text.split("\n", 1)[1] for text in texts)
        (shelf_folder / "all.csv").write_text(",".join(labels_csv.LABEL_COLUMNS) + "\n" + whole)
        before = names_of(shelf_folder / "out")
        out = run("--annotations", str(shelf_folder / "all.csv"), "--format", "csv")
        title = formats.FORMATS["csv"].title
        assert f"all.csv ({title})" in out
        assert names_of(shelf_folder / "out") == before
        (shelf_folder / "all.csv").rename(shelf_folder / "annotations.csv")
        assert f"annotations.csv ({title})" in run()
        assert f"annotations.csv ({title})" in run("--format", "csv")
        assert names_of(shelf_folder / "out") == before

    def test_coco_categories_become_the_only_class(self, run, shelf_folder):
        (shelf_folder / "annotations.csv").unlink()
        names = sorted(path.name for path in shelf_folder.glob("ShelfImages/*/*"))
        (shelf_folder / "annotations.json").write_text(
            json.dumps(
                {
                    "images": [
                        {"id": number, "file_name": name} for number, name in enumerate(names)
                    ],
                    "categories": [{"id": 1, "name": "cola"}, {"id": 2, "name": "tea"}],
                    "annotations": [
                        {
                            "id": number,
                            "image_id": number,
                            "category_id": 1 + number % 2,
                            "bbox": [1, 2, 10, 20],
                        }
                        for number in range(len(names))
                    ],
                }
            )
        )
        assert "one class: 2 classes of the annotations (cola, tea) become product;" in run()
        found = labels.read_labels(shelf_folder / "out" / "test_labels.csv")
        assert {image.classes for image in found} == {("product",)}
        assert not (shelf_folder / "out" / "classes.pbtxt").exists()

    def test_brands_that_are_kept_have_a_label_map(self, run, shelf_folder):
        rows = (shelf_folder / "annotations.csv").read_text().splitlines()
        brands = ["10", "2", "0"]
        with_brands = [row[:-1] + brands[number % 3] for number, row in enumerate(rows)]
        (shelf_folder / "annotations.csv").write_text("\n".join(with_brands))
        label_map = shelf_folder / "out" / "classes.pbtxt"

        out = run("--classes", "keep")
        assert object_detection_ids(label_map) == {"0": 1, "2": 2, "10": 3}
        assert re.search(r"class +train +val +test\n0 +20 +4 +12\n2 +20 +4 +12\n10 +20", out)
        assert "both input readers, and to have num_classes: 3" in out
        assert "no box in" not in out
        found = labels.read_labels(shelf_folder / "out" / "test_labels.csv")
        assert {image.classes for image in found} == {("10", "2", "0")}

        # The names to show are edited by hand, and stay.
        label_map.write_text(label_map.read_text().replace("id: 3", "id: 3 display_name: 'Ten'"))
        out = run("--classes", "10,2")
        assert "36 boxes were left out, of classes that were not chosen: 0 (36)" in out
        assert object_detection_ids(label_map) == {"10": 1, "2": 2}
        assert label_map_file.read_display_names(label_map) == {"10": "Ten"}

        (shelf_folder / "annotations.csv").write_text("\n".join([rows[0][:-1] + "5", *rows[1:]]))
        out = run("--classes", "keep")
        # rows[0] is of a training image
        assert "no box in val of 5: they have no part in the choice of checkpoint" in out
        assert "no box in test of 5: they will have no AP and no recall" in out
        assert "no box in train" not in out

        run()  # one class: the label map of other classes must not be taken for that of the labels
        assert not label_map.exists()

    @pytest.mark.parametrize("classes", ["", "a,", "a,a"])
    def test_names_of_classes_that_cannot_be_meant(self, run, classes, capsys):
        with pytest.raises(SystemExit):
            run("--classes", classes)
        assert "expected keep or names of classes" in capsys.readouterr().err

    @pytest.mark.parametrize(
        "options",
        [
            ["--val-share", "0"],
            ["--val-share", "1"],
            ["--val-share", "nan"],
            ["--fold", "0"],
            ["--split", "grouped"],
            ["--split", "grouped", "--fold", "4"],
            ["--format", "tfrecord"],
            ["--unknown"],
            ["--ima", "x"],
            ["stray"],
        ],
    )
    def test_refuses_options(self, script, options, capsys):
        with pytest.raises(SystemExit) as caught:
            script("02_split_annotations").main(options)
        assert caught.value.code == 2 and capsys.readouterr().err

    def test_a_mistake_keeps_the_old_files(self, run, shelf_folder):
        run()
        before = {path: path.read_bytes() for path in (shelf_folder / "out").iterdir()}
        with open(str(shelf_folder / "annotations.csv"), "a") as file:
            file.write(NAME.format(1, 1, 1, 1) + ",1,2,x,4,0\n")
        with pytest.raises(UserError, match="annotations.csv: line 109: xmax is 'x'"):
            run()
        assert {path: path.read_bytes() for path in (shelf_folder / "out").iterdir()} == before

    def test_a_folder_in_place_of_a_label_file(self, run, shelf_folder):
        run()
        before = (shelf_folder / "out" / "train_labels.csv").read_bytes()
        (shelf_folder / "out" / "val_labels.csv").unlink()
        (shelf_folder / "out" / "val_labels.csv").mkdir()
        with pytest.raises(UserError, match="val_labels.csv: cannot be written"):
            run("--seed", "3")
        assert (shelf_folder / "out" / "train_labels.csv").read_bytes() == before
        assert {path.name for path in (shelf_folder / "out").iterdir()} == {
            "test_labels.csv",
            "train_labels.csv",
            "val_labels.csv",
        }

    def test_no_annotations(self, run, shelf_folder):
        (shelf_folder / "annotations.csv").unlink()
        with pytest.raises(UserError, match="holds none of annotations.csv, annotations.tsv, "):
            run()
        with pytest.raises(UserError, match="gone.csv: no such file"):
            run("--annotations", str(shelf_folder / "gone.csv"))
        (shelf_folder / "a.doc").write_text("x")
        with pytest.raises(UserError, match="a .doc file; expected .csv, .tsv, .json"):
            run("--annotations", str(shelf_folder / "a.doc"))

    def test_names_outside_the_scheme(self, run, shelf_folder):
        old = shelf_folder / "ShelfImages" / "train" / NAME.format(1, 1, 1, 1)
        old.rename(old.with_name("my shelf.JPG"))
        text = (shelf_folder / "annotations.csv").read_text()
        (shelf_folder / "annotations.csv").write_text(text.replace(old.name, "my shelf.JPG"))
        assert "of 12 test images" in run()
        with pytest.raises(UserError, match="does not state the planogram: my shelf.JPG"):
            run("--split", "grouped", "--fold", "0")


class TestRealShelves:
    def test_official(self, shelf_data, tmp_path):
        found = dataset.find_placed(shelf_data)
        labelled = dataset.check(found, ONE_CLASS).labelled
        found = found.layout.images
        split = splits.official(list(found["train"]), list(found["test"]), 0.1, 0)
        counts = {name: splits.counts(split[name], labelled) for name in paths.SPLITS}
        assert counts == {"train": (254, 9569, 168), "val": (29, 967, 72), "test": (71, 2648, 62)}
        assert splits.overlap(split) == (24, 71, 0)
        written = splits.write(split, labelled, tmp_path)
        assert len(labels.read_labels(written["val"])) == 29

    # The first digits of the SHA-256 of the label files as they were before images were grouped by
    # version and content: published figures depend on this split.
    @pytest.mark.parametrize(
        "options, digests",
        [
            (
                (),
                {
                    "train": "73cbf143204a3bf1",
                    "val": "4e7b2f687e0e7fcc",
                    "test": "b77248d9902e1575",
                },
            ),
            (
                ("--split", "grouped", "--fold", "0"),
                {
                    "train": "4d1f5d3b2937dc83",
                    "val": "48ebae0dc4f53640",
                    "test": "75cbdd6b4279a19c",
                },
            ),
        ],
    )
    def test_label_files_stay_byte_for_byte(self, script, shelf_data, tmp_path, options, digests):
        arguments = ["--images", str(shelf_data), "--out", str(tmp_path)]
        script("02_split_annotations").main(arguments + list(options))
        for name, digest in digests.items():
            assert files.sha256(tmp_path / f"{name}_labels.csv").startswith(digest)

    def test_folds_are_balanced(self, shelf_data):
        names = [path.name for path in shelf_data.glob("ShelfImages/*/*.JPG")]
        tested = collections.Counter()
        for fold, expected in enumerate((86, 88, 91, 89)):
            split = splits.grouped(names, fold, 0.1, 0)
            assert len(split["test"]) == expected
            tested.update(split["test"])
        assert set(tested) == set(names) and set(tested.values()) == {1}
