"""Drawings of shelves full of packs that do not exist, with the box of each: what step 00 writes as a dataset."""

import collections
import importlib.util
import itertools
import math
import pathlib
import random

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont

from shelfdet.data import images

CAMERAS, PLANOGRAMS = 4, 12  # as in the Grocery Dataset
UPSIDE_DOWN = 3  # the EXIF flag of the real dataset's trap: rotated by 180 degrees
LANDSCAPE = ((853, 640), (816, 612), (960, 540), (800, 600))  # by camera
ART_WH = (132, 200)  # a pack's front, drawn once at this size and shrunk onto the shelf

Brand = collections.namedtuple("Brand", "name ground accent ink font")
BRANDS = (  # invented; the number in annotations.csv is the place here + 1
    Brand("Falcon", (176, 24, 34), (240, 214, 150), (255, 250, 240), "DejaVuSerif-Bold"),
    Brand("NORTH", (22, 52, 128), (214, 222, 236), (255, 255, 255), "DejaVuSans-Bold"),
    Brand("Linden", (238, 236, 228), (30, 92, 60), (24, 70, 46), "DejaVuSerif-BoldItalic"),
    Brand("OPAL", (228, 230, 236), (38, 96, 190), (24, 50, 120), "DejaVuSans-Bold"),
    Brand("Ember", (232, 112, 24), (70, 22, 10), (255, 246, 230), "DejaVuSans-BoldOblique"),
    Brand("Noir", (28, 28, 32), (198, 160, 84), (226, 196, 128), "DejaVuSerif-BoldItalic"),
    Brand("MILA", (236, 226, 232), (206, 44, 92), (150, 20, 60), "DejaVuSans-Bold"),
    Brand("Tide", (20, 120, 142), (236, 244, 240), (250, 255, 255), "DejaVuSans-BoldOblique"),
    Brand("Senator", (104, 20, 44), (222, 196, 156), (246, 232, 206), "DejaVuSerif-Bold"),
    Brand("Park 7", (40, 128, 62), (250, 226, 96), (255, 255, 240), "DejaVuSans-Bold"),
)
PANELS = (
    ((20, 28, 40), (96, 160, 206)),
    ((60, 34, 26), (214, 150, 70)),
    ((34, 34, 38), (168, 168, 172)),
    ((30, 48, 30), (150, 180, 90)),
    ((70, 20, 24), (216, 120, 110)),
)  # (dark, light) of the image on the front

Photo = collections.namedtuple("Photo", "name shelf size_wh")


def plan(train, test, seed):
    """Which photographs to draw: list of ("train" or "test", Photo), sorted.

    Every third shelf is there in two copies, which may stand on either side, as in the Grocery Dataset.
    """
    rng = random.Random(f"plan {seed}")
    photos = []
    for number in itertools.count():
        if len(photos) >= train + test:
            break
        # All cameras and planograms in turn; only then the next rank of the same planogram.
        camera = number % CAMERAS + 1
        planogram = (number // CAMERAS + 3 * number) % PLANOGRAMS + 1
        rank = number // (CAMERAS * PLANOGRAMS) + 1
        upright = rng.random() < 0.15
        shelves = rng.choice((3, 4, 5) if upright else (2, 3, 4))
        size_wh = LANDSCAPE[camera - 1][::-1] if upright else LANDSCAPE[camera - 1]
        shelf = f"C{camera}_P{planogram:02d}_N{rank}_S{shelves}"
        for copy in range(1, 3 if number % 3 == 0 else 2):
            photos.append(Photo(f"{shelf}_{copy}.JPG", shelf, size_wh))
    photos = photos[: train + test]
    tested = set(rng.sample(range(len(photos)), test))
    return sorted(
        ("test" if index in tested else "train", photo) for index, photo in enumerate(photos)
    )


def flagged(photos):
    """The one Photo to carry the EXIF flag: of camera 1 and planogram 12 or 3 if possible, as in the real dataset."""
    train = [photo for split, photo in photos if split == "train"]
    return next(
        (photo for photo in train if photo.name.startswith(("C1_P12_", "C1_P03_"))), train[0]
    )


def draw(photo, seed):
    """One photograph: (Pillow RGB image, boxes int (N, 4) xyxy, brand numbers 1 to 10 of length N)."""
    stock = random.Random(f"stock {seed} {photo.shelf}")  # the same in all copies of the shelf
    light = random.Random(f"light {seed} {photo.name}")  # each photograph's own
    image, boxes, brands = _draw_shelves(photo, stock)
    image, boxes = _tilt(image, boxes, light)
    return _expose(image, light), boxes, brands


def _draw_shelves(photo, rng):
    width, height = photo.size_wh
    back = rng.choice(((52, 54, 58), (34, 34, 38), (150, 152, 154), (188, 186, 180)))
    frame = rng.choice(((196, 198, 200), (120, 124, 130), (232, 230, 226), (62, 64, 68)))
    canvas = Image.new("RGB", photo.size_wh, back)
    pen = ImageDraw.Draw(canvas)
    _perforate(pen, photo.size_wh, back)
    rows = int(photo.shelf.rsplit("S", 1)[1])
    # 21 to 38 products, and never so many in a row that two share a cell of the network's first feature map.
    columns = rng.randint(math.ceil(21.0 / rows), min(11, 39 // rows))
    left, right = 0.07 * width, 0.93 * width
    pitch = 0.88 * height / rows
    assortment = rng.sample(range(len(BRANDS)), rng.randint(3, 5))
    boxes, brands = [], []
    for row in range(rows):
        floor = 0.05 * height + pitch * (row + 0.84)
        _shade(canvas, (left, floor - 0.84 * pitch, right, floor), top=0.45)
        for box, brand in _draw_row(canvas, rng, (left, right), floor, pitch, columns, assortment):
            boxes.append(box)
            brands.append(brand + 1)
        _draw_board(pen, rng, (left, right), floor, pitch, frame)
    for post in ((0, left - 0.01 * width), (right + 0.01 * width, width)):
        _draw_post(pen, post, height, frame)
    return canvas, np.array(boxes, dtype=np.float64).reshape(-1, 4), brands


def _draw_row(canvas, rng, span, floor, pitch, columns, assortment):
    """Stands packs on a board, left to right in runs of one brand; yields (box xyxy in canvas pixels, brand index)."""
    ratio = rng.uniform(0.60, 0.68)
    width = 0.96 * (span[1] - span[0]) / columns
    high = min(width / ratio, rng.uniform(0.62, 0.68) * pitch)
    width = high * ratio
    spare = (span[1] - span[0]) - columns * width
    gaps = [rng.random() ** 3 for _ in range(columns + 1)]  # mostly tight, a few wide
    gaps = [spare * gap / sum(gaps) for gap in gaps]
    x, run, brand = span[0], 0, assortment[0]
    for gap in gaps[:-1]:
        x += gap
        if run == 0:
            run, brand = rng.randint(2, 4), rng.choice(assortment)
        run -= 1
        size_wh = (width * rng.uniform(0.93, 0.995), high * rng.uniform(0.94, 1.0))
        yield _place(canvas, rng, brand, x, floor, size_wh), brand
        x += width


def _place(canvas, rng, brand, x, floor, size_wh):
    # One pack with those behind it, its shadow and a lean; returns the box of its front.
    front = pack(brand, rng.randrange(len(PANELS)), rng.random() < 0.4)
    wide, high = (max(8, int(round(side))) for side in size_wh)
    front = front.resize((wide, high), Image.LANCZOS).convert("RGBA")
    for behind in range(rng.choice((0, 0, 1, 2)), 0, -1):
        shift = int(round(behind * 0.035 * high))
        darker = ImageEnhance.Brightness(front).enhance(0.55 - 0.12 * behind)
        canvas.paste(darker.convert("RGB"), (int(x) + behind, int(floor) - high - shift))
    lean = rng.gauss(0, 0.8)
    front = front.rotate(lean, Image.BICUBIC, expand=True)
    shadow = Image.new("RGBA", front.size, (0, 0, 0, 120))
    shadow.putalpha(front.getchannel("A").point(lambda alpha: alpha * 110 // 255))
    left, top = int(round(x)), int(round(floor)) - front.size[1]
    canvas.paste(shadow, (left + max(1, wide // 18), top + 1), shadow)
    canvas.paste(front, (left, top), front)
    return left, top, left + front.size[0], top + front.size[1]


def pack(brand, panel, striped, cache={}):
    """The front of a pack, RGB of ART_WH: brand's name above, an image and lines of text below; drawn once each."""
    key = (brand, panel, striped)
    if key not in cache:
        cache[key] = _draw_pack(BRANDS[brand], panel, striped)
    return cache[key]


def _draw_pack(brand, panel, striped):
    width, height = ART_WH
    rng = random.Random(f"{brand.name} {panel} {striped}")
    image = Image.new("RGB", ART_WH, brand.ground)
    pen = ImageDraw.Draw(image)
    pen.rectangle(
        (0, 0, width, 16), fill=tuple(int(0.8 * part) for part in brand.ground)
    )  # the lid
    pen.line((0, 17, width, 17), fill=tuple(int(0.55 * part) for part in brand.ground), width=2)
    if striped:
        pen.polygon(((0, 78), (width, 52), (width, 64), (0, 90)), fill=brand.accent)
    else:
        pen.ellipse((width // 2 - 11, 62, width // 2 + 11, 84), fill=brand.accent)
    font = _font(brand.font, brand.name, width - 16)
    pen.text((width / 2, 40), brand.name, font=font, fill=brand.ink, anchor="mm")
    dark, light = PANELS[panel]
    picture = Image.new("RGB", (width - 8, 76), dark)
    brush = ImageDraw.Draw(picture)
    for _ in range(7):
        x, y, size = rng.randint(0, width - 8), rng.randint(10, 76), rng.randint(12, 42)
        share = rng.uniform(0.3, 1)
        colour = tuple(int(a + (b - a) * share) for a, b in zip(dark, light))
        brush.ellipse((x - size, y - size // 2, x + size, y + size // 2), fill=colour)
    image.paste(picture.filter(ImageFilter.GaussianBlur(2)), (4, 92))
    pen.rectangle((4, 168, width - 5, height - 5), fill=(18, 18, 20))
    for line, y in enumerate((175, 186)):
        pen.line(
            (12, y, width - 14 - 22 * line - rng.randint(0, 16), y), fill=(228, 228, 224), width=5
        )
    pen.rectangle(
        (0, 0, width - 1, height - 1),
        outline=tuple(int(0.6 * part) for part in brand.ground),
        width=2,
    )
    return image


def _font(name, text, width):
    # Matplotlib carries these fonts, so that every machine draws the same letters.
    package = importlib.util.find_spec("matplotlib").submodule_search_locations[0]
    folder = pathlib.Path(package, "mpl-data", "fonts", "ttf")
    font = ImageFont.truetype(str(folder / (name + ".ttf")), 36)
    return ImageFont.truetype(font.path, min(36, int(36 * width / font.getlength(text))))


def _perforate(pen, size_wh, back):
    # The slots of the back wall.
    width, height = size_wh
    slot = tuple(int(0.6 * part) for part in back)
    for y in range(12, height, 46):
        for x in range(int(0.1 * width), int(0.9 * width), 58):
            pen.rectangle((x, y, x + 3, y + 11), fill=slot)
            pen.rectangle((x + 9, y, x + 12, y + 11), fill=slot)


def _shade(canvas, box, top):
    # Darkens a compartment towards the board above it: ``top`` is the share of light left there.
    left, upper, right, lower = (int(round(side)) for side in box)
    part = np.asarray(canvas.crop((left, upper, right, lower)), dtype=np.float32)
    light = np.minimum(1, np.linspace(top, 1.25, part.shape[0], dtype=np.float32))[:, None, None]
    canvas.paste(Image.fromarray(np.uint8(part * light)), (left, upper))


def _draw_board(pen, rng, span, floor, pitch, frame):
    # The board's front edge with its light and dark rims, and price tags on it.
    left, right, top, bottom = span[0], span[1], floor, floor + max(14, 0.13 * pitch)
    pen.rectangle((left, top, right, bottom), fill=frame)
    pen.line((left, top, right, top), fill=tuple(min(255, part + 34) for part in frame), width=2)
    pen.rectangle((left, bottom, right, bottom + 5), fill=tuple(int(0.3 * part) for part in frame))
    strip = tuple(int(0.82 * part) for part in frame)
    pen.rectangle((left + 4, top + 4, right - 4, bottom - 3), fill=strip)
    colour = rng.choice(((250, 214, 40), (250, 250, 246), (30, 60, 150)))
    ink = (250, 250, 250) if sum(colour) < 300 else (20, 20, 24)
    x, high = left + rng.uniform(4, 60), bottom - top
    while x + 2.6 * high < right:
        pen.rectangle((x, top + 3, x + 2.2 * high, bottom - 2), fill=colour)
        price = f"{rng.randint(8, 30) / 2:.2f}"
        font = _font("DejaVuSans-Bold", price, 1.8 * high)
        pen.text((x + 1.1 * high, (top + bottom) / 2), price, font=font, fill=ink, anchor="mm")
        x += rng.uniform(3.2, 8) * high


def _draw_post(pen, span, height, frame):
    left, right = span
    for x in range(int(left), int(math.ceil(right))):
        share = 0.55 + 0.35 * math.sin(math.pi * (x - left) / max(1, right - left))
        pen.line((x, 0, x, height), fill=tuple(int(share * part) for part in frame))


def _tilt(image, boxes, rng):
    """A slight perspective: a part of the drawing with jittered corners fills the image.

    Returns:
      (image, int boxes xyxy of shape (N, 4) that follow it, in whole pixels inside the image).
    """
    width, height = image.size
    jitter = [(rng.uniform(0, 0.03) * width, rng.uniform(0, 0.03) * height) for _ in range(4)]
    target = np.array([(0, 0), (width, 0), (width, height), (0, height)], dtype=np.float64)
    inward = np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)])
    to_drawing = _homography(target, target + inward * np.array(jitter))
    image = image.transform(
        image.size, Image.PERSPECTIVE, (to_drawing / to_drawing[2, 2]).ravel()[:8], Image.BICUBIC
    )
    corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)  # (N, 4 corners, xy)
    homogeneous = np.concatenate([corners, np.ones(corners.shape[:2] + (1,))], axis=2)
    moved = homogeneous @ np.linalg.inv(to_drawing).T
    moved = moved[..., :2] / moved[..., 2:]
    moved = np.concatenate([moved.min(axis=1), moved.max(axis=1)], axis=1)
    return image, np.clip(np.rint(moved), 0, [width, height, width, height]).astype(int)


def _homography(source, target):
    # The 3 x 3 matrix that takes four points to four others.
    rows, values = [], []
    for (x, y), (u, v) in zip(source, target):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return np.append(np.linalg.solve(rows, values), 1).reshape(3, 3)


def _expose(image, rng):
    # Light from one side, a lamp's glare, white balance, focus, and the sensor's noise.
    width, height = image.size
    pixels = np.asarray(
        image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.9))), dtype=np.float32
    )
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / np.array(
        [height, width], np.float32
    ).reshape(2, 1, 1)
    light = 1 + rng.uniform(-0.22, 0.22) * (x - 0.5) + rng.uniform(-0.25, 0.1) * (y - 0.5)
    light *= 1 - 0.35 * ((x - 0.5) ** 2 + (y - 0.5) ** 2)
    glare = np.exp(
        -((x - rng.random()) ** 2 + (y - rng.uniform(-0.1, 0.6)) ** 2) / rng.uniform(0.01, 0.04)
    )
    balance = np.array([rng.uniform(0.92, 1.06), 1, rng.uniform(0.9, 1.08)], np.float32)
    pixels = (
        pixels * (light * rng.uniform(0.8, 1.12))[..., None] * balance
        + 38 * rng.random() * glare[..., None]
    )
    pixels += np.random.RandomState(rng.getrandbits(32)).normal(
        0, rng.uniform(2, 5), (height, width, 1)
    )
    return Image.fromarray(np.uint8(np.clip(pixels, 0, 255)))


def save(image, path, upside_down):
    """Writes the JPEG; ``upside_down`` only sets the EXIF flag and leaves the pixels upright."""
    exif = Image.Exif()
    if upside_down:
        exif[images.EXIF_ORIENTATION] = UPSIDE_DOWN
    image.save(str(path), "JPEG", quality=88, exif=exif.tobytes() if upside_down else b"")
