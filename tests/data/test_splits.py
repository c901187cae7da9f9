"""Step 02: who trains, validates and tests; the official split and the folds, on made and on real shelves."""

import collections
import hashlib
import itertools
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from shelfdet import UserError
from shelfdet.data import labels, splits

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
        divided = splits.official(names, ["t.jpg"], share, seed)
        order = sorted(
            {name[:-6] for name in names},
            key=lambda g: hashlib.sha256(f"{seed}:{g}".encode()).hexdigest(),
        )
        assert set(name[:-6] for name in divided["val"]) == set(
            order[: math.ceil(math.ceil(share * 96) / 2)]
        )

    @settings(deadline=None, max_examples=40)
    @given(
        names=st.lists(
            st.sampled_from(shelves() + ["a.jpg", "b.jpg", "c.jpg"]), min_size=2, unique=True
        ),
        share=st.floats(0.001, 0.999),
        seed=st.integers(0, 99),
    )
    def test_no_shelf_is_on_two_sides(self, names, share, seed):
        try:
            divided = splits.official(names, ["t.jpg"], share, seed)
        except UserError:
            return
        assert sorted(divided["train"] + divided["val"]) == sorted(names)
        assert len(divided["val"]) >= math.ceil(share * len(names)) and divided["train"]
        assert not {splits.shelf(name) for name in divided["train"]} & {
            splits.shelf(name) for name in divided["val"]
        }

    @pytest.mark.parametrize("fold", range(4))
    def test_no_planogram_is_on_two_sides(self, fold):
        divided = splits.grouped(shelves(), fold, 0.1, 0)
        sides = [splits.planograms(divided[split]) for split in splits.NAMES]
        assert tuple(sides[2]) == splits.FOLDS[fold]
        assert sum(len(side) for side in sides) == len(set(sum(sides, []))) == 12
        assert splits.shared(divided) == (0, 0, 0)

    def test_order_does_not_matter(self):
        names = shelves()
        assert splits.official(names, ["t.jpg"], 0.1, 0) == splits.official(
            names[::-1], ["t.jpg"], 0.1, 0
        )

    def test_flat_names_outside_the_scheme_are_each_their_own_shelf(self):
        names = [f"shelf {number}.jpg" for number in range(10)]
        train, test = splits.hold_out(names, 0.2, seed=0)
        assert len(test) == 2 and sorted(train + test) == names
        with pytest.raises(UserError, match="1 shelf; expected enough"):
            splits.hold_out(["C1_P01_N1_S2_1.JPG", "C1_P01_N1_S2_2.JPG"], 0.2, seed=0)

    def test_shared(self):
        divided = {
            "train": ["C1_P01_N1_S1_1.JPG", "x.jpg"],
            "val": ["C1_P02_N1_S1_1.JPG"],
            "test": ["C1_P01_N1_S1_2.JPG", "C1_P02_N2_S1_1.JPG", "C2_P01_N1_S1_1.JPG", "x2.jpg"],
        }
        assert splits.shared(divided) == (1, 2, 1)

    def test_refuses(self):
        with pytest.raises(
            UserError, match="2 of 97 images have names that do not tell their planogram: a.jpg, b"
        ):
            splits.grouped(shelves()[:-1] + ["a.jpg", "b.jpg"], 0, 0.1, 0)
        with pytest.raises(UserError, match="all of which validation would take"):
            splits.official(["C1_P01_N1_S1_1.JPG", "C1_P01_N1_S1_2.JPG"], ["t.jpg"], 0.1, 0)
        with pytest.raises(UserError, match="no image is in test"):
            splits.official(shelves(), [], 0.1, 0)
        with pytest.raises(UserError, match="no image is in train and val"):
            splits.official([], ["t.jpg"], 0.1, 0)


@pytest.fixture
def dataset(tmp_path):
    """A small dataset in the real layout: 12 planograms, two copies each in train, one in test; with a label map."""
    for side, copies in (("train", (1, 2)), ("test", (3,))):
        for planogram in range(1, 13):
            for copy in copies:
                path = tmp_path / "ShelfImages" / side / NAME.format(1, planogram, 1, copy)
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (40 + planogram, 30)).save(str(path))
    names = sorted(path.name for path in tmp_path.glob("ShelfImages/*/*"))
    rows = [f"{name},1,2,{9 + n},20,0\n" for name in names for n in range(3)]
    (tmp_path / "annotations.csv").write_text("".join(rows))
    (tmp_path / "map.pbtxt").write_text("item { id: 1 name: 'product' }")
    return tmp_path


@pytest.fixture
def run(script, dataset, capsys):
    def run(*options):
        capsys.readouterr()
        script("02_split_annotations").main(
            [
                "--images",
                str(dataset),
                "--label-map",
                str(dataset / "map.pbtxt"),
                "--out",
                str(dataset / "out"),
            ]
            + list(options)
        )
        return capsys.readouterr().out

    return run


def names_of(folder):
    return {
        split: [image.filename for image in labels.read_labels(folder / f"{split}_labels.csv")]
        for split in splits.NAMES
    }


class TestScript:
    def test_official(self, run, dataset):
        out = run()
        found = names_of(dataset / "out")
        assert {split: len(names) for split, names in found.items()} == {
            "train": 20,
            "val": 4,
            "test": 12,
        }
        assert all(name.endswith("_3.JPG") for name in found["test"])
        assert "annotations.csv as Grocery Dataset CSV" in out
        assert "train   20 images,     60 boxes, at most 3 an image" in out
        assert (
            "12 show a shelf that train or val shows, too, and 12 share camera and planogram" in out
        )
        first = labels.read_labels(dataset / "out" / "test_labels.csv")[0]
        assert (first.size_wh, first.classes) == ((41, 30), ("product",) * 3)

    def test_grouped(self, run, dataset):
        out = run("--split", "grouped", "--fold", "0")
        assert "test: planograms P03, P07, P11" in out and "of 9 test images, 0 show a shelf" in out
        assert len(names_of(dataset / "out")["test"]) == 9

    def test_the_same_again_and_another_seed(self, run, dataset):
        run()
        first = names_of(dataset / "out")
        run()
        assert names_of(dataset / "out") == first
        run("--seed", "3")
        assert names_of(dataset / "out") != first

    def test_train_and_test_directly(self, run, dataset):
        run(
            "--images",
            str(dataset / "ShelfImages"),
            "--annotations",
            str(dataset / "annotations.csv"),
        )
        assert len(names_of(dataset / "out")["test"]) == 12

    def test_own_labels_as_input(self, run, dataset):
        run()
        texts = [(dataset / "out" / f"{split}_labels.csv").read_text() for split in splits.NAMES]
        whole = "".join(text.split("\n", 1)[1] for text in texts)
        (dataset / "all.csv").write_text(",".join(labels.LABEL_COLUMNS) + "\n" + whole)
        before = names_of(dataset / "out")
        out = run("--annotations", str(dataset / "all.csv"), "--format", "labels")
        assert "all.csv as label CSV of this workspace" in out
        assert names_of(dataset / "out") == before
        (dataset / "all.csv").rename(dataset / "annotations.csv")
        assert "annotations.csv as label CSV of this workspace" in run()
        assert "annotations.csv as label CSV of this workspace" in run("--format", "labels")
        assert names_of(dataset / "out") == before

    def test_coco_categories_become_the_only_class(self, run, dataset):
        (dataset / "annotations.csv").unlink()
        names = sorted(path.name for path in dataset.glob("ShelfImages/*/*"))
        (dataset / "annotations.json").write_text(
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
        assert (
            "the label map has one class: 2 classes of the annotations (cola, tea) become product\n"
            in run()
        )
        found = labels.read_labels(dataset / "out" / "test_labels.csv")
        assert {image.classes for image in found} == {("product",)}
        (dataset / "map.pbtxt").write_text("item { id: 1 name: 'tea' } item { id: 2 name: 'milk' }")
        with pytest.raises(UserError, match="class 'cola' .*expected 'tea' or 'milk'"):
            run()

    @pytest.mark.parametrize(
        "options",
        [
            ["--val-share", "0"],
            ["--val-share", "1"],
            ["--val-share", "nan"],
            ["--fold", "0"],
            ["--split", "grouped"],
            ["--split", "grouped", "--fold", "4"],
            ["--format", "yolo"],
            ["--unknown"],
            ["--ima", "x"],
            ["stray"],
        ],
    )
    def test_refuses_options(self, script, options, capsys):
        with pytest.raises(SystemExit) as caught:
            script("02_split_annotations").main(options)
        assert caught.value.code == 2 and capsys.readouterr().err

    def test_mistakes_leave_the_old_files(self, run, dataset):
        run()
        before = {path: path.read_bytes() for path in (dataset / "out").iterdir()}
        with open(str(dataset / "annotations.csv"), "a") as file:
            file.write(NAME.format(1, 1, 1, 1) + ",1,2,x,4,0\n")
        with pytest.raises(UserError, match="annotations.csv: line 109: xmax is 'x'"):
            run()
        assert {path: path.read_bytes() for path in (dataset / "out").iterdir()} == before

    def test_a_folder_where_a_label_file_belongs(self, run, dataset):
        run()
        before = (dataset / "out" / "train_labels.csv").read_bytes()
        (dataset / "out" / "val_labels.csv").unlink()
        (dataset / "out" / "val_labels.csv").mkdir()
        with pytest.raises(UserError, match="val_labels.csv: cannot be written"):
            run("--seed", "3")
        assert (dataset / "out" / "train_labels.csv").read_bytes() == before
        assert {path.name for path in (dataset / "out").iterdir()} == {
            "test_labels.csv",
            "train_labels.csv",
            "val_labels.csv",
        }

    def test_no_annotations(self, run, dataset):
        (dataset / "annotations.csv").unlink()
        with pytest.raises(
            UserError, match="holds none of annotations.csv, annotations, annotations.json"
        ):
            run()
        with pytest.raises(UserError, match="No such file"):
            run("--annotations", str(dataset / "gone.csv"))
        with pytest.raises(UserError, match="a .txt file; expected .csv, .json"):
            run("--annotations", str(dataset / "a.txt"))

    def test_names_outside_the_scheme(self, run, dataset):
        old = dataset / "ShelfImages" / "train" / NAME.format(1, 1, 1, 1)
        old.rename(old.with_name("my shelf.JPG"))
        text = (dataset / "annotations.csv").read_text()
        (dataset / "annotations.csv").write_text(text.replace(old.name, "my shelf.JPG"))
        assert "of 12 test images" in run()
        with pytest.raises(UserError, match="do not tell their planogram: my shelf.JPG"):
            run("--split", "grouped", "--fold", "0")


class TestRealShelves:
    def test_official(self, script, shelf_data, dataset, capsys):
        script("02_split_annotations").main(
            [
                "--images",
                str(shelf_data),
                "--label-map",
                str(dataset / "map.pbtxt"),
                "--out",
                str(dataset / "out"),
            ]
        )
        out = capsys.readouterr().out
        found = {
            split: labels.read_labels(dataset / "out" / f"{split}_labels.csv")
            for split in splits.NAMES
        }
        counts = {
            split: [len(image.classes) for image in images] for split, images in found.items()
        }
        assert {split: (len(boxes), sum(boxes), max(boxes)) for split, boxes in counts.items()} == {
            "train": (254, 9569, 168),
            "val": (29, 967, 72),
            "test": (71, 2648, 62),
        }
        assert (
            "24 show a shelf that train or val shows, too, and 71 share camera and planogram" in out
        )

    def test_folds_are_balanced(self, shelf_data):
        names = [path.name for path in shelf_data.glob("ShelfImages/*/*.JPG")]
        tested = collections.Counter()
        for fold, expected in enumerate((86, 88, 91, 89)):
            divided = splits.grouped(names, fold, 0.1, 0)
            assert len(divided["test"]) == expected
            tested.update(divided["test"])
        assert set(tested) == set(names) and set(tested.values()) == {1}
