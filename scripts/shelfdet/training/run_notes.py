"""What a run's folder says of its training: its config, its images and their boxes."""

import pathlib
from typing import Dict, List, Optional

from google.protobuf import text_format

from shelfdet.config import pipeline
from shelfdet.core import files, paths, text
from shelfdet.data import trained_on


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
        run / paths.TRAINED_ON_FILE: trained_on.as_text(images_seen(config, run, resumes)),
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


def dataset_images(config: pipeline.Config) -> Dict[str, trained_on.Images]:
    """The images trained on and validated on, under "train" and "val".

    They are read from the label files that step 02 writes beside the records; a split without one
    is left out.
    """
    readers = {trained_on.TRAIN: config.train_input_reader}
    if config.eval_input_reader:
        readers[trained_on.VAL] = config.eval_input_reader[0]
    images: Dict[str, trained_on.Images] = {}
    for split, reader in readers.items():
        for record in reader.tf_record_input_reader.input_path:
            label_file = paths.labels_beside(paths.ROOT / record)
            if label_file.is_file():
                images.setdefault(split, {}).update(trained_on.of_labels(label_file))
    return images


def relabelled(config: pipeline.Config, run: pathlib.Path) -> Dict[str, List[str]]:
    """The images whose boxes were changed since the run was last trained, by split, sorted.

    Images that are not in both are left out, and so is a run that has no digests.
    """
    noted = run / paths.TRAINED_ON_FILE
    before = trained_on.read(noted) if noted.is_file() else {}
    changed = {
        split: sorted(trained_on.relabelled(before.get(split, {}), now))
        for split, now in dataset_images(config).items()
    }
    return {split: names for split, names in changed.items() if names}


def images_seen(
    config: pipeline.Config, run: pathlib.Path, resumes: bool
) -> Dict[str, trained_on.Images]:
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
    before = []
    own = run / paths.TRAINED_ON_FILE
    if resumes and own.is_file():
        before.append(trained_on.read(own).get(trained_on.BEFORE, {}))
    noted = _trained_on_file_of(config.train_config.fine_tune_checkpoint)
    if noted is not None:
        before.append(images_before(trained_on.read(noted), seen))
    if any(before):
        seen[trained_on.BEFORE] = trained_on.joined(*before)
    return seen


def images_before(
    earlier: Dict[str, trained_on.Images], seen: Dict[str, trained_on.Images]
) -> trained_on.Images:
    """The images of earlier weights that count as seen by weights made from them.

    Args:
      earlier: content of the trained_on.json of the earlier weights.
      seen: the same of the later ones.
    """
    # Nothing was learned from validation images: they can go on choosing checkpoints.
    val = trained_on.VAL
    still_validation = trained_on.same(earlier.get(val, {}), seen.get(val, {}))
    learned = {
        name: digest
        for name, digest in earlier.get(val, {}).items()
        if name not in still_validation
    }
    return trained_on.joined(*dict(earlier, **{val: learned}).values())


def _trained_on_file_of(checkpoint: str) -> Optional[pathlib.Path]:
    """The trained_on.json of a checkpoint: beside it, or one folder up for the best/ of a run."""
    if not checkpoint:
        return None
    prefix = paths.ROOT / checkpoint
    for folder in (prefix.parent, prefix.parent.parent):
        if (folder / paths.TRAINED_ON_FILE).is_file():
            return folder / paths.TRAINED_ON_FILE
    return None
