"""A page taken apart, and what is hard to put into one."""

from html.parser import HTMLParser
from io import BytesIO

import numpy as np
from PIL import Image

NASTY = "digits <script>alert('x')</script> | $a_b$ _a_ __b__ &lt; [x](http://a.b)"


class Page(HTMLParser):
    """What a page is made of: tags with attributes, text, and tags that were never closed."""

    VOID = ("meta", "link", "img", "br")

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.text.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def sheet(side=64, noise=False):
    random = np.random.default_rng(0)
    pixels = random.integers(0, 255 if noise else 2, (side, side, 3), dtype=np.uint8)
    written = BytesIO()
    Image.fromarray(pixels).save(written, "PNG")
    return written.getvalue()
