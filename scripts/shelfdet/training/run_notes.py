"""What a run's folder says of its training: its config, its images and their boxes."""

import hashlib
import json
import pathlib
from typing import Dict, Iterable, List, Optional, Set

from google.protobuf import text_format

from shelfdet.config import pipeline
from shelfdet.core import files, paths, text
from shelfdet.data import labels

# Keys of trained_on.json. BEFORE: the images that the run's first weights were trained on.
TRAIN = "train"
VAL = "val"
BEFORE = "before"
DIGEST_LENGTH = 16


def write(
    run: pathlib.Path, config_path: pathlib.Path, config: pipeline.Config, resumes: bool
) -> None:
    """Writes pipeline.config, the label map and what is noted of the images: all or none.

    Args:
      run: the run's folder.
      config_path: the config as the user wrote it.
      config: what to train with.
      resumes: whether the training resumes from a checkpoint in the folder.
    """
    contents = {
        run / paths.CONFIG_FILE: config_text(config_path, config),
        run / paths.TRAINED_ON_FILE: json.dumps(images_seen(config, run, resumes), indent=0) + "\n",
        run / paths.DIGESTS_FILE: json.dumps(label_digests(config), indent=0) + "\n",
        # What class ids of this training mean, also once the dataset has other classes
        run / paths.LABEL_MAP_FILE: text.read_text(label_map_path(config), "a label map"),
    }
    with files.replacing_together(list(contents)) as partials:
        for partial, content in zip(partials, contents.values()):
            files.write_text(partial, content)


def own_config(run: pathlib.Path) -> Optional[pipeline.Config]:
    """The config that the run was last trained with; None where it was not trained yet."""
    path = run / paths.CONFIG_FILE
    return pipeline.read(path) if path.exists() else None


def label_map_path(config: pipeline.Config) -> pathlib.Path:
    """The label map that a config names for its training images."""
    return paths.ROOT / config.train_input_reader.label_map_path


def config_text(path: pathlib.Path, config: pipeline.Config) -> str:
    """The config as text for the run's folder.

    It is the file's own text, with its comments, unless ``config`` differs from the file.
    """
    if pipeline.read(path) == config:
        return text.read_text(path, "a training config")
    first_weights = paths.shown(paths.ROOT / config.train_config.fine_tune_checkpoint)
    return (
        f"# {paths.shown(path)}, started with --start-from {first_weights}\n"
        + text_format.MessageToString(config)
    )


def dataset_images(config: pipeline.Config) -> Dict[str, List[str]]:
    """The sorted names of the images trained on and validated on, under "train" and "val".

    They are read from the label files that step 02 writes beside the records; a split without one
    is left out. The images of a dataset with a name are named DATASET/FILE.
    """
    return {split: sorted(digests) for split, digests in label_digests(config).items()}


def label_digests(config: pipeline.Config) -> Dict[str, Dict[str, str]]:
    """A digest of the size and boxes of every image of ``dataset_images``, by split and name."""
    readers = {TRAIN: config.train_input_reader}
    if config.eval_input_reader:
        readers[VAL] = config.eval_input_reader[0]
    digests: Dict[str, Dict[str, str]] = {}
    for split, reader in readers.items():
        for record in reader.tf_record_input_reader.input_path:
            label_file = paths.labels_beside(paths.ROOT / record)
            if label_file.is_file():
                digests.setdefault(split, {}).update(label_digests_in(label_file))
    return digests


def relabelled(config: pipeline.Config, run: pathlib.Path) -> Dict[str, List[str]]:
    """The images whose boxes were changed since the run was last trained, by split, sorted.

    Images that are not in both are left out, and so is a run that has no digests.
    """
    noted = run / paths.DIGESTS_FILE
    before = files.read_json(noted) if noted.is_file() else {}
    changed = {}
    for split, digests in label_digests(config).items():
        own = before.get(split, {})
        names = sorted(name for name in digests if own.get(name, digests[name]) != digests[name])
        if names:
            changed[split] = names
    return changed


def label_digests_in(label_file: pathlib.Path) -> Dict[str, str]:
    """A digest of the size and boxes of every image of a label file, by its name with dataset."""
    dataset = paths.dataset_of(label_file.parent)
    prefix = "" if dataset in (None, paths.DEFAULT_DATASET) else f"{dataset}/"
    return {f"{prefix}{image.filename}": _digest(image) for image in labels.read_labels(label_file)}


def _digest(image: labels.LabelledImage) -> str:
    # Neither the order of the boxes nor how a number is written matters.
    boxes = sorted(zip(image.classes, image.boxes_xyxy.tolist()))
    content = json.dumps([list(image.size_wh), boxes])
    return hashlib.sha256(content.encode("utf-8")).hexdigest()[:DIGEST_LENGTH]


def images_seen(config: pipeline.Config, run: pathlib.Path, resumes: bool) -> Dict[str, List[str]]:
    """The content of the run's trained_on.json: every image that its weights have been trained on.

    Args:
      config: the training config.
      run: the run's folder.
      resumes: whether the training resumes from a checkpoint there.

    Returns:
      ``dataset_images``, and under "before" the images that the first weights were trained on, as
      far as a trained_on.json beside these weights, or in the folder of a resumed run, lists them.
      Images that validated the first weights and validate this training are not among them.
    """
    seen = dataset_images(config)
    before: Set[str] = set()
    own = run / paths.TRAINED_ON_FILE
    if resumes and own.is_file():
        before.update(files.read_json(own).get(BEFORE, ()))
    noted = _trained_on_file_of(config.train_config.fine_tune_checkpoint)
    if noted is not None:
        before.update(images_before(files.read_json(noted), seen))
    if before:
        seen[BEFORE] = sorted(before)
    return seen


def images_before(earlier: Dict[str, List[str]], seen: Dict[str, List[str]]) -> Set[str]:
    """The images of earlier weights that count as seen by weights made from them.

    Args:
      earlier: content of the trained_on.json of the earlier weights.
      seen: the same of the later ones.
    """
    # Nothing was learned from validation images: they can go on choosing checkpoints.
    still_validation = same_images(earlier.get(VAL, ()), seen.get(VAL, ()))
    before: Set[str] = set()
    for use, names in earlier.items():
        before.update(set(names) - still_validation if use == VAL else names)
    return before


def same_images(names: Iterable[str], others: Iterable[str]) -> Set[str]:
    """Those of ``names`` whose image is one of ``others``.

    Names are "dataset/file" or, of the dataset without a name, "file". The same photographs can be
    read once with a name and once without, for example to keep their classes.
    """
    others = set(others)
    files_alone = {name for name in others if "/" not in name}
    files_of_all = {name.rpartition("/")[2] for name in others}
    return {
        name
        for name in names
        if name in others
        or name.rpartition("/")[2] in files_alone
        or ("/" not in name and name in files_of_all)
    }


def _trained_on_file_of(checkpoint: str) -> Optional[pathlib.Path]:
    """The trained_on.json of a checkpoint: beside it, or one folder up for the best/ of a run."""
    if not checkpoint:
        return None
    prefix = paths.ROOT / checkpoint
    for folder in (prefix.parent, prefix.parent.parent):
        if (folder / paths.TRAINED_ON_FILE).is_file():
            return folder / paths.TRAINED_ON_FILE
    return None
