"""Episodes side by side as an animated GIF: demonstrator and agent on the same level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from lamflow.atomic_files import atomic_path
from lamflow.plots.style import INK, MUTED

_GAP = 16
_LINE = 17
_FONT_SIZE = 13


@dataclass(frozen=True)
class EpisodeFilm:
    """One episode to show. ``title``: who acts (two short lines at most); ``frames``: T + 1 RGB images uint8 [h, w, 3], or T
    where the last one was never seen; ``rewards`` [T]: raw reward of each transition; ``outcome``: shown once the episode has
    ended, such as 'solved'."""

    title: str
    frames: Sequence[NDArray[np.uint8]]
    rewards: Sequence[float]
    outcome: str = ""


def write_episode_film(
    films: Sequence[EpisodeFilm],
    path: Path,
    *,
    side: int = 288,
    frame_ms: int = 160,
    hold_ms: int = 2000,
    most_frames: int = 120,
    most_bytes: int = 6_000_000,
) -> None:
    """Write ``films`` side by side as an endlessly looping GIF, atomically; an episode that ended keeps its last frame.

    ``side``: height of each picture in pixels (frames are scaled by a whole number to at most that, so that cells stay sharp);
    ``frame_ms`` a frame, ``hold_ms`` for the last one. Films longer than ``most_frames`` show only every n-th step and the last,
    and so do films whose file would be larger than ``most_bytes`` (pictures full of detail, which a GIF cannot pack).
    ValueError when there is no film or one without frames.
    """
    if not films or any(not len(film.frames) for film in films):
        raise ValueError("an episode film needs at least one episode, and each of them at least one frame")
    while len(packed := _packed(films, side, frame_ms, hold_ms, most_frames)) > most_bytes and most_frames > 2:
        most_frames = max(2, int(most_frames * min(0.9, most_bytes / len(packed))))
    with atomic_path(path) as temporary:
        temporary.write_bytes(packed)


def _packed(films: Sequence[EpisodeFilm], side: int, frame_ms: int, hold_ms: int, most_frames: int) -> bytes:
    """The GIF of every n-th step, such that there are at most ``most_frames`` of them, and the last."""
    longest = max(len(film.frames) for film in films)
    stride = -(-longest // most_frames)
    steps = [*range(0, longest - 1, stride), longest - 1]
    pages = [_page(films, step, side) for step in steps]
    palette = _common_palette(pages)
    indexed = [page.quantize(palette=palette, dither=Image.Dither.NONE) for page in pages]
    durations = [frame_ms] * (len(pages) - 1) + [hold_ms]
    buffer = BytesIO()
    indexed[0].save(
        buffer,
        format="GIF",
        save_all=True,
        append_images=indexed[1:],
        duration=durations,
        loop=0,
        optimize=False,
        disposal=1,
    )
    return buffer.getvalue()


def _page(films: Sequence[EpisodeFilm], step: int, side: int) -> Image.Image:
    """One frame of the film."""
    pictures = [_scaled(film.frames[min(step, len(film.frames) - 1)], side) for film in films]
    title_lines = max(film.title.count("\n") + 1 for film in films)
    top = _GAP // 2 + title_lines * _LINE
    height = top + max(picture.height for picture in pictures) + 2 * _LINE + _GAP // 2
    page = Image.new("RGB", (sum(picture.width + _GAP for picture in pictures) + _GAP, height), "white")
    draw, font, left = ImageDraw.Draw(page), ImageFont.load_default(_FONT_SIZE), _GAP
    for film, picture in zip(films, pictures, strict=True):
        ended = step >= len(film.frames) - 1
        taken = len(film.rewards) if ended else step
        draw.text((left, _GAP // 2 - 2), film.title, fill=INK, font=font, spacing=3)
        page.paste(picture, (left, top))
        below = top + picture.height + 4
        draw.text(
            (left, below), f"step {taken}, return {float(np.sum(film.rewards[:taken])):.2f}", fill=MUTED, font=font
        )
        if ended and film.outcome:
            draw.text((left, below + _LINE), film.outcome, fill=INK, font=font)
        left += picture.width + _GAP
    return page


def _scaled(frame: NDArray[np.uint8], side: int) -> Image.Image:
    picture = Image.fromarray(np.ascontiguousarray(frame))
    factor = side / max(frame.shape[:2])
    size = (round(picture.width * max(1, int(factor))), round(picture.height * max(1, int(factor))))
    if factor < 1:
        return picture.resize((round(picture.width * factor), round(picture.height * factor)), Image.Resampling.BOX)
    return picture.resize(size, Image.Resampling.NEAREST)


def _common_palette(pages: Sequence[Image.Image]) -> Image.Image:
    """256 colours for the whole film, from some of its pages: a palette a page would flicker."""
    sample = pages[:: max(1, len(pages) // 8)]
    strip = Image.new("RGB", (sample[0].width, sum(page.height for page in sample)))
    for index, page in enumerate(sample):
        strip.paste(page, (0, index * page.height))
    return strip.quantize(256, dither=Image.Dither.NONE)
