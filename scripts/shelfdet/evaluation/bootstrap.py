"""What the figures of a detector are worth: intervals, breakdowns, costs of errors, one detector against another.

All of it works on ``metrics.Matches``: images are matched once, then counted in other ways.
"""

import collections

import numpy as np

from shelfdet.evaluation import metrics

LEVEL = 95  # percent of an interval
RESAMPLES = 1000
MOST_WORK = 10**8  # detections x resamples; more images need fewer resamples, and at least these:
FEWEST_RESAMPLES = 200
AP75 = 5  # metrics.COCO_IOUS[5] is 0.75
MISSED = "missed"


def summary(matches, threshold):
    """The figures of a detector on a list of Matches.

    Args:
      matches: list of metrics.Matches.
      threshold: score from which a detection counts for all but the APs; None leaves those figures NaN.

    Returns:
      OrderedDict: mAP (pascal), AP and AP75 (coco), then what ``metrics.figures`` gives. NaN where not defined.
    """
    return _measure(matches, threshold)(None)


def tally_sums(matches, threshold):
    """(TP, FP, FN) over all images by the pascal rule, ints; Nones without a threshold."""
    if threshold is None:
        return None, None, None
    hits, detected, truths = (int(column.sum()) for column in metrics.tally(matches, threshold))
    return hits, detected - hits, truths - hits


def bootstrap(matches, threshold, resamples=RESAMPLES, seed=0, progress=iter):
    """95 % intervals of ``summary`` by the percentile bootstrap over images (Efron & Tibshirani 1993, chapter 13).

    Images are drawn with replacement, as many as there are. The threshold stays: the intervals tell how the figures
    would vary with other images of the same kind, not with another training or another choice of threshold.

    Args:
      matches, threshold: as in ``summary``.
      resamples: how many draws.
      seed: of the draws.
      progress: wraps the sequence of draws, for a progress bar such as tqdm's.

    Returns:
      OrderedDict of figure -> (low, high); NaN where not defined.
    """
    measure = _measure(matches, threshold)
    draws = [measure(weights) for weights in progress(_draws(len(matches), resamples, seed))]
    names = list(draws[0]) if draws else []
    return collections.OrderedDict(
        (name, _interval([draw[name] for draw in draws])) for name in names
    )


def compare(first, second, thresholds, resamples=RESAMPLES, seed=0, progress=iter):
    """The paired bootstrap of two detectors on the same images: each draw takes the same images for both.

    Args:
      first, second: lists of Matches of the same images, sorted alike.
      thresholds: each detector's own score threshold, or None.
      resamples, seed, progress: as in ``bootstrap``.

    Returns:
      OrderedDict of figure -> (first, second, second - first, (low, high) of the difference).
    """
    assert [image.filename for image in first] == [image.filename for image in second]
    measures = [
        _measure(matches, threshold) for matches, threshold in zip((first, second), thresholds)
    ]
    one, other = (measure(None) for measure in measures)
    differences = []
    for weights in progress(_draws(len(first), resamples, seed)):
        drawn = [measure(weights) for measure in measures]
        differences.append({name: drawn[1][name] - drawn[0][name] for name in one})
    return collections.OrderedDict(
        (
            name,
            (
                one[name],
                other[name],
                other[name] - one[name],
                _interval([draw[name] for draw in differences]),
            ),
        )
        for name in one
    )


def resamples_for(matches, resamples=RESAMPLES):
    """``resamples``, or fewer where detections are so many that these would take minutes; see FEWEST_RESAMPLES."""
    detections = sum(len(image.scores) for image in matches)
    return min(resamples, max(FEWEST_RESAMPLES, MOST_WORK // max(detections, 1)))


def row(matches, threshold):
    """``summary`` after the numbers of "images" and "boxes" that it was read on."""
    counts = [("images", len(matches)), ("boxes", sum(len(image.truth_xyxy) for image in matches))]
    return collections.OrderedDict(counts + list(summary(matches, threshold).items()))


def by_group(matches, threshold, groups):
    """``summary`` of each group of images.

    Args:
      matches, threshold: as in ``summary``.
      groups: one name for each image.

    Returns:
      OrderedDict of group, sorted -> OrderedDict with "images", "boxes" and the figures.
    """
    rows = collections.OrderedDict()
    for group in sorted(set(groups)):
        part = [image for image, own in zip(matches, groups) if own == group]
        rows[group] = row(part, threshold)
    return rows


def by_box_size(matches, threshold):
    """``summary`` of small, middle and large boxes: thirds of the ground truth by side, the root of the area in pixels.

    A detection counts with the ground truth that it hits, hits again or is badly placed around, else by its own side;
    so every detection and every ground truth is in one third, and TP, FP and FN add up to those of the whole.

    Returns:
      OrderedDict of "under 40 px", ... -> OrderedDict as in ``by_group``, but for thirds with neither; empty without
      any ground truth. The errors of the counts are left out: an image's count is of all its boxes.
    """
    sides = np.sort(
        np.concatenate([_sides(image.truth_xyxy) for image in matches] or [np.zeros(0)])
    )
    if not len(sides):
        return collections.OrderedDict()
    low, high = (int(round(sides[len(sides) * third // 3])) for third in (1, 2))
    rows = collections.OrderedDict()
    for name, least, most in (
        (f"under {low} px", 0, low),
        (f"{low} to {high} px", low, high),
        (f"{high} px and over", high, np.inf),
    ):
        part = [
            metrics.keep(image, (least <= homes) & (homes < most), (least <= own) & (own < most))
            for image, homes, own in (
                (image, _homes(image), _sides(image.truth_xyxy)) for image in matches
            )
        ]
        figures = row(part, threshold)
        if figures["boxes"] or any(len(image.scores) for image in part):
            rows[name] = collections.OrderedDict(
                (key, value) for key, value in figures.items() if "count_error" not in key
            )
    return rows


def error_kinds(matches, threshold):
    """How many errors of each kind there are at ``threshold``, and how much mAP each kind costs.

    The cost is what mAP would gain if that kind alone were mended, over detections of all scores, as in TIDE (Bolya et
    al. 2020, "TIDE: A General Toolbox for Identifying Object Detection Errors", section 2.2): duplicates and background
    detections are taken away; a badly placed one becomes a hit of the ground truth it is nearest to, or is taken away
    if a better scored one has that; ground truths with no detection on them or badly placed around them are taken away.
    A class all of whose ground truths are missed would be left without any, and AP without meaning: mended, it counts
    as 1, as if they were found. Costs do not add up.

    Returns:
      OrderedDict of "missed", "background", "badly placed", "duplicate" -> (number, or None without a threshold; cost).
    """
    mends = collections.OrderedDict(
        [
            (MISSED, _without_missed),
            ("background", lambda image: _without(image, metrics.BACKGROUND)),
            ("badly placed", _replaced),
            ("duplicate", lambda image: _without(image, metrics.DUPLICATE)),
        ]
    )
    labels = sorted({label for image in matches for label in image.truth_classes})
    before = _mended_ap(matches, labels)
    result = collections.OrderedDict()
    for kind, mend in mends.items():
        after = _mended_ap([mend(image) for image in matches], labels)
        number = (
            None if threshold is None else sum(_count(image, kind, threshold) for image in matches)
        )
        result[kind] = (number, after - before)
    return result


def _measure(matches, threshold):
    """A function of weights (or None) that gives ``summary``; what does not depend on weights is done here, once."""
    pools = metrics.pools(matches)
    tallied = metrics.tally(matches, np.inf if threshold is None else threshold)

    def measure(weights):
        coco = _mean(
            [metrics.coco_average_precisions(pooled, weights) for pooled in pools],
            len(metrics.COCO_IOUS),
        )
        result = collections.OrderedDict(
            [
                ("mAP", _mean_ap(pools, weights)),
                ("AP", float(np.mean(coco))),
                ("AP75", float(coco[AP75])),
            ]
        )
        for name, value in metrics.figures(tallied, weights).items():
            result[name] = np.nan if threshold is None else float(value)
        return result

    return measure


def _mean_ap(pools, weights):
    return float(_mean([[metrics.average_precision(pooled, weights)] for pooled in pools], 1)[0])


def _mended_ap(matches, labels):
    """mAP over the classes ``labels``; one that has no ground truth (left) counts as 1. NaN without classes."""
    precisions = [metrics.average_precision(metrics.pool(matches, label)) for label in labels]
    return (
        float(np.mean([1.0 if np.isnan(value) else value for value in precisions]))
        if precisions
        else np.nan
    )


def _mean(rows, width):
    """Mean over classes, (width,), of those that have ground truth; NaN without any."""
    rows = np.array(rows, dtype=np.float64).reshape(-1, width)
    rows = rows[~np.isnan(rows).any(axis=1)]
    return rows.mean(axis=0) if len(rows) else np.full(width, np.nan)


def _draws(count, resamples, seed):
    random = np.random.RandomState(seed)
    for _ in range(resamples if count else 0):
        yield np.bincount(random.randint(0, count, count), minlength=count).astype(np.float64)


def _interval(values):
    values = np.array(values, dtype=np.float64)
    values = values[~np.isnan(values)]
    if not len(values):
        return np.nan, np.nan
    return tuple(np.percentile(values, [(100 - LEVEL) / 2, (100 + LEVEL) / 2]).tolist())


def _sides(boxes_xyxy):
    return np.sqrt(np.prod(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], axis=1))


def _homes(image):
    """The side by which each detection of a Matches counts, (N,)."""
    own = _sides(image.boxes_xyxy)
    at_truth = image.truth_index >= 0
    own[at_truth] = _sides(image.truth_xyxy)[image.truth_index[at_truth]]
    return own


def _count(image, kind, threshold):
    if kind == MISSED:
        return int(metrics.missed(image, threshold).sum())
    return int(np.sum((image.kinds == metrics.KINDS.index(kind)) & (image.scores >= threshold)))


def _every_truth(image):
    return np.ones(len(image.truth_xyxy), dtype=bool)


def _without(image, kind):
    return metrics.keep(image, image.kinds != kind, _every_truth(image))


def _without_missed(image):
    seen = ~_every_truth(image)
    seen[image.truth_index[image.truth_index >= 0]] = True
    return metrics.keep(image, image.kinds >= 0, seen)


def _replaced(image):
    around = np.flatnonzero((image.kinds == metrics.HIT) | (image.kinds == metrics.BADLY_PLACED))
    first = around[np.unique(image.truth_index[around], return_index=True)[1]]
    kinds, stays = image.kinds.copy(), np.ones(len(image.kinds), dtype=bool)
    stays[around] = False
    stays[first] = True
    kinds[first] = metrics.HIT
    return metrics.keep(image._replace(kinds=kinds), stays, _every_truth(image))
