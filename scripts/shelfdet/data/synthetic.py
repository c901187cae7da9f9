"""Draws images of shelves with products that do not exist, and their boxes, as a dataset.

The numbers of the drawing (shares of sizes, colours, noise, light) only have to give shelves that
look like photographs; no other code depends on them.
"""

import functools
import importlib.util
import itertools
import math
import pathlib
import random
from typing import Iterator, List, NamedTuple, Sequence, Tuple

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont

from shelfdet import UserError
from shelfdet.core import files
from shelfdet.core.paths import SHELF_IMAGES_NAME
from shelfdet.core.progress import progress
from shelfdet.data import images

# As many as in the Grocery Dataset.
CAMERAS = 4
PLANOGRAMS = 12
# The EXIF orientation of some images of the Grocery Dataset, whose pixels are upright nevertheless.
UPSIDE_DOWN = 3
LANDSCAPE_SIZES = ((853, 640), (816, 612), (960, 540), (800, 600))  # (width, height) by camera
# Size of a product's front as it is drawn once; it is shrunk to its size on the shelf.
FRONT_WH = (132, 200)
NOTE_NAME = "SYNTHETIC.txt"

Colour = Tuple[int, int, int]  # red, green, blue, 0 to 255


class Brand(NamedTuple):
    """An invented brand: its name and how its products look."""

    name: str
    ground: Colour
    accent: Colour
    ink: Colour
    font: str


# The brand's number in annotations.csv is its index here + 1.
BRANDS = (
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
# (dark, light) colours of the illustration on a product's front.
ILLUSTRATIONS = (
    ((20, 28, 40), (96, 160, 206)),
    ((60, 34, 26), (214, 150, 70)),
    ((34, 34, 38), (168, 168, 172)),
    ((30, 48, 30), (150, 180, 90)),
    ((70, 20, 24), (216, 120, 110)),
)


class Photo(NamedTuple):
    """One image to draw: its file name, the shelf it shows, its (width, height) in pixels."""

    name: str
    shelf: str
    size_wh: Tuple[int, int]


class Drawing(NamedTuple):
    """A drawn image: Pillow RGB, int boxes (N, 4) xyxy in pixels, N brand numbers from 1 to 10."""

    image: Image.Image
    boxes_xyxy: np.ndarray
    brands: List[int]


class Shelving(NamedTuple):
    """Where the products of an image are, in pixels.

    left, right: limits of the boards.
    pitch: from one board to the next.
    columns: number of products on each board.
    assortment: indices of BRANDS.
    """

    left: float
    right: float
    pitch: float
    columns: int
    assortment: Sequence[int]


def write_dataset(out: pathlib.Path, train: int, test: int, seed: int) -> int:
    """Draws a dataset into ``out``, in the layout of the Grocery Dataset.

    Args:
      out: folder for ShelfImages/{train,test}, annotations.csv and SYNTHETIC.txt.
      train, test: numbers of images.
      seed: another seed draws other shelves.

    Returns:
      the number of products drawn.

    Raises:
      UserError: ``out`` is a file, or holds a dataset that was not drawn.
    """
    _refuse_to_replace(out)
    photos = plan(train, test, seed)
    upside_down = flagged(photos)
    note = (
        f"Drawn by scripts/preprocessing/00_make_demo_shelves.py (seed {seed}): no photographs, no "
        "real products.\n"
    )
    rows = []
    targets = [out / NOTE_NAME, out / "annotations.csv", out / SHELF_IMAGES_NAME]
    # Together: an interrupted run must not leave new images beside the boxes of older ones.
    with files.replacing_together(targets) as (note_file, annotations, folder):
        files.write_text(note_file, note)
        for split, photo in progress(photos, "drawing", unit="images"):
            (folder / split).mkdir(parents=True, exist_ok=True)
            drawing = draw(photo, seed)
            save(drawing.image, folder / split / photo.name, upside_down=photo is upside_down)
            for (xmin, ymin, xmax, ymax), brand in zip(drawing.boxes_xyxy.tolist(), drawing.brands):
                rows.append(f"{photo.name},{xmin},{ymin},{xmax},{ymax},{brand}\n")
        files.write_text(annotations, "".join(rows))
    return len(rows)


def _refuse_to_replace(out):
    if out.exists() and not out.is_dir():
        raise UserError(
            f"{out}: is a file; expected a folder to draw into. Name another with --out."
        )
    found = [name for name in (SHELF_IMAGES_NAME, "annotations.csv") if (out / name).exists()]
    if found and not (out / NOTE_NAME).exists():
        raise UserError(
            f"{out}: holds {' and '.join(found)} that this step did not draw (there is no "
            f"{NOTE_NAME}); nothing was changed. Name another folder with --out."
        )


def plan(train: int, test: int, seed: int) -> List[Tuple[str, Photo]]:
    """Decides which images to draw: list of ("train" or "test", Photo), sorted.

    Every third shelf has two copies, which may be in different splits, as in the Grocery Dataset.
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
        size_wh = LANDSCAPE_SIZES[camera - 1]
        upright = rng.random() < 0.15
        if upright:
            size_wh = size_wh[::-1]
        shelves = rng.choice((3, 4, 5) if upright else (2, 3, 4))
        shelf = f"C{camera}_P{planogram:02d}_N{rank}_S{shelves}"
        copies = 2 if number % 3 == 0 else 1
        for copy in range(1, copies + 1):
            photos.append(Photo(f"{shelf}_{copy}.JPG", shelf, size_wh))
    photos = photos[: train + test]
    tested = set(rng.sample(range(len(photos)), test))
    return sorted(
        ("test" if index in tested else "train", photo) for index, photo in enumerate(photos)
    )


def flagged(photos: Sequence[Tuple[str, Photo]]) -> Photo:
    """The one training image that gets the EXIF orientation.

    It is of camera 1 and planogram 12 or 3 if possible, as in the Grocery Dataset.
    """
    train = [photo for split, photo in photos if split == "train"]
    preferred = [photo for photo in train if photo.name.startswith(("C1_P12_", "C1_P03_"))]
    return (preferred + train)[0]


def draw(photo: Photo, seed: int) -> Drawing:
    """Draws one image; it depends on the photo and the seed, and not on how many are drawn."""
    products_rng = random.Random(f"stock {seed} {photo.shelf}")  # the same in all copies of a shelf
    light_rng = random.Random(f"light {seed} {photo.name}")  # each photograph's own
    canvas, boxes_xyxy, brands = _draw_shelves(photo, products_rng)
    image, boxes_xyxy = _tilt(canvas, boxes_xyxy, light_rng)
    return Drawing(_expose(image, light_rng), boxes_xyxy, brands)


def _draw_shelves(photo, rng):
    """(Pillow RGB image, float boxes (N, 4) xyxy, brand numbers) of a shelf seen straight on."""
    width, height = photo.size_wh
    back = rng.choice(((52, 54, 58), (34, 34, 38), (150, 152, 154), (188, 186, 180)))
    frame = rng.choice(((196, 198, 200), (120, 124, 130), (232, 230, 226), (62, 64, 68)))
    canvas = Image.new("RGB", photo.size_wh, back)
    pen = ImageDraw.Draw(canvas)
    _draw_slots(pen, photo.size_wh, back)
    rows = int(photo.shelf.rsplit("S", 1)[1])
    # 21 to 38 products in all, and at most 11 in a row: two products would otherwise share a cell
    # of the network's first feature map.
    columns = rng.randint(math.ceil(21.0 / rows), min(11, 39 // rows))
    shelving = Shelving(
        left=0.07 * width,
        right=0.93 * width,
        pitch=0.88 * height / rows,
        columns=columns,
        assortment=rng.sample(range(len(BRANDS)), rng.randint(3, 5)),
    )
    boxes = []
    brands = []
    for row in range(rows):
        floor = 0.05 * height + shelving.pitch * (row + 0.84)
        compartment = (shelving.left, floor - 0.84 * shelving.pitch, shelving.right, floor)
        _shade(canvas, compartment, top=0.45)
        for box, brand in _draw_row(canvas, rng, shelving, floor):
            boxes.append(box)
            brands.append(brand + 1)
        _draw_board(pen, rng, shelving, floor, frame)
    _draw_post(pen, 0, shelving.left - 0.01 * width, height, frame)
    _draw_post(pen, shelving.right + 0.01 * width, width, height, frame)
    return canvas, np.array(boxes, dtype=np.float64).reshape(-1, 4), brands


def _draw_row(canvas, rng, shelving, floor) -> Iterator[Tuple[Tuple[int, int, int, int], int]]:
    """Draws products on a board, from left to right, several of a brand beside each other.

    Yields:
      (box xyxy in pixels of the canvas, index of BRANDS) of each product.
    """
    span = shelving.right - shelving.left
    ratio = rng.uniform(0.60, 0.68)  # width over height
    height = min(0.96 * span / shelving.columns / ratio, rng.uniform(0.62, 0.68) * shelving.pitch)
    width = height * ratio
    spare = span - shelving.columns * width
    gaps = [rng.random() ** 3 for _ in range(shelving.columns + 1)]  # mostly narrow, a few wide
    gaps = [spare * gap / sum(gaps) for gap in gaps]
    x = shelving.left
    remaining = 0  # products of the same brand still to draw
    brand = shelving.assortment[0]
    for gap in gaps[:-1]:
        x += gap
        if remaining == 0:
            remaining = rng.randint(2, 4)
            brand = rng.choice(shelving.assortment)
        remaining -= 1
        size_wh = (width * rng.uniform(0.93, 0.995), height * rng.uniform(0.94, 1.0))
        yield _draw_product(canvas, rng, brand, x, floor, size_wh), brand
        x += width


def _draw_product(canvas, rng, brand, x, floor, size_wh):
    """Draws a product, those behind it, and its shadow; returns the box of its front, xyxy."""
    front = product_front(brand, rng.randrange(len(ILLUSTRATIONS)), rng.random() < 0.4)
    width, height = (max(8, int(round(side))) for side in size_wh)
    front = front.resize((width, height), Image.LANCZOS).convert("RGBA")
    for behind in range(rng.choice((0, 0, 1, 2)), 0, -1):
        shift = int(round(behind * 0.035 * height))
        darker = ImageEnhance.Brightness(front).enhance(0.55 - 0.12 * behind)
        canvas.paste(darker.convert("RGB"), (int(x) + behind, int(floor) - height - shift))
    degrees = rng.gauss(0, 0.8)
    front = front.rotate(degrees, Image.BICUBIC, expand=True)
    shadow = Image.new("RGBA", front.size, (0, 0, 0, 120))
    shadow.putalpha(front.getchannel("A").point(lambda alpha: alpha * 110 // 255))
    left = int(round(x))
    top = int(round(floor)) - front.size[1]
    canvas.paste(shadow, (left + max(1, width // 18), top + 1), shadow)
    canvas.paste(front, (left, top), front)
    return left, top, left + front.size[0], top + front.size[1]


@functools.lru_cache(maxsize=None)
def product_front(brand: int, illustration: int, striped: bool) -> Image.Image:
    """The front of a product, RGB of FRONT_WH, with the brand's name above and an image below.

    Args:
      brand: index of BRANDS.
      illustration: index of ILLUSTRATIONS.
      striped: with a stripe instead of a disc.
    """
    brand = BRANDS[brand]
    width, height = FRONT_WH
    rng = random.Random(f"{brand.name} {illustration} {striped}")
    image = Image.new("RGB", FRONT_WH, brand.ground)
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, 0, width, 16), fill=_scaled(brand.ground, 0.8))  # the lid
    pen.line((0, 17, width, 17), fill=_scaled(brand.ground, 0.55), width=2)
    if striped:
        pen.polygon(((0, 78), (width, 52), (width, 64), (0, 90)), fill=brand.accent)
    else:
        pen.ellipse((width // 2 - 11, 62, width // 2 + 11, 84), fill=brand.accent)
    font = _font(brand.font, brand.name, width - 16)
    pen.text((width / 2, 40), brand.name, font=font, fill=brand.ink, anchor="mm")
    image.paste(_draw_illustration(rng, (width - 8, 76), *ILLUSTRATIONS[illustration]), (4, 92))
    pen.rectangle((4, 168, width - 5, height - 5), fill=(18, 18, 20))
    for line, y in enumerate((175, 186)):
        right = width - 14 - 22 * line - rng.randint(0, 16)
        pen.line((12, y, right, y), fill=(228, 228, 224), width=5)
    edge = _scaled(brand.ground, 0.6)
    pen.rectangle((0, 0, width - 1, height - 1), outline=edge, width=2)
    return image


def _draw_illustration(rng, size_wh, dark, light):
    width, height = size_wh
    image = Image.new("RGB", size_wh, dark)
    pen = ImageDraw.Draw(image)
    for _ in range(7):
        x = rng.randint(0, width)
        y = rng.randint(10, height)
        size = rng.randint(12, 42)
        share = rng.uniform(0.3, 1)
        colour = tuple(int(a + (b - a) * share) for a, b in zip(dark, light))
        pen.ellipse((x - size, y - size // 2, x + size, y + size // 2), fill=colour)
    return image.filter(ImageFilter.GaussianBlur(2))


def _scaled(colour, factor):
    return tuple(int(factor * part) for part in colour)


def _lighter(colour, amount):
    return tuple(min(255, part + amount) for part in colour)


def _font(name, text, width):
    """The font in which ``text`` is at most ``width`` pixels wide."""
    # Matplotlib contains these fonts, so that every machine draws the same letters.
    package = importlib.util.find_spec("matplotlib").submodule_search_locations[0]
    path = pathlib.Path(package, "mpl-data", "fonts", "ttf", f"{name}.ttf")
    largest = ImageFont.truetype(str(path), 36)
    return ImageFont.truetype(str(path), min(36, int(36 * width / largest.getlength(text))))


def _draw_slots(pen, size_wh, back):
    """Draws the slots of the back wall."""
    width, height = size_wh
    colour = _scaled(back, 0.6)
    for y in range(12, height, 46):
        for x in range(int(0.1 * width), int(0.9 * width), 58):
            pen.rectangle((x, y, x + 3, y + 11), fill=colour)
            pen.rectangle((x + 9, y, x + 12, y + 11), fill=colour)


def _shade(canvas, box_xyxy, top):
    """Darkens a compartment towards its upper edge, where the share ``top`` of light remains."""
    left, upper, right, lower = (int(round(side)) for side in box_xyxy)
    pixels = np.asarray(canvas.crop((left, upper, right, lower)), dtype=np.float32)
    light = np.minimum(1, np.linspace(top, 1.25, pixels.shape[0], dtype=np.float32))
    shaded = pixels * light[:, None, None]  # (height, width, 3)
    canvas.paste(Image.fromarray(np.uint8(shaded)), (left, upper))


def _draw_board(pen, rng, shelving, floor, frame):
    """Draws a board's front edge with its light and dark rims, and the price tags on it."""
    left = shelving.left
    right = shelving.right
    bottom = floor + max(14, 0.13 * shelving.pitch)
    pen.rectangle((left, floor, right, bottom), fill=frame)
    pen.line((left, floor, right, floor), fill=_lighter(frame, 34), width=2)
    pen.rectangle((left, bottom, right, bottom + 5), fill=_scaled(frame, 0.3))
    pen.rectangle((left + 4, floor + 4, right - 4, bottom - 3), fill=_scaled(frame, 0.82))
    colour = rng.choice(((250, 214, 40), (250, 250, 246), (30, 60, 150)))
    ink = (250, 250, 250) if sum(colour) < 300 else (20, 20, 24)
    x = left + rng.uniform(4, 60)
    height = bottom - floor
    while x + 2.6 * height < right:
        pen.rectangle((x, floor + 3, x + 2.2 * height, bottom - 2), fill=colour)
        price = f"{rng.randint(8, 30) / 2:.2f}"
        font = _font("DejaVuSans-Bold", price, 1.8 * height)
        centre = (x + 1.1 * height, (floor + bottom) / 2)
        pen.text(centre, price, font=font, fill=ink, anchor="mm")
        x += rng.uniform(3.2, 8) * height


def _draw_post(pen, left, right, height, frame):
    """Draws an upright post, brightest in its middle."""
    for x in range(int(left), int(math.ceil(right))):
        brightness = 0.55 + 0.35 * math.sin(math.pi * (x - left) / max(1, right - left))
        pen.line((x, 0, x, height), fill=_scaled(frame, brightness))


def _tilt(image, boxes_xyxy, rng):
    """Applies a slight perspective: a part of the drawing with random corners fills the image.

    Returns:
      (image, int boxes (N, 4) xyxy that follow it, in whole pixels inside the image).
    """
    width, height = image.size
    offsets = [(rng.uniform(0, 0.03) * width, rng.uniform(0, 0.03) * height) for _ in range(4)]
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], dtype=np.float64)
    inward = np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)])
    to_drawing = _homography(corners, corners + inward * np.array(offsets))
    coefficients = (to_drawing / to_drawing[2, 2]).ravel()[:8]
    image = image.transform(image.size, Image.PERSPECTIVE, coefficients, Image.BICUBIC)
    box_corners = boxes_xyxy[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)  # (N, 4 corners, xy)
    ones = np.ones(box_corners.shape[:2] + (1,))
    homogeneous = np.concatenate([box_corners, ones], axis=2)  # (N, 4 corners, xyw)
    moved = homogeneous @ np.linalg.inv(to_drawing).T
    moved = moved[..., :2] / moved[..., 2:]
    moved_xyxy = np.concatenate([moved.min(axis=1), moved.max(axis=1)], axis=1)  # (N, 4)
    limits = [width, height, width, height]
    return image, np.clip(np.rint(moved_xyxy), 0, limits).astype(int)


def _homography(source, target):
    """The 3 x 3 matrix that maps four points (4, 2) to four others."""
    rows = []
    values = []
    for (x, y), (u, v) in zip(source, target):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y])
        values += [u, v]
    return np.append(np.linalg.solve(rows, values), 1).reshape(3, 3)


def _expose(image, rng):
    """Adds light from one side, a lamp's glare, white balance, blur, and the sensor's noise."""
    width, height = image.size
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.9)))
    pixels = np.asarray(image, dtype=np.float32)
    size_hw = np.array([height, width], np.float32).reshape(2, 1, 1)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / size_hw  # each (height, width), 0 to 1
    light = 1 + rng.uniform(-0.22, 0.22) * (x - 0.5) + rng.uniform(-0.25, 0.1) * (y - 0.5)
    light *= 1 - 0.35 * ((x - 0.5) ** 2 + (y - 0.5) ** 2)
    distance_squared = (x - rng.random()) ** 2 + (y - rng.uniform(-0.1, 0.6)) ** 2
    glare = np.exp(-distance_squared / rng.uniform(0.01, 0.04))
    balance = np.array([rng.uniform(0.92, 1.06), 1, rng.uniform(0.9, 1.08)], np.float32)
    light = (light * rng.uniform(0.8, 1.12))[..., None]
    pixels = pixels * light * balance + 38 * rng.random() * glare[..., None]
    noise_rng = np.random.RandomState(rng.getrandbits(32))
    pixels += noise_rng.normal(0, rng.uniform(2, 5), (height, width, 1))
    return Image.fromarray(np.uint8(np.clip(pixels, 0, 255)))


def save(image: Image.Image, path: pathlib.Path, upside_down: bool) -> None:
    """Writes a JPEG; ``upside_down`` sets the EXIF orientation and leaves the pixels alone."""
    exif = Image.Exif()
    if upside_down:
        exif[images.EXIF_ORIENTATION] = UPSIDE_DOWN
    image.save(str(path), "JPEG", quality=88, exif=exif.tobytes() if upside_down else b"")
