"""progress.py: the items pass through, and nothing is printed where there is no terminal."""

from shelfdet.core.progress import progress


def test_the_items_pass_through_and_a_log_stays_clean(capfd):
    assert list(progress(range(3), "counting", unit="images")) == [0, 1, 2]
    assert list(progress(iter("ab"), "counting", total=2)) == ["a", "b"]
    assert capfd.readouterr().err == ""
