"""Made images that resemble photographs of shelves, and the boxes of their products."""

import numpy as np
from PIL import Image, ImageDraw


def shelf(seed, size_wh=(480, 360)):
    """Four boards full of products: of one layout for all seeds, but with other products.

    Returns:
      (image, boxes_xyxy), the boxes as an array (N, 4).
    """
    rng = np.random.RandomState(seed)
    width, height = size_wh
    image = Image.new("RGB", size_wh, (60, 58, 55))
    pen = ImageDraw.Draw(image)
    boxes_xyxy = []
    for row in range(4):
        floor = (row + 1) * height // 4 - 8
        pen.rectangle((0, floor, width, floor + 8), fill=(190, 190, 185))
        left = 0
        while left < width:
            right = left + rng.randint(25, 60)
            colour = tuple(rng.randint(0, 256, 3))
            box = (left, floor - rng.randint(45, 75), right - 3, floor)
            pen.rectangle(box, fill=colour)
            pen.rectangle((left + 5, floor - 30, right - 9, floor - 15), fill=colour[::-1])
            if right <= width:
                boxes_xyxy.append(box)
            left = right
    return image, np.array(boxes_xyxy, dtype=np.float64)


def shelf_image(seed):
    return shelf(seed)[0]
