"""Bootstrap intervals of a detector's figures, and of the difference between two detectors."""

from typing import Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from shelfdet.evaluation import metrics
from shelfdet.evaluation.matching import Matches

LEVEL = 95  # percent of an interval
RESAMPLES = 1000  # 25 draws are beyond each end of a 95 % interval
MOST_WORK = 10**8  # detections x resamples: about a minute on one core
FEWEST_RESAMPLES = 200  # five draws are then beyond each end of a 95 % interval

Interval = Tuple[float, float]  # low, high
Progress = Callable[[Iterable[np.ndarray]], Iterable[np.ndarray]]  # such as tqdm


class Comparison(NamedTuple):
    """One figure of two detectors on the same images."""

    first: float
    second: float
    difference: float  # second - first
    interval: Interval  # of the difference


def intervals(
    matches: Sequence[Matches],
    threshold: Optional[float],
    resamples: int = RESAMPLES,
    seed: int = 0,
    progress: Progress = iter,
) -> Dict[str, Interval]:
    """95 % intervals of metrics.summary by the percentile bootstrap over images.

    The method is that of Efron & Tibshirani 1993, chapter 13.

    Each draw takes N of the N images with replacement. The threshold is fixed: an interval
    shows how a figure would vary with other images of the same kind, not with another training or
    another choice of threshold.

    Args:
      matches, threshold: as in metrics.summary.
      resamples: number of draws; 0 gives no intervals.
      seed: of the draws.
      progress: wraps the sequence of draws, for a progress bar.

    Returns:
      dict of figure -> (low, high); NaN where not defined.
    """
    if not resamples or not matches:
        return {}
    summarise = metrics.summary_function(matches, threshold)
    summaries = [summarise(weights) for weights in progress(_draws(len(matches), resamples, seed))]
    return {name: _interval([drawn[name] for drawn in summaries]) for name in summaries[0]}


def compare(
    first: Sequence[Matches],
    second: Sequence[Matches],
    thresholds: Sequence[Optional[float]],
    resamples: int = RESAMPLES,
    seed: int = 0,
    progress: Progress = iter,
) -> Dict[str, Comparison]:
    """The paired bootstrap of two detectors: each draw takes the same images for both.

    Args:
      first, second: lists of Matches of the same images, in the same order.
      thresholds: each detector's own score threshold, or None.
      resamples, seed, progress: as in ``intervals``.

    Returns:
      dict of figure -> Comparison.
    """
    assert [image.filename for image in first] == [image.filename for image in second]
    summarise_first = metrics.summary_function(first, thresholds[0])
    summarise_second = metrics.summary_function(second, thresholds[1])
    differences = []
    for weights in progress(_draws(len(first), resamples, seed)):
        differences.append(_differences(summarise_first(weights), summarise_second(weights)))

    figures_first = summarise_first(None)
    figures_second = summarise_second(None)
    return {
        name: Comparison(
            figures_first[name],
            figures_second[name],
            difference,
            _interval([drawn[name] for drawn in differences]),
        )
        for name, difference in _differences(figures_first, figures_second).items()
    }


def resamples_for(matches: Sequence[Matches], resamples: int = RESAMPLES) -> int:
    """``resamples``, or fewer (at least FEWEST_RESAMPLES) where these would take minutes."""
    detections = sum(len(image.scores) for image in matches)
    return min(resamples, max(FEWEST_RESAMPLES, MOST_WORK // max(detections, 1)))


def _draws(images: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each image is in each draw, float64 (images,)."""
    random = np.random.RandomState(seed)
    for _ in range(resamples if images else 0):
        drawn = random.randint(0, images, images)
        yield np.bincount(drawn, minlength=images).astype(np.float64)


def _differences(first: Dict[str, float], second: Dict[str, float]) -> Dict[str, float]:
    return {name: second[name] - first[name] for name in first}


def _interval(values: List[float]) -> Interval:
    array = np.array(values, dtype=np.float64)
    array = array[~np.isnan(array)]
    if not len(array):
        return np.nan, np.nan
    low, high = np.percentile(array, [(100 - LEVEL) / 2, (100 + LEVEL) / 2]).tolist()
    return low, high
