"""Tell which of the pictures that somebody else made can be shown, and which cannot."""

import binascii
from base64 import b64decode, b64encode
from dataclasses import dataclass
from io import BytesIO

from PIL import Image

_LARGEST = 10_000_000
"""Bytes of one picture."""

_PIXELS = 50_000_000
"""Pixels of one picture. A small file can hold so many that a browser runs out of memory."""

_FORMATS = ("PNG", "JPEG", "GIF")


class PictureError(Exception):
    """It is not shown; the text says why."""


@dataclass(frozen=True)
class Picture:
    """A picture that a browser can show: its type, and its bytes in base64."""

    mimetype: str
    base64: str

    @property
    def uri(self) -> str:
        """What an HTML page names it by, and has it whole."""
        return f"data:{self.mimetype};base64,{self.base64}"


def decoded_picture(base64: str) -> Picture:
    """The picture that a text holds. Raises PictureError if it holds none, or too large a one."""
    if len(base64) > 2 * _LARGEST:
        raise _too_large()
    try:
        return picture(b64decode("".join(base64.split()), validate=True))
    except (binascii.Error, ValueError):
        raise _no_picture() from None


def picture(data: bytes) -> Picture:
    """The picture that a file holds. Raises PictureError if it holds none, or too large a one."""
    if len(data) > _LARGEST:
        raise _too_large()
    try:
        with Image.open(BytesIO(data), formats=_FORMATS) as image:
            (width, height), kind = image.size, str(image.get_format_mimetype())
    except Image.DecompressionBombError:
        raise _too_large() from None
    except Exception:
        # Whatever stands there, the readers of the formats raise what comes of it.
        raise _no_picture() from None
    if width * height > _PIXELS:
        raise _too_large()
    return Picture(kind, b64encode(data).decode())


def _too_large() -> PictureError:
    return PictureError(
        f"it has more than {_LARGEST / 1e6:g} MB or {_PIXELS / 1e6:g} million pixels"
    )


def _no_picture() -> PictureError:
    return PictureError("it is not a PNG, JPEG or GIF")
