"""Images: the same pixels as TensorFlow decodes, EXIF orientation, messages for broken files."""

import pathlib
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from shelfdet import UserError
from shelfdet.data import images

Y, X = np.mgrid[0:61, 0:83]
RGB = np.stack([127 + 120 * np.sin(X / 9), 127 + 120 * np.cos(Y / 7), 60 + X], axis=-1).astype(
    np.uint8
)
ALPHA = (X * 3).astype(np.uint8)
# TensorFlow's JPEG decoder takes a faster, rougher inverse DCT than Pillow's.
JPEG_TOLERANCE = 8


def png(pixels, colour_type, depth):
    """A PNG file of a kind that Pillow does not write; pixels: uint8 or uint16 (h, w, channels)."""
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(f">u{depth // 8}").tobytes() for row in pixels)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def saved(path, image, **options):
    image.save(str(path), **options)
    return path


def make(kind, folder):
    """Writes an image of the named kind, 83 x 61."""
    image = Image.fromarray(RGB)
    grey, deep = image.convert("L"), RGB.astype(np.uint16) * 257 - 100
    path = folder / kind
    if kind.startswith("deep"):
        channels = {
            "deep-rgb.png": (2, deep),
            "deep-rgba.png": (6, np.dstack([deep, ALPHA.astype(np.uint16) * 200])),
            "deep-grey.png": (0, deep[..., :1]),
            "deep-grey-alpha.png": (4, deep[..., :2]),
        }
        path.write_bytes(png(channels[kind][1], channels[kind][0], 16))
        return path
    alpha = image.convert("RGBA")
    alpha.putalpha(Image.fromarray(ALPHA))
    return {
        "rgb.jpg": lambda: saved(path, image, quality=95),
        "grey.jpg": lambda: saved(path, grey),
        "cmyk.jpg": lambda: saved(path, image.convert("CMYK"), quality=95),
        "progressive.jpeg": lambda: saved(path, image, progressive=True),
        "rgb.png": lambda: saved(path, image),
        "png-in-truth.JPG": lambda: saved(path, image, format="PNG"),
        "palette.png": lambda: saved(path, image.quantize(200)),
        "palette-4-bit.png": lambda: saved(path, image.quantize(16), bits=4),
        "palette-transparent.png": lambda: saved(path, image.quantize(16), transparency=3),
        "alpha.png": lambda: saved(path, alpha),
        "grey-alpha.png": lambda: saved(path, Image.merge("LA", (grey, Image.fromarray(ALPHA)))),
        "grey-transparent.png": lambda: saved(path, grey, transparency=100),
        "one-bit.png": lambda: saved(path, image.convert("1")),
        "palette.gif": lambda: saved(path, image.quantize(200)),
    }[kind]()


KINDS = [
    "rgb.jpg",
    "grey.jpg",
    "cmyk.jpg",
    "progressive.jpeg",
    "rgb.png",
    "png-in-truth.JPG",
    "palette.png",
    "palette-4-bit.png",
    "palette-transparent.png",
    "alpha.png",
    "grey-alpha.png",
    "grey-transparent.png",
    "one-bit.png",
    "palette.gif",
    "deep-rgb.png",
    "deep-rgba.png",
    "deep-grey.png",
    "deep-grey-alpha.png",
]


@pytest.fixture(scope="module")
def tensorflow_pixels():
    """path -> uint8 (height, width, 3), as tf.image.decode_image decodes; a GIF's first frame."""
    import tensorflow as tf

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        data = tf.compat.v1.placeholder(tf.string)
        decoded = tf.image.decode_image(data, channels=3)

        def decode(path):
            pixels = session.run(decoded, {data: path.read_bytes()})
            return pixels[0] if pixels.ndim == 4 else pixels

        yield decode


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_equal_tensorflows(kind, tmp_path, tensorflow_pixels):
    path = make(kind, tmp_path)
    expected = tensorflow_pixels(path)
    pixels, size_wh, orientation = images.load(path)
    assert pixels.dtype == np.uint8 and pixels.shape == expected.shape == (61, 83, 3)
    assert (size_wh, orientation) == ((83, 61), 1)
    assert images.inspect(path).size_wh == (83, 61)
    lossy = images.inspect(path).format == "JPEG"
    assert np.max(np.abs(pixels.astype(int) - expected)) <= (JPEG_TOLERANCE if lossy else 0)


def test_bmp_pixels_equal_tensorflows(tmp_path):
    # decode_image fails on colour BMP in this version of TensorFlow, decode_bmp does not.
    import tensorflow as tf

    path = saved(tmp_path / "a.bmp", Image.fromarray(RGB))
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        np.testing.assert_array_equal(
            images.load(path)[0], session.run(tf.image.decode_bmp(path.read_bytes(), channels=3))
        )


def test_pixels_of_real_photographs_equal_tensorflows(shelf_data_original, tensorflow_pixels):
    flagged = shelf_data_original / "ShelfImages" / "test" / "C1_P03_N1_S2_1.JPG"
    pixels, size_wh, orientation = images.load(flagged)
    assert orientation == 3 and pixels.shape[:2] == size_wh[::-1]
    assert (
        np.mean(np.abs(pixels.astype(int) - tensorflow_pixels(flagged))) < 1.5
    )  # rotated it would be over 40


def test_inspect(tmp_path):
    assert images.inspect(make("cmyk.jpg", tmp_path)) == ((83, 61), 1, "JPEG", "CMYK")
    assert images.inspect(make("png-in-truth.JPG", tmp_path)).format == "PNG"


# The letter F, and how a camera held in each of the eight ways stores it (the usual chart of EXIF
# orientations).
F = np.array([[1, 1, 1], [1, 0, 0], [1, 1, 0], [1, 0, 0], [1, 0, 0]], dtype=np.uint8) * 255
STORED = {
    1: F,
    2: F[:, ::-1],
    3: F[::-1, ::-1],
    4: F[::-1],
    5: F.T,
    6: np.rot90(F),
    7: F[::-1, ::-1].T,
    8: np.rot90(F, -1),
}


@pytest.mark.parametrize("flag", range(1, 9))
def test_exif(tmp_path, flag):
    image = Image.fromarray(STORED[flag])
    exif = image.getexif()
    exif[images.EXIF_ORIENTATION] = flag
    path = saved(tmp_path / "f.png", image, exif=exif)
    raw, raw_wh, orientation = images.load(path)
    np.testing.assert_array_equal(raw[..., 0], STORED[flag])
    assert (
        raw_wh == STORED[flag].shape[::-1]
        and orientation == images.inspect(path).orientation == flag
    )
    upright, upright_wh, _ = images.load(path, exif="apply")
    np.testing.assert_array_equal(upright[..., 0], F)
    assert upright_wh == (3, 5)


@pytest.mark.parametrize("flag", [0, 9])
def test_an_invalid_exif_orientation(tmp_path, flag):
    image = Image.fromarray(RGB)
    exif = image.getexif()
    exif[images.EXIF_ORIENTATION] = flag
    assert (
        images.load(saved(tmp_path / "a.jpg", image, exif=exif), exif="apply")[2] == images.UPRIGHT
    )


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize(
    "block",
    [b"Exif\0\0", b"Exif\0\0garbage, and more of it", b"Exif\0\0MM\0*\0\0\0\x08\0\xff\1\x12"],
)
def test_a_broken_exif_block_does_not_affect_the_pixels(tmp_path, block):
    assert (
        images.load(saved(tmp_path / "a.jpg", Image.fromarray(RGB), exif=block))[2]
        == images.UPRIGHT
    )


def test_shrinks_and_rotates(tmp_path):
    image = Image.fromarray(RGB)
    exif = image.getexif()
    exif[images.EXIF_ORIENTATION] = 6
    path = saved(tmp_path / "a.jpg", image, exif=exif)
    assert images.load(path, max_side=40)[0].shape == (29, 40, 3)
    pixels, size_wh, _ = images.load(path, max_side=40, exif="apply")
    assert pixels.shape == (40, 29, 3) and size_wh == (61, 83)
    for whole in (0, None, 83, 500):
        assert images.load(path, max_side=whole)[0].shape == (61, 83, 3)


def sine_waves(size_wh):
    """Smooth pixels, uint8 RGB, which a JPEG keeps at every size."""
    y, x = np.mgrid[0 : size_wh[1], 0 : size_wh[0]]
    return np.stack(
        [127 + 120 * np.sin(x / 60), 127 + 120 * np.cos(y / 50), 255.0 * x / size_wh[0]], axis=-1
    ).astype(np.uint8)


@pytest.mark.parametrize(
    "size_wh, max_side, expected_wh",
    [
        ((1600, 1200), 1024, (800, 600)),  # decoded at 1/2
        ((1601, 1203), 1024, (800, 602)),  # at 1/2, which is 800.5 x 601.5
        ((3264, 2448), 1024, (816, 612)),  # at 1/4: 1/2 would be too long, 1/8 too short
        ((2448, 3264), 1024, (612, 816)),
        ((2348, 2448), 1024, (587, 612)),
        ((1920, 1080), 1024, (960, 540)),
        ((2592, 1944), 1024, (1024, 768)),  # 1296 at 1/2 is too long, 486 at 1/4 too short
        ((1280, 960), 1024, (1024, 768)),  # 480 at 1/2 is less than half of 1024
        ((1999, 37), 1024, (1024, 19)),
        ((1601, 1203), 700, (700, 526)),
        ((1601, 1203), 100, (100, 75)),
        ((1024, 700), 1024, (1024, 700)),
    ],
)
def test_a_shrunk_jpeg_equals_a_completely_decoded_and_shrunk_one(
    tmp_path, size_wh, max_side, expected_wh
):
    pixels = sine_waves(size_wh)
    path = saved(tmp_path / "a.jpg", Image.fromarray(pixels), quality=95)
    shrunk, full_wh, _ = images.load(path, max_side=max_side)
    slow = np.asarray(Image.fromarray(pixels).resize(expected_wh, Image.LANCZOS))
    assert full_wh == size_wh and shrunk.shape == slow.shape
    assert np.mean(np.abs(shrunk.astype(int) - slow)) < 1.5


def test_a_png_is_shrunk_to_the_longest_side(tmp_path):
    path = saved(tmp_path / "a.png", Image.fromarray(sine_waves((1600, 1200))))
    assert images.load(path, max_side=1024).pixels.shape == (768, 1024, 3)


@pytest.mark.parametrize(
    "size_wh, max_side, expected",
    [
        ((100, 50), 0, (100, 50)),
        ((100, 50), None, (100, 50)),
        ((100, 50), 100, (100, 50)),
        ((100, 50), 99, (99, 50)),
        ((50, 100), 10, (5, 10)),
        ((5000, 1), 100, (100, 1)),
        ((3264, 2448), 1024, (1024, 768)),
    ],
)
def test_shrunk_size(size_wh, max_side, expected):
    assert images.shrunk_size(size_wh, max_side) == expected


class TestBroken:
    @pytest.fixture(params=[images.inspect, images.load])
    def error_of(self, request):
        def error_of(path):
            with pytest.raises(UserError) as caught:
                request.param(path)
            assert str(path) in str(caught.value)
            return str(caught.value)

        return error_of

    def test_missing_empty_and_no_image(self, tmp_path, error_of):
        assert "no such file" in error_of(tmp_path / "none.jpg")
        assert "is no image" in error_of(tmp_path)
        (tmp_path / "a.jpg").write_bytes(b"")
        assert "is empty" in error_of(tmp_path / "a.jpg")
        (tmp_path / "a.jpg").write_bytes(b"Not an image at all")
        assert "is no image" in error_of(tmp_path / "a.jpg")

    @pytest.mark.parametrize("kind", ["rgb.jpg", "progressive.jpeg", "rgb.png", "palette.gif"])
    def test_truncated(self, tmp_path, error_of, kind):
        path = make(kind, tmp_path)
        path.write_bytes(path.read_bytes()[:-40])
        assert "cannot be decoded to its end" in error_of(path)

    def test_huge(self, tmp_path, error_of):
        path = tmp_path / "a.png"
        path.write_bytes(png(np.zeros((1, 1, 1), np.uint8), 0, 8))
        data = bytearray(path.read_bytes())
        data[16:24] = struct.pack(">II", 40000, 40000)
        data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
        path.write_bytes(bytes(data))
        assert "40000 x 40000 pixels; expected at most 178 million" in error_of(path)

    def test_of_another_format(self, tmp_path, error_of):
        assert "is a TIFF file" in error_of(
            saved(tmp_path / "a.jpg", Image.fromarray(RGB), format="TIFF")
        )

    @settings(deadline=None, max_examples=80)
    @given(
        kind=st.sampled_from(
            [
                "rgb.jpg",
                "cmyk.jpg",
                "rgb.png",
                "palette-transparent.png",
                "palette.gif",
                "deep-grey.png",
            ]
        ),
        changes=st.lists(st.tuples(st.integers(0, 250), st.integers(0, 255)), max_size=5),
        end=st.integers(0, 9000),
    )
    def test_any_damage_gives_pixels_or_a_message(self, tmp_path_factory, kind, changes, end):
        path = make(kind, tmp_path_factory.mktemp("damaged"))
        data = bytearray(path.read_bytes())
        for place, value in changes:
            data[place] = value
        path.write_bytes(bytes(data[:end]))
        try:
            pixels = images.load(path, max_side=40, exif="apply")[0]
            assert pixels.ndim == 3 and max(pixels.shape[:2]) <= 40
        except UserError as error:
            assert str(path) in str(error)


@pytest.mark.parametrize("head", [b"\0\0\0\x18ftypheic", b"\0\0\0\x1cftypavif"])
def test_a_file_of_a_phone_under_the_name_of_a_jpeg(tmp_path, head):
    (tmp_path / "a.jpg").write_bytes(head + b"\0" * 100)
    kind = "HEIC" if b"heic" in head else "AVIF"
    with pytest.raises(UserError, match=f"a.jpg: is a {kind} file; .*Convert it to JPEG"):
        images.inspect(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    "name, expected",
    [
        ("x.webp", "x.webp is WebP, which TensorFlow does not decode: convert it to JPEG"),
        ("x.TIF", "x.TIF is TIFF, which TensorFlow does not decode: convert it to JPEG"),
        ("x.heic ", "x.heic  is HEIC, which TensorFlow does not decode: convert it to JPEG"),
        ("x.jfif", None),
        ("x.xml", None),
    ],
)
def test_kinds_of_images_that_tensorflow_does_not_decode(name, expected):
    assert images.kind_problem(pathlib.Path(name)) == expected


def test_jfif_is_jpeg(tmp_path, tensorflow_pixels):
    path = saved(tmp_path / "a.jfif", Image.fromarray(RGB), format="JPEG", quality=95)
    assert images.list_images(tmp_path) == [path]
    difference = images.load(path).pixels.astype(int) - tensorflow_pixels(path)
    assert np.abs(difference).max() <= JPEG_TOLERANCE


class TestFolders:
    @pytest.fixture
    def folder(self, tmp_path):
        for name in (
            "ShelfImages/train/b 1.JPG",
            "ShelfImages/train/ä.png",
            "ShelfImages/test/a.jpeg",
            "ShelfImages/test/.hidden.jpg",
            "ShelfImages/test/notes.txt",
            "ShelfImages/test/sub.jpg/x.jpg",
        ):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(b"x")
        return tmp_path

    def error_of(self, call, *args):
        with pytest.raises(UserError) as caught:
            call(*args)
        return str(caught.value)

    def test_list_images(self, folder):
        assert [path.name for path in images.list_images(folder / "ShelfImages" / "test")] == [
            "a.jpeg"
        ]
        assert [path.name for path in images.list_images(folder / "ShelfImages" / "train")] == [
            "b 1.JPG",
            "ä.png",
        ]
        assert "does not exist" in self.error_of(images.list_images, folder / "none")
        assert "is a file" in self.error_of(
            images.list_images, folder / "ShelfImages" / "test" / "notes.txt"
        )


@pytest.mark.parametrize(
    "size_wh, frame_wh, left_top",
    [
        ((400, 100), (400, 300), (0, 100)),
        ((100, 400), (300, 400), (100, 0)),
        ((401, 100), (401, 301), (0, 100)),
        ((90, 400), (300, 400), (105, 0)),
    ],
)
def test_a_strip_is_in_the_middle_of_a_grey_frame(size_wh, frame_wh, left_top):
    width, height = size_wh
    pixels = np.random.RandomState(0).randint(0, 256, (height, width, 3)).astype(np.uint8)
    framed, found = images.with_margins(pixels, "a.JPG")
    left, top = left_top
    assert (framed.shape[1::-1], found) == (frame_wh, left_top)
    np.testing.assert_array_equal(framed[top : top + height, left : left + width], pixels)
    framed[top : top + height, left : left + width] = 127
    assert (framed == 127).all()


@pytest.mark.parametrize(
    "max_side, shape", [(0, (60, 80, 3)), (80, (60, 80, 3)), (40, (30, 40, 3))]
)
def test_pixels_are_shrunk_as_load_shrinks_an_image(tmp_path, max_side, shape):
    Image.fromarray(np.random.RandomState(0).randint(0, 256, (60, 80, 3)).astype(np.uint8)).save(
        str(tmp_path / "a.png")
    )
    whole, shrunk = images.load(tmp_path / "a.png")[0], images.load(tmp_path / "a.png", max_side)[0]
    assert images.shrunk(whole, max_side).shape == shape
    np.testing.assert_array_equal(images.shrunk(whole, max_side), shrunk)


@pytest.mark.parametrize(
    "size_wh, strip",
    [
        ((200, 100), False),
        ((201, 100), True),
        ((100, 200), False),
        ((100, 201), True),
        ((1, 1), False),
    ],
)
def test_a_strip_is_more_than_twice_as_wide_as_high_or_as_high_as_wide(size_wh, strip):
    assert images.is_strip(size_wh) == strip
