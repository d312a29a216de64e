"""Small real pictures, whole and broken, as a user's folder holds them."""

import io
import os
import struct
import zlib

import numpy as np
from PIL import Image


def noise(seed=0, width=40, height=32, channels=3):
    """Smooth colours, uint8 [h, w, 3] or [h, w]."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (4, 5, 3), np.uint8)
    picture = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BILINEAR))
    return picture if channels == 3 else picture[..., 0]


def content(seed=0, kind="PNG", size=(40, 32), mode="RGB", **options):
    """Bytes of a picture file."""
    file = io.BytesIO()
    Image.fromarray(noise(seed, *size)).convert(mode).save(file, kind, **options)
    return file.getvalue()


def put(folder, name, what):
    """Write a file below folder, with the folders on its way."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(what)
    return path


def write_classes(folder, parts=("train", "test"), n=5, classes=("cat", "dog"), **options):
    """n pictures of each class in each part; "" is the folder itself."""
    for p, part in enumerate(parts):
        for k, name in enumerate(classes):
            for i in range(n):
                seed = 1000 * p + 100 * k + i
                put(folder, f"{part}/{name}/{i}.png".lstrip("/"), content(seed, **options))
    return folder


def bomb(width=60000, height=60000):
    """A PNG of few bytes that would unpack to gigabytes."""

    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0" * 100))
        + chunk(b"IEND", b"")
    )


def broken():
    """Files that cannot be used: name → (content, what is told of it)."""
    png, jpeg = content(1), content(2, "JPEG", (200, 150))
    kinds = {
        "tif": content(3, "TIFF"),
        "gif": content(4, "GIF"),
        "webp": content(5, "WEBP"),
        "bmp": content(6, "BMP"),
        "ppm": content(7, "PPM"),
    }
    files = {
        "empty.png": (b"", "empty file"),
        "empty": (b"", "empty file"),
        "bomb.png": (bomb(), "pixels"),
        "huge.png": (bomb(2**31 - 1, 2**31 - 1), ""),
        "text.jpg": (b"<html>404</html>", "not a picture"),
        "words.dat": (b"some words", "not a picture"),
        "telephone.heic": (b"\0\0\0\x18ftypheic" + bytes(40), "HEIC or AVIF, which is not read"),
        "zeros.jpg": (bytes(5000), "not a picture"),
        "signature.png": (png[:8], "not a picture"),
        "icon.svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
        "page.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
        "half.jpg": (jpeg[: len(jpeg) // 2], "truncated"),
        "half.png": (png[: len(png) // 2], ""),
        "bits.png": (png[:60] + bytes(b ^ 255 for b in png[60:90]) + png[90:], ""),
        "zero_width.png": (png[:16] + bytes(4) + png[20:], ""),
        "flat.ppm": (b"P6\n0 0\n255\n", ""),
        "words.pgm": (b"P2\n3 3\n255\n1 2 three", ""),
        "nan.tif": (nan_tiff(), "no pixel is a finite number"),
    }
    for suffix, whole in kinds.items():
        files[f"cut.{suffix}"] = (whole[: len(whole) // 2], "")
        files[f"head.{suffix}"] = (whole[:20], "")
    return files


def nan_tiff():
    file = io.BytesIO()
    Image.fromarray(np.full((32, 32), np.nan, np.float32)).save(file, "TIFF")
    return file.getvalue()


def odd():
    """Files that are pictures although they do not look so: name → content."""
    exif = Image.Exif()
    exif[0x0112] = 6
    files = {
        "really_a_png.jpg": content(20),
        "really_a_jpeg.png": content(21, "JPEG"),
        "no_suffix": content(22, "GIF"),
        "Umlaut ä 日本.png": content(23),
        "quote\"comma, 'x'.webp": content(24, "WEBP"),
        "turned.jpg": content(25, "JPEG", exif=exif.tobytes()),
        "bad_exif.jpg": content(26, "JPEG", exif=b"Exif\0\0" + b"\xff" * 40),
        "cmyk.jpg": content(27, "JPEG", mode="CMYK"),
        "ycbcr.tif": content(28, "TIFF", mode="YCbCr"),
        "grey.png": content(29, mode="L"),
        "bilevel.png": content(30, mode="1"),
        "palette.gif": content(31, "GIF", mode="P"),
        "alpha.png": content(32, mode="RGBA"),
        "grey_alpha.png": content(33, mode="LA"),
        "sixteen.png": content(34, mode="I;16"),
        "float.tif": content(35, "TIFF", mode="F"),
        "int.tif": content(36, "TIFF", mode="I"),
        "portable.pgm": content(37, "PPM", mode="L"),
        "one_pixel.png": content(38, size=(1, 1)),
        "wide.png": content(39, size=(900, 3)),
        "deep/er/still/x.bmp": content(40, "BMP"),
    }
    if os.name == "posix":
        files[os.fsdecode(b"latin-\xe9.png")] = content(41)
        files["line\nbreak.png"] = content(42)
    return files
