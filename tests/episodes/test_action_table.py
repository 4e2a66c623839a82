"""Actions of recorded frames from tables that pandas wrote, as people do."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lamflow.episodes.action_table import read_action_table
from lamflow.spaces import Box, Discrete


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_actions_of_some_frames(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"labels.{ending}"
    table = pd.DataFrame({"episode": ["007", "007", "b"], "frame": [3, 1, 0], "action": [2, 0, 4]})
    table.to_csv(path, index=False) if ending == "csv" else table.to_parquet(path)
    read = read_action_table(path)
    assert read.space == Discrete(5)
    actions, labelled = read.of("007", np.arange(1, 5))
    assert actions.tolist() == [0, 0, 2, 0] and labelled.tolist() == [True, False, True, False]
    assert actions.dtype == np.int64
    assert not read.of("no labels", np.arange(3))[1].any()
    read.check_episodes(["007", "b", "no labels"])
    read.check_length("007", 4)


def test_continuous_actions_and_their_bounds(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("episode,frame,action_0,action_1\na,0,-1.5,2\na,1,0.5,2\n")
    read = read_action_table(path)
    assert read.space == Box((-1.5, 2.0), (0.5, 3.0))
    assert read.of("a", np.array([1]))[0].tolist() == [[0.5, 2.0]]
    assert read.notes == (f"{path}: action_1 is 2 in all 2 rows: it may be a column that nobody filled.",)


def test_words_are_actions_and_empty_cells_are_unknown(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("episode,frame,action\na,0,right\na,1,\na,2,left\n")
    read = read_action_table(path)
    assert read.space == Discrete(2) and read.action_names == ("left", "right")
    actions, labelled = read.of("a", np.arange(3))
    assert actions[labelled].tolist() == [1, 0] and labelled.tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("episode,frame\na,0\n", "found the columns episode, frame; expected episode, frame and action"),
        ("episode,frame,action,action_0\na,0,1,1\n", "found the columns episode, frame, action, action_0"),
        ("episode,frame,action\na,0,1\na,0,1\n", "episode 'a': found frame 0 twice, expected one action per frame"),
        ("episode,frame,action\na,-1,1\n", "episode 'a': found frame -1, expected frames from 0"),
        ("episode,frame,action\na,0.5,1\n", "found frames of type double, expected whole numbers from 0"),
        ("episode,frame,action\na,3,-2\n", "episode 'a', frame 3: found the action -2, expected a whole number from 0"),
        ("episode,frame,action_0\na,3,nan\na,4,inf\n", "episode 'a', frame 4: found the action .inf., expected finite"),
        ("episode,frame,action_0,action_1\na,3,1,\n", "episode 'a', frame 3: found an action of which some entries"),
        ("episode,frame,action\na,0,\n", "found no action, expected at least one row with an action"),
        ("episode,frame,action\na,,1\n", "found no frame in row 0 of those with an action"),
        ("episode,frame,action_0\na,0,left\n", "column action_0: found string, expected numbers"),
        ("episode,frame,action\na,0\n", "could not be read as a csv table"),
        ("", r"could not be read as a csv table: Empty CSV file: write it again \(CSV in UTF-8, with commas\)"),
        ("episode,frame,action,action\na,0,1,2\n", "columns episode, frame, action, action; expected .* each once"),
        (
            "episode,frame,action_0,action_2\na,0,1,2\n",
            "found the columns episode, frame, action_0, action_2; expected",
        ),
        ("episode;frame;action\na;0;1\n", "found the columns episode;frame;action; expected .* with commas"),
        ("episode,frame,action\na,0,true\n", "column action: found bool, expected numbers or words"),
        ("episode,frame,action\na,0,1\na,1,1000000000\n", "found the action 1000000000, expected .* from 0 to 65535"),
    ],
)
def test_a_table_that_is_wrong_says_where(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        read_action_table(path)
    assert str(path) in str(caught.value)


def test_a_table_of_another_recording_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("episode,frame,action\na,7,1\n")
    read = read_action_table(path)
    with pytest.raises(ValueError, match="found actions of the episode 'a', expected one of 'b', 'c'"):
        read.check_episodes(["b", "c"])
    with pytest.raises(ValueError, match="episode 'a': found an action of frame 7, expected frames from 0 to 6"):
        read.check_length("a", 7)


def test_words_are_read_without_the_spaces_around_them(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("episode,frame,action\na,0,left\na,1, left\na,2,right \n")
    read = read_action_table(path)
    assert read.action_names == ("left", "right")
    assert read.of("a", np.arange(3))[0].tolist() == [0, 0, 1]


def test_whole_numbers_with_a_point_are_continuous_and_noted(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    pd.DataFrame({"episode": "a", "frame": [0, 1, 2], "action": [1, None, 2]}).to_csv(path, index=False)
    read = read_action_table(path)
    assert isinstance(read.space, Box)
    (note,) = read.notes
    assert "whole numbers that are written with a point, such as 1.0" in note and "write 1 (in pandas" in note


def test_a_table_in_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes("episode,frame,action\na,0,r\xfcck\n".encode("latin-1"))
    with pytest.raises(ValueError, match="column action: found binary, expected text in UTF-8"):
        read_action_table(path)


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ends in '.xlsx', expected a table of actions: .csv or .parquet"):
        read_action_table(tmp_path / "labels.xlsx")
    with pytest.raises(ValueError, match="found no such file"):
        read_action_table(tmp_path / "labels.csv")
    tmp_path.joinpath("folder.csv").mkdir()
    with pytest.raises(ValueError, match="found a folder, expected a table of actions"):
        read_action_table(tmp_path / "folder.csv")
    broken = tmp_path / "labels.parquet"
    broken.write_bytes(b"PAR1 without a footer")
    with pytest.raises(ValueError, match="could not be read as a parquet table"):
        read_action_table(broken)
