"""Puts a dataset where the next steps read it: links (or copies) that replace only links."""

import filecmp
import os
import pathlib
import shutil
from typing import Dict, List, Optional

from shelfdet import UserError
from shelfdet.core import files
from shelfdet.core.paths import SHELF_IMAGES_NAME
from shelfdet.data import annotation_files, layout

# Target path to the path of the file that it links to or copies.
Plan = Dict[pathlib.Path, pathlib.Path]


def place(
    image_paths: Dict[str, layout.ImagePaths],
    annotations: annotation_files.Annotations,
    out: pathlib.Path,
    copy: bool = False,
    corrected: Optional[annotation_files.Annotations] = None,
) -> List[pathlib.Path]:
    """Links or copies images and annotations to ``out``, unless they are already there.

    Args:
      image_paths: "train", "test" and perhaps "val" to {name: path}.
      annotations: the annotations of these images.
      out: holds ShelfImages/{train,val,test} and the annotations afterwards, and no other
        annotations.
      copy: copy the files instead of linking to them.
      corrected: annotations that replace those of the same images, which go into a folder.

    Returns:
      list of the files and folders that changed: of ``out``/ShelfImages, the annotations and the
        corrected ones.

    Raises:
      UserError: a file that is no link would be lost, or ``out`` cannot be written.
    """
    shelf_images = out / SHELF_IMAGES_NAME
    annotations_target = out / annotations.placed_name()
    plans = {
        shelf_images: {
            shelf_images / folder / name: path
            for folder, found in image_paths.items()
            for name, path in found.items()
        },
        annotations_target: annotations.placed_files(annotations_target),
    }
    corrected_target = out / annotation_files.CORRECTED_NAME
    if corrected is not None:
        plans[corrected_target] = corrected.files_in_folder(corrected_target)
    # Annotations of an earlier dataset go: step 02 must not read them as those of this one. A
    # folder that holds those of this one is the user's own.
    own_folders = {path.resolve().parent for path in annotations.files}
    outdated = [
        out / name
        for name in annotation_files.placed_names()
        if out / name != annotations_target and (out / name).resolve() not in own_folders
    ]
    if corrected is None and corrected_target.is_dir():
        outdated.append(corrected_target)
    try:
        # Nothing is changed before everything is checked.
        changes = [root for root, plan in plans.items() if not _in_place(root, plan, copy)]
        for path in changes + outdated:
            _refuse_to_replace(path)
        for root in plans:
            files.remove_leftovers(root)
        _put_in_place({root: plans[root] for root in changes}, out, copy)
        for path in outdated:
            if path.is_symlink():
                path.unlink()
            elif path.is_dir():
                shutil.rmtree(str(path))
    except OSError as error:
        raise UserError(files.writing_failed(out, error)) from error
    return changes


def _in_place(root: pathlib.Path, plan: Plan, copy: bool) -> bool:
    """Whether ``root`` holds exactly the planned files, as links or copies of equal content."""
    if root.is_file():
        present = {root}
    else:
        present = {path for path in root.rglob("*") if not path.is_dir()}
    if present != set(plan):
        return False
    return all(_is_current(target, source, copy) for target, source in plan.items())


def _is_current(target, source, copy):
    if target.is_symlink():
        return not copy and target.exists() and target.samefile(source)
    return target.samefile(source) or filecmp.cmp(str(target), str(source), shallow=False)


def _refuse_to_replace(path):
    if path.is_symlink() or path.is_file():
        found = [path]
    else:
        found = path.rglob("*") if path.is_dir() else []
    for item in found:
        if not item.is_symlink() and not item.is_dir():
            raise UserError(
                f"{item}: is a file of your own where this step would put links; expected nothing, "
                f"or links, which can be replaced without loss. Move {path} away, or name another "
                "folder with --out."
            )


def _put_in_place(plans: Dict[pathlib.Path, Plan], out: pathlib.Path, copy: bool) -> None:
    roots = list(plans)
    # Together: a program that is killed must not leave new images with old annotations.
    with files.replacing_together(roots) as partials:
        for root, partial in zip(roots, partials):
            for target, source in plans[root].items():
                written = partial if target == root else partial / target.relative_to(root)
                written.parent.mkdir(parents=True, exist_ok=True)
                if copy:
                    shutil.copyfile(str(source), str(written))  # the bytes without the permissions
                else:
                    link = _link_target(source.resolve(), written.parent.resolve(), out)
                    written.symlink_to(link)


def _link_target(source, folder, out):
    # A link to a file inside ``out`` is relative, so that the workspace can be moved.
    if out.resolve() in source.parents:
        return os.path.relpath(str(source), str(folder))
    return str(source)
