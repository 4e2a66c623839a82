"""The one reader of YAML files: what YAML 1.1 makes of a text without a word is refused, with its line, its key and the cure."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import yaml

RERUNS_NOTHING = "What is read reaches a stage as values."

T = TypeVar("T")

MOST_BYTES = 4_000_000
MOST_VALUES = 100_000
"""After aliases are filled in; the largest file that lamflow ships has some hundreds."""
DEEPEST = 50
_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "map", "seq")}
_TEXT = "tag:yaml.org,2002:str"
_MERGE = "tag:yaml.org,2002:merge"
_OCTAL = re.compile(r"[-+]?0[0-7_]+")
_BASE_60 = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")


def read_yaml(path: Path) -> Any:
    """What a YAML or JSON file holds.

    ValueError when it is not there or is no YAML, and with a line for each key that is given twice or is no text, for each number to a
    base that nobody means, date, and tag, and for aliases that grow beyond all bounds.
    """
    text = _text_of(path)
    if text.lstrip().startswith(("{", "[")):
        repeated: list[str] = []
        try:
            content = json.loads(text, object_pairs_hook=partial(_mapping, repeated=repeated))
        except (ValueError, RecursionError):
            pass  # flow style: YAML all the same
        else:
            _refuse(path, [f"{written_key([key])}: given twice; keep one" for key in repeated])
            check_extent(content, str(path))
            return content
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None:
            return None
        _refuse(path, _too_much(root, _children, _place) or list(_problems_of(root, ())))
        return _constructed(loader, root)
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not readable as YAML: {error}") from None
    except RecursionError:
        raise ValueError(f"{path}: not readable as YAML: nested too deep; expected at most {DEEPEST} levels") from None


def check_files(paths: Iterable[Path]) -> None:
    """Read each file and forget it: others who read YAML take the last of two equal keys without a word. ValueError as ``read_yaml``."""
    for path in paths:
        read_yaml(path)


def written_key(parts: Iterable[str | int]) -> str:
    """``lams.lapo.training``, each part as it is written; what cannot be printed is escaped, what is long is cut."""
    shown = (text if text.isprintable() else ascii(text)[1:-1] for text in map(str, parts))
    return ".".join(text if len(text) <= 80 else f"{text[:77]}..." for text in shown)


def _text_of(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise ValueError(f"{path}: found {size:,} bytes, expected a YAML file of {MOST_BYTES:,} at most")
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: not readable as YAML: {error.strerror or error}") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line, column = before.count(b"\n") + 1, len(before) - (before.rfind(b"\n") + 1) + 1
        raise ValueError(
            f"{path}, line {line}, byte {column}: found the byte 0x{content[error.start]:02x}, which is no UTF-8: save the file as UTF-8"
        ) from None


def _mapping(pairs: list[tuple[str, Any]], *, repeated: list[str]) -> dict[str, Any]:
    """A JSON object; keys that it has twice are added to ``repeated``."""
    counts = Counter(key for key, _ in pairs)
    repeated.extend(key for key, count in counts.items() if count > 1)
    return dict(pairs)


def _refuse(path: Path | str, problems: Sequence[str]) -> None:
    """ValueError if there are any problems."""
    if problems:
        raise ValueError("\n".join([f"{path}: {len(problems)} problem(s)", *(f"  {problem}" for problem in problems)]))


def _constructed(loader: yaml.SafeLoader, root: yaml.Node) -> Any:
    try:
        return loader.construct_document(root)
    except (ValueError, LookupError) as error:  # of what a tag asks for: !!int "one"
        raise yaml.YAMLError(str(error)) from None


def check_extent(content: Any, source: str) -> None:
    """ValueError when what a file held is endless or nearly so: few aliases make billions of values, which take all time and memory."""
    _refuse(source, _too_much(content, _parts, lambda part: ""))


def _too_much(root: T, parts_of: Callable[[T], Sequence[T]], place_of: Callable[[T], str]) -> list[str]:
    """What is wrong with the extent of a tree whose parts may stand in many places; found without visiting any of them twice."""
    sizes: dict[int, tuple[float, int]] = {}
    visited: set[int] = set()

    def measured(part: T) -> tuple[float, int]:
        """Values and levels."""
        if id(part) in sizes:
            return sizes[id(part)]
        if id(part) in visited:
            raise ValueError(f"an alias stands inside its own anchor; write out what is meant{place_of(part)}")
        visited.add(id(part))
        inner = [measured(other) for other in parts_of(part)]
        sizes[id(part)] = (
            1.0 + sum(values for values, _ in inner),
            1 + max((levels for _, levels in inner), default=0),
        )
        return sizes[id(part)]

    try:
        values, levels = measured(root)
    except ValueError as error:
        return [str(error)]
    except RecursionError:
        levels, values = DEEPEST + 1, 0
    if levels > DEEPEST:
        return [f"nested too deep; expected at most {DEEPEST} levels"]
    if values > MOST_VALUES:
        return [f"aliases make {values:.3g} values of the few that are written; expected at most {MOST_VALUES:,}"]
    return []


def _parts(content: Any) -> Sequence[Any]:
    """Of what a file held."""
    return (
        list(content.values()) if isinstance(content, Mapping) else content if isinstance(content, list | tuple) else ()
    )


def _children(node: yaml.Node) -> list[yaml.Node]:
    """Of what a file says."""
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _place(node: yaml.Node) -> str:
    return f" (line {_line(node)})"


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _problems_of(node: yaml.Node, location: tuple[str | int, ...]) -> Iterator[str]:
    """One line for each of a node's problems."""
    if isinstance(node, yaml.MappingNode):
        yield from _problems_of_keys(node, location)
        for key, value in node.value:
            yield from _problems_of(value, (*location, str(key.value) if isinstance(key, yaml.ScalarNode) else "?"))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _problems_of(value, (*location, index))
    elif (reading := _surprise(node)) is not None:
        yield f"{written_key(location) or 'the whole file'}: found `{_shown(node)}`, which YAML reads as {reading} (line {_line(node)})"
    if node.tag not in _TAGS and _surprise(node) is None:
        yield f"{written_key(location) or 'the whole file'}: the tag `{node.tag}` is not known here (line {_line(node)})"


def _problems_of_keys(node: yaml.MappingNode, location: tuple[str | int, ...]) -> Iterator[str]:
    first: dict[str, int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            yield f"{written_key((*location, '?'))}: a list or mapping stands where a key is expected (line {_line(key)})"
            continue
        shown, line = written_key((*location, key.value or "?")), _line(key)
        if key.tag not in (_TEXT, _MERGE):
            text = _shown(key)
            cure = f'quote it: "{text}"' if text else "write the key before the colon"
            yield f"{shown}: YAML reads the key `{text}` as {_reading(key)}, and keys are text: {cure} (line {line})"
        elif key.value in first:
            cure = "give both in one list: <<: [*a, *b]" if key.tag == _MERGE else "keep one"
            yield f"{shown}: given twice, in lines {first[key.value]} and {line}; {cure}"
        first.setdefault(key.value, line)


def _shown(node: yaml.ScalarNode) -> str:
    text = node.value if node.value.isprintable() else ascii(node.value)[1:-1]
    return text if len(text) <= 80 else f"{text[:77]}..."


def _reading(node: yaml.ScalarNode) -> str:
    """What YAML 1.1 makes of a text, in words."""
    kind = str(node.tag).rpartition(":")[2]
    if kind == "bool":
        return str(yaml.SafeLoader.bool_values[node.value.lower()]).lower()
    return {"null": "null", "timestamp": "a date", "int": "a number", "float": "a number"}.get(kind, kind)


def _surprise(node: yaml.Node) -> str | None:
    """What a plain text is to YAML 1.1 that it is to nobody else, with the cure; None where there is no such surprise."""
    if not isinstance(node, yaml.ScalarNode) or node.style is not None:
        return None
    text, kind = node.value, str(node.tag).rpartition(":")[2]
    if kind == "timestamp":
        return f'a date; quote it: "{text}"'
    if kind == "int" and _OCTAL.fullmatch(text):
        return (
            f'the octal number {int(text.replace("_", ""), 8)}; write that, or quote it where text is meant: "{text}"'
        )
    if kind in ("int", "float") and _BASE_60.fullmatch(text):
        parts = [float(part) for part in text.lstrip("+-").replace("_", "").split(":")]
        value = math.fsum(part * 60**place for place, part in enumerate(reversed(parts)))
        return f'the number {value:g} to base 60; write that, or quote it where text is meant: "{text}"'
    if kind == "int" and len(text) > 4000:
        return "a number of thousands of digits"
    return None
