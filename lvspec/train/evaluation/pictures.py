"""Small grey pictures as text (half blocks) and as PNG files."""

from __future__ import annotations

import math
import struct
import zlib

import numpy as np

_SHADES = " ░▒▓█"


def side(pixels: int) -> int | None:
    """The side of a square picture with that many pixels."""
    root = math.isqrt(pixels)
    return root if root * root == pixels and root >= 4 else None


def drawn(picture: np.ndarray) -> str:
    """A picture with values in [0, 1] as lines of text; a character is two columns wide and shows one pixel."""
    levels = np.clip(np.round(picture * (len(_SHADES) - 1)), 0, len(_SHADES) - 1).astype(int)
    return "\n".join("".join(_SHADES[v] * 2 for v in row).rstrip() for row in levels)


def beside(pictures: list[str], width: int, gap: int = 3) -> str:
    """Several drawn pictures in a row."""
    split = [p.split("\n") for p in pictures]
    rows = max(len(s) for s in split)
    lines = []
    for i in range(rows):
        cells = [(s[i] if i < len(s) else "").ljust(width) for s in split]
        lines.append((" " * gap).join(cells).rstrip())
    return "\n".join(lines)


def png(picture: np.ndarray, zoom: int = 8) -> bytes:
    """An 8-bit grey PNG; ink (1) is black. Each pixel becomes zoom x zoom."""
    grey = (255 * (1 - np.clip(picture, 0, 1))).round().astype(np.uint8)
    grey = grey.repeat(zoom, axis=0).repeat(zoom, axis=1)
    height, width = grey.shape
    rows = b"".join(b"\0" + row.tobytes() for row in grey)  # filter 0 before each row
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pieces = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in pieces)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def sheet(pictures: list[np.ndarray], gap: int = 1) -> np.ndarray:
    """Pictures side by side, with a white gap."""
    height = pictures[0].shape[0]
    blank = np.zeros((height, gap))
    pieces = [piece for p in pictures for piece in (p, blank)][:-1]
    return np.concatenate(pieces, axis=1)
