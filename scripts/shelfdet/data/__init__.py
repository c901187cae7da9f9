"""Images and their annotations: formats, checks, splits, records."""

# Longest side in pixels of an image as records store it and as detection reads it; the networks' inputs are smaller.
# Here, and not in images.py, because options show it and `--help` must not load NumPy and Pillow.
MAX_SIDE = 1024
