"""The page of the report, as a file and in a browser."""

import base64
import csv
import io
import json
import re
import subprocess
import time

import numpy as np
import pytest
import report_example
from browsing import CHROMIUM_FLAGS, press, wait
from PIL import Image
from report_example import HOSTILE, NAMES, THRESHOLD, build, page_data

from shelfdet.core import boxes
from shelfdet.data import detections, images, labels
from shelfdet.evaluation import metrics


@pytest.fixture
def matches(report_folder):
    return report_example.match_files(report_folder)


# ---- the file ----------------------------------------------------------------------------------


@pytest.fixture
def content(report_folder):
    return (report_folder / "report.html").read_text(encoding="utf-8")


def test_the_file_names_nothing_outside_itself(content):
    addresses = set(re.findall(r"https?://[^\s\"'<]+", content))
    assert addresses <= {"http://www.w3.org/2000/svg"}  # a name, not an address
    assert "default-src &#x27;none&#x27;" in content
    assert "@@" not in content.split('<script id="image-')[0]


def test_no_text_from_outside_can_end_its_element(content):
    assert HOSTILE not in content
    assert HOSTILE in [image["name"] for image in page_data(content)["images"]]


def test_only_the_images_that_are_shown_are_in_the_file(report_folder):
    page = build(report_folder, max_images=2).page
    assert len(re.findall('<script id="image-', page)) == 2


def embedded_width(page):
    encoded = re.search('id="image-0"[^>]*>(.*?)<', page).group(1)
    return Image.open(io.BytesIO(base64.b64decode(encoded))).width


def test_images_are_made_smaller_until_the_file_fits(report_folder):
    whole = build(report_folder).page
    most = len(whole.encode("utf-8")) / 1.3
    small = build(report_folder, max_bytes=most).page
    assert len(small.encode("utf-8")) <= most
    assert embedded_width(small) <= embedded_width(whole)


# ---- in a browser ------------------------------------------------------------------------------


@pytest.fixture
def page(browser, report_folder):
    """The report, opened again from disk."""
    for log in ("browser", "performance"):  # reading a log clears it
        browser.get_log(log)
    browser.get((report_folder / "report.html").as_uri())
    wait(lambda: browser.execute_script("return document.documentElement.dataset.ready") == "yes")
    return browser


def shown_figures(page):
    """The figures on the page, with all digits."""
    return page.execute_script(
        "return Object.fromEntries([...document.querySelectorAll('[data-figure]')]"
        ".map(one => [one.dataset.figure, Number(one.dataset.value)]))"
    )


def expected_figures(matches, threshold):
    """The same figures as metrics computes them."""
    tallied = metrics.tally(matches, threshold)
    computed = metrics.figures(tallied)
    result = {}
    for name in ("precision", "recall", "f1", "mean_absolute_count_error"):
        value = float(computed[name])
        result[name] = None if np.isnan(value) else value  # the browser returns NaN as None
    for name, value in metrics.totals(matches, threshold).items():
        result[name.lower()] = value
    return result


def expected_errors(matches, names, threshold):
    """Number of errors of each image, in the order of ``names``."""
    errors = {}
    for match in matches:
        counts = metrics.totals([match], threshold)
        errors[match.filename] = counts["FP"] + counts["FN"]
    return [errors[name] for name in names]


def approximately(figures):
    return pytest.approx(figures, abs=1e-9)


def gallery_names(page):
    return page.execute_script(
        "return [...document.querySelectorAll('#gallery .card')].map(card => card.dataset.name)"
    )


def drag(page, value):
    """Sets the slider as a drag does, and lets the page draw."""
    page.execute_async_script(
        "const slider = document.getElementById('threshold'); slider.value = arguments[0];"
        "slider.dispatchEvent(new Event('input', {bubbles: true}));"
        "const done = arguments[1]; requestAnimationFrame(() => requestAnimationFrame(done));",
        str(value),
    )


def test_it_starts_at_the_threshold_of_the_figures(page, matches):
    assert shown_figures(page) == approximately(expected_figures(matches, THRESHOLD))


@pytest.mark.parametrize("threshold", [0.0, 0.137, 0.25, 0.5, 0.72, 0.9])
def test_the_slider_changes_the_figures_to_what_metrics_computes(page, matches, threshold):
    drag(page, threshold)
    assert shown_figures(page) == approximately(expected_figures(matches, threshold))


def test_an_exact_score_can_be_typed_and_no_detection_gives_no_precision(page, matches):
    field = page.find_element("id", "exact")
    score = float(matches[0].scores[0])
    for text, threshold in ((repr(score), score), ("1", 1.0)):
        page.execute_script("arguments[0].select()", field)
        field.send_keys(text)
        assert shown_figures(page) == approximately(expected_figures(matches, threshold))
    assert page.find_element("css selector", "[data-figure=precision]").text == "–"


def test_the_camera_filter_changes_figures_and_images(page, matches):
    page.execute_script(
        "const group = document.getElementById('group'); group.value = 'C2';"
        "group.dispatchEvent(new Event('change'))"
    )
    of_camera = [match for match in matches if match.filename.startswith("C2_")]
    assert shown_figures(page) == approximately(expected_figures(of_camera, THRESHOLD))
    assert sorted(gallery_names(page)) == sorted(match.filename for match in of_camera)


def test_the_image_with_the_most_errors_comes_first(page, matches):
    names = gallery_names(page)
    errors = expected_errors(matches, names, THRESHOLD)
    assert len(names) == len(NAMES)
    assert errors == sorted(errors, reverse=True)


def test_the_order_follows_the_slider_once_it_is_released(page, matches):
    before = gallery_names(page)
    drag(page, 0.05)
    assert gallery_names(page) == before
    page.execute_script("document.getElementById('threshold').dispatchEvent(new Event('change'))")
    errors = expected_errors(matches, gallery_names(page), 0.05)
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("threshold", [0.1, 0.6])
def test_boxes_are_drawn_and_follow_the_slider(page, matches, threshold):
    page.execute_script("document.getElementById('gallery').scrollIntoView()")
    wait(lambda: page.find_elements("css selector", "#gallery svg path"))
    drag(page, threshold)
    time.sleep(0.3)
    drawn = page.execute_script(
        "const boxes = (card, group) => {"
        "  const path = card.querySelector('path.' + group);"
        "  return path ? path.getAttribute('d').split('M').length - 1 : 0;"
        "};"
        "return [...document.querySelectorAll('#gallery .card')].map(card => "
        "  [card.dataset.name, ...['tp', 'fn', 'fp'].map(group => boxes(card, group))])"
    )
    in_sight = drawn[:3]
    assert len(in_sight) == 3
    for name, *counts in in_sight:
        (match,) = [match for match in matches if match.filename == name]
        expected = metrics.totals([match], threshold)
        assert counts == [expected["TP"], expected["FN"], expected["FP"]]


def test_the_chart_of_counts_shows_every_count_at_its_place(page, matches):
    drag(page, 0.0)
    time.sleep(0.3)
    places, rows = page.execute_script(
        "const number = (node, key) => Number(node.getAttribute(key));"
        "const svg = document.querySelector('#counts svg');"
        "return [[...svg.querySelectorAll('.image-dot')].map(dot => number(dot, 'cy')),"
        "  [...svg.querySelectorAll('text[text-anchor=end]')].map(text =>"
        "    [Number(text.textContent), number(text, 'y') - 4])]"
    )
    (low, bottom), (high, top) = rows[0], rows[-1]
    counts = [low + (bottom - place) / (bottom - top) * (high - low) for place in places]
    assert sorted(counts) == pytest.approx(sorted(len(match.scores) for match in matches))


def dark_share(png):
    pixels = np.asarray(Image.open(str(png)).convert("L"))
    return (pixels < 60).mean()


def test_a_screenshot_shows_the_images(browser, report_folder, tmp_path):
    """As a program takes it, once the page has loaded; frames without an image are dark."""
    screenshot = tmp_path / "page.png"
    subprocess.run(
        ["chromium", *CHROMIUM_FLAGS[:-1], "--window-size=1300,2600", f"--screenshot={screenshot}"]
        + [(report_folder / "report.html").as_uri()],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    assert dark_share(screenshot) < 0.1


def test_images_out_of_sight_are_printed_with_the_boxes_of_the_threshold(page):
    drawn = "return document.querySelectorAll('#gallery path').length"
    window = {"width": 320, "height": 200, "deviceScaleFactor": 1, "mobile": False}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", window)
    try:
        page.refresh()
        time.sleep(0.3)
        assert page.execute_script(
            "return [...document.querySelectorAll('#gallery img')].every(one => one.naturalWidth)"
        )
        drag(page, 1.0)  # leaves false negatives alone, in all images that are painted again
        time.sleep(0.3)
        assert page.find_elements("css selector", "#gallery path.tp")
        page.execute_cdp_cmd("Page.printToPDF", {})
        assert not page.find_elements("css selector", "#gallery path.tp")
        assert page.execute_script(drawn) == 2 * len(NAMES)  # a line and its rim
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_groups_of_boxes_differ_in_colour_and_in_line(page):
    page.execute_script("document.getElementById('gallery').scrollIntoView()")
    wait(
        lambda: page.execute_script(
            "return ['tp', 'fn', 'fp'].every(group => document.querySelector('path.' + group))"
        )
    )
    styles = page.execute_script(
        "return ['tp', 'fn', 'fp'].map(group => document.querySelector('path.' + group))"
        ".map(path => [path.getAttribute('stroke'), path.getAttribute('stroke-dasharray')])"
    )
    assert len({colour for colour, _ in styles}) == 3
    assert len({dashes for _, dashes in styles}) == 3


def test_the_keyboard_sets_the_threshold_and_the_filters(page, matches):
    press(page, "]")
    assert shown_figures(page) == approximately(expected_figures(matches, THRESHOLD + 0.01))
    press(page, "r")
    assert shown_figures(page) == approximately(expected_figures(matches, THRESHOLD))
    for key, group in (("t", "tp"), ("n", "fn"), ("p", "fp")):
        press(page, key)
        button = page.find_element("id", f"show-{group}")
        assert button.get_attribute("aria-pressed") == "false"
    press(page, "g")
    assert page.find_element("id", "group").get_attribute("value") == "C1"


def test_the_keyboard_opens_zooms_turns_over_and_closes_an_image(page):
    from selenium.webdriver.common.keys import Keys

    def width():
        script = "return document.querySelector('#stage .frame').getBoundingClientRect().width"
        return page.execute_script(script)

    first = page.find_element("css selector", "#gallery .image")
    page.execute_script("arguments[0].focus()", first)
    press(page, Keys.ENTER)
    opened = page.find_element("id", "viewer-name").text
    assert opened == gallery_names(page)[0]
    before = width()
    press(page, "+")
    assert width() == pytest.approx(1.5 * before, rel=0.01)
    press(page, "0")
    assert width() == pytest.approx(before, rel=0.01)
    press(page, Keys.ARROW_RIGHT)
    assert page.find_element("id", "viewer-name").text == gallery_names(page)[1]
    press(page, Keys.ESCAPE)
    wait(lambda: not page.execute_script("return document.getElementById('dialog').open"))


def test_the_console_is_empty_and_no_request_leaves_the_page(page, report_folder):
    page.execute_script("window.scrollTo(0, document.body.scrollHeight)")
    drag(page, 0.2)
    page.execute_script("document.querySelector('#gallery .image').click()")
    time.sleep(0.5)
    assert page.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    requested = [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]
    outside = [url for url in requested if not url.startswith("data:")]
    assert outside == [(report_folder / "report.html").as_uri()]


def test_an_open_image_has_a_legend_and_a_tap_describes_a_box(page):
    page.execute_script("document.querySelector('#gallery .image').click()")
    legend = page.find_elements("css selector", "#legend button")
    words = [one.text.strip() for one in legend]
    assert words == ["true positives", "false negatives", "false positives"]
    legend[1].click()
    assert page.find_element("id", "show-fn").get_attribute("aria-pressed") == "false"
    # Taps in a row at 0.8 of the height, where only background detections are.
    page.execute_script(
        "const stage = document.getElementById('stage');"
        "const area = stage.querySelector('.frame').getBoundingClientRect();"
        "stage.setPointerCapture = () => {};"
        "for (const type of ['pointerdown', 'pointercancel'])"
        "  for (let x = 0; x < 1; x += 0.02)"
        "    stage.dispatchEvent(new PointerEvent(type, {pointerId: 1, pointerType: 'touch',"
        "      clientX: area.left + x * area.width, clientY: area.top + 0.8 * area.height}));"
    )
    tip = page.find_element("id", "tip").text
    assert tip.startswith("False positive (background): score ")


def test_a_hostile_file_name_is_shown_and_not_run(page):
    names = page.execute_script(
        "return [...document.querySelectorAll('#gallery .name')].map(one => one.textContent)"
    )
    assert HOSTILE in names
    time.sleep(0.3)
    assert page.title != "run"
    assert not page.find_elements("css selector", "img[src=x]")


def test_it_follows_the_systems_theme_and_the_button_overrides_it(page):
    def background():
        return page.execute_script("return getComputedStyle(document.body).backgroundColor")

    def choose_next_theme():
        page.execute_script("document.getElementById('theme').click()")

    shades = []
    for theme in ("light", "dark"):
        feature = {"name": "prefers-color-scheme", "value": theme}
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        shades.append(background())
    light, dark = shades
    assert light != dark
    choose_next_theme()
    assert background() == light
    choose_next_theme()
    assert background() == dark


@pytest.mark.parametrize("width", [320, 390, 800, 1600])
def test_it_fits_narrow_and_wide_windows(page, width):
    window = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    try:
        page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", window)
        time.sleep(0.2)
        assert page.execute_script("return document.documentElement.scrollWidth") <= width
        assert page.execute_script("return document.getElementById('bar').offsetHeight") < 800 / 4
        toggles = page.find_elements("css selector", ".toggles button")
        words = [one.text.split(None, 1)[1] for one in toggles]
        narrow = ["TP", "FN", "FP"]
        assert words in (narrow, ["true positives", "false negatives", "false positives"])
        page.execute_script(
            "document.documentElement.style.scrollBehavior = 'auto';"
            "window.scrollTo(0, document.body.scrollHeight);"
            "document.querySelector('#gallery .image').focus()"
        )
        # The image with the focus must not be behind the bar.
        wait(
            lambda: page.execute_script(
                "return document.activeElement.getBoundingClientRect().top >= "
                "document.getElementById('bar').getBoundingClientRect().bottom"
            )
        )
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


# ---- the real images ---------------------------------------------------------------------------


def real_truth(shelf_data):
    with open(str(shelf_data / "annotations.csv"), newline="") as file:
        rows = list(csv.reader(file))
    truth = []
    for path in images.list_images(shelf_data / "ShelfImages" / "test"):
        size_wh = images.inspect(path).size_wh
        products = [[float(side) for side in row[1:5]] for row in rows if row[0] == path.name]
        clipped = boxes.clip(products, size_wh)
        truth.append(labels.labelled(path.name, size_wh, [("product", box) for box in clipped]))
    return truth


def many_detections(truth, random):
    """As many boxes as the network gives: 300, most of low score."""
    found = []
    for image in truth:
        shape = (len(image.boxes_xyxy), 4)
        shifted = [image.boxes_xyxy + random.normal(0, 3, shape) for _ in range(8)]
        boxes_xyxy = boxes.clip(np.concatenate(shifted)[:300], image.size_wh)
        scores = random.uniform(0, 1, len(boxes_xyxy)) ** 4
        found.append(
            detections.Detections(
                image.filename, image.size_wh, boxes_xyxy, scores, ("product",) * len(scores)
            )
        )
    return found


def test_the_71_real_test_images_fit_and_are_painted_quickly(browser, tmp_path, shelf_data):
    truth = real_truth(shelf_data)
    assert len(truth) == 71
    labels.write_labels(truth, tmp_path / "test_labels.csv")
    found = many_detections(truth, np.random.RandomState(1))
    detections.write_detections(found, tmp_path / "test_detections.json")
    (tmp_path / "metrics.json").write_text(json.dumps({"threshold": 0.5}))
    page = build(tmp_path, images=shelf_data / "ShelfImages" / "test").page
    (tmp_path / "report.html").write_text(page, encoding="utf-8")
    assert (tmp_path / "report.html").stat().st_size <= 20e6

    script = "return (performance.getEntriesByName('first-contentful-paint')[0] || {}).startTime"
    painted = []
    for _ in range(3):  # the quickest of three, because other programs slow the page too
        browser.get((tmp_path / "report.html").as_uri())
        wait(lambda: browser.execute_script(script) is not None, 60)
        painted.append(browser.execute_script(script))
    assert min(painted) < 2000, painted
