"""Random scenes of ground truth and detections for property tests."""

from hypothesis import strategies as st
from scored_images import found, labelled

# Whole coordinates on a small grid make many overlaps, equal IoUs and IoUs of exactly 1/2.
box_corners = st.tuples(
    st.integers(0, 10), st.integers(0, 10), st.integers(1, 6), st.integers(1, 6)
).map(lambda xywh: (xywh[0], xywh[1], xywh[0] + xywh[2], xywh[1] + xywh[3]))


ONE_CLASS = st.just("product")


@st.composite
def scenes(draw, tied, labels=ONE_CLASS):
    """(truth, detections) of 1 to 4 images.

    Some detections are copies of ground-truth boxes; scores are tied or all different.
    """
    truth, pending = [], []
    for number in range(draw(st.integers(1, 4))):
        boxes = draw(st.lists(box_corners, max_size=6))
        guesses = draw(
            st.lists(
                st.one_of(box_corners, st.sampled_from(boxes)) if boxes else box_corners, max_size=8
            )
        )
        truth.append(labelled(f"{number}.jpg", boxes, [draw(labels) for _ in boxes]))
        pending.append((guesses, [draw(labels) for _ in guesses]))
    count = sum(len(guesses) for guesses, _ in pending)
    if tied:
        scores = draw(st.lists(st.sampled_from([0.25, 0.5, 0.75]), min_size=count, max_size=count))
    else:
        scores = [(score + 1) / (count + 1) for score in draw(st.permutations(range(count)))]
    detections = []
    for image, (guesses, classes) in zip(truth, pending):
        own, scores = scores[: len(guesses)], scores[len(guesses) :]
        detections.append(
            found(image.filename, [(s,) + box for s, box in zip(own, guesses)], classes)
        )
    return truth, detections
