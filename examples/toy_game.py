"""Recordings of a small game, as a person has them: a folder of mp4 files, and the actions of a few of them in a table.

A red block goes after a coin, in steps of four pixels, and rests now and then; blocks of other colours drift through the picture.

    python examples/toy_game.py data/clips data/actions.csv

writes 200 clips of 80 steps, and the actions of ten of them. Shapes: T steps of an episode.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

SIDE, STEP, PLAYER, COIN, BLOCK = 64, 4, 12, 8, 8
"""Pixels."""
ACTIONS = ("up", "down", "left", "right", "stay")
MOVES = np.array([[-STEP, 0], [STEP, 0], [0, -STEP], [0, STEP], [0, 0]])
RED, YELLOW = (220, 50, 40), (240, 210, 60)
NUM_BLOCKS, SPEEDS = 4, (-1, 0, 1)
RESTS, ERRS = 0.15, 0.15
"""How often the player rests, and goes anywhere."""
CODECS: dict[str, tuple[str, str, dict[str, str]]] = {
    "h264": ("libx264", "yuv420p", {"crf": "18"}),
    "av1": ("libsvtav1", "yuv420p", {"crf": "30", "g": "2", "preset": "8"}),
    "lossless": ("libx264rgb", "bgr24", {"qp": "0"}),
}
"""Codec, pixel format and options."""


def play(steps: int, generator: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """An episode: frames uint8 [T + 1, 64, 64, 3] and the actions int64 [T] between them."""
    places = generator.integers(0, (SIDE - PLAYER) // STEP + 1, (2, 2)) * STEP
    player, coin = places
    blocks = generator.integers(0, SIDE - BLOCK, (NUM_BLOCKS, 2))
    speeds = generator.choice(SPEEDS, (NUM_BLOCKS, 2))
    colours = generator.integers(60, 180, (NUM_BLOCKS, 3))
    frames, actions = [_picture(player, coin, blocks, colours)], []
    for _ in range(steps):
        action = _chosen(player, coin, generator)
        player = player + MOVES[action]
        if (player == coin).all():
            coin = generator.integers(0, (SIDE - PLAYER) // STEP + 1, 2) * STEP
        bounces = (blocks + speeds < 0) | (blocks + speeds > SIDE - BLOCK)
        speeds = np.where(bounces, -speeds, speeds)
        blocks = blocks + speeds
        frames.append(_picture(player, coin, blocks, colours))
        actions.append(action)
    return np.stack(frames), np.array(actions, np.int64)


def _chosen(player: NDArray[Any], coin: NDArray[Any], generator: np.random.Generator) -> int:
    """Rows first, then columns; never into the wall."""
    chance = generator.random()
    if chance < RESTS:
        return ACTIONS.index("stay")
    after = player + MOVES
    possible = np.flatnonzero(((after >= 0) & (after <= SIDE - PLAYER)).all(axis=1))
    if chance < RESTS + ERRS:
        return int(generator.choice(possible))
    rows, columns = coin - player
    return (int(rows > 0) if rows else 2 + int(columns > 0)) if rows or columns else ACTIONS.index("stay")


def _picture(
    player: NDArray[Any], coin: NDArray[Any], blocks: NDArray[Any], colours: NDArray[Any]
) -> NDArray[np.uint8]:
    picture = np.full((SIDE, SIDE, 3), 24, np.uint8)
    for (row, column), colour in zip(blocks, colours, strict=True):
        picture[row : row + BLOCK, column : column + BLOCK] = colour
    row, column = coin + (PLAYER - COIN) // 2
    picture[row : row + COIN, column : column + COIN] = YELLOW
    row, column = player
    picture[row : row + PLAYER, column : column + PLAYER] = RED
    return picture


def write_clip(path: Path, frames: NDArray[np.uint8], codec: str = "h264") -> None:
    """As mp4."""
    encoder, pixel_format, options = CODECS[codec]
    with av.open(str(path), "w") as opened:
        stream: Any = opened.add_stream(encoder, rate=10, options=options)
        stream.height, stream.width, stream.pix_fmt = SIDE, SIDE, pixel_format
        for frame in frames:
            opened.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        opened.mux(stream.encode())


def write_game(
    clips: Path, table: Path, *, episodes: int = 200, labelled: int = 10, steps: int = 80, codec: str = "h264"
) -> dict[str, NDArray[np.int64]]:
    """Write a clip per episode, and to ``table`` the actions of the first ``labelled`` ones; answers all actions by the clip's name."""
    clips.mkdir(parents=True, exist_ok=True)
    table.parent.mkdir(parents=True, exist_ok=True)
    played = {}
    for episode in range(episodes):
        frames, actions = play(steps, np.random.default_rng(episode))
        played[f"clip{episode:03d}"] = actions
        write_clip(clips / f"clip{episode:03d}.mp4", frames, codec)
    with table.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow(("episode", "frame", "action"))
        for name in list(played)[:labelled]:
            writer.writerows((name, frame, ACTIONS[action]) for frame, action in enumerate(played[name]))
    return played


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Recordings of a small game.")
    parser.add_argument("clips", type=Path, help="a folder for mp4 files")
    parser.add_argument("table", type=Path, help="a CSV file for the actions of some")
    parser.add_argument("--codec", choices=list(CODECS), default="h264")
    given = parser.parse_args()
    write_game(given.clips, given.table, codec=given.codec)
    print(f"{given.clips}: 200 clips; {given.table}: the actions of ten of them")
