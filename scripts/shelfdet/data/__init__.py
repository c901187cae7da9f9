"""Images and their annotations: formats, checks, splits, records.

Constants that options show stand here and not in the modules that use them: `--help` must not load
NumPy and Pillow.
"""

# Longest side in pixels of an image as records store it and as detection reads it; the networks'
# inputs are smaller.
MAX_SIDE = 1024

GROCERY_IMAGES_URL = "https://storage.googleapis.com/open_source_datasets/ShelfImages.tar.gz"
GROCERY_ANNOTATIONS_URL = (
    "https://raw.githubusercontent.com/gulvarol/grocerydataset/HEAD/annotations.csv"
)
