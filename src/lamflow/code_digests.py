"""Digests of the code that a job runs, over syntax trees: comments, docstrings and layout do not count."""

from __future__ import annotations

import ast
import atexit
import hashlib
import importlib.util
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from lamflow.caches import cache_folder
from lamflow.kept_answers import KeptAnswers

RERUNS_NOTHING = "It tells whether an artefact is made again, not what it is."
"""A module that says this of itself, and why, is in no other module's code digest: what it decides reaches stages as values, which are
among their params, or changes none of their results. Rules whose tables it decides have its own digest among their params."""
_MARK = "RERUNS_NOTHING"


@cache
def source_of(module: str) -> Path | None:
    """The file of a module of lamflow, or of a package that has a component of its own, found without importing it."""
    package, *parts = module.split(".")
    roots = [Path(__file__).parent]
    if package != "lamflow":
        found = importlib.util.find_spec(package)
        if found is None or not found.submodule_search_locations:
            return Path(found.origin) if found and found.origin and not parts else None
        roots = list(map(Path, found.submodule_search_locations))  # a namespace package has several
    for root in roots:
        for candidate in (
            root.joinpath(*parts).with_suffix(".py") if parts else root,
            root.joinpath(*parts, "__init__.py"),
        ):
            if candidate.is_file():
                return candidate
    return None


class _WithoutDocstrings(ast.NodeTransformer):
    """Drops docstrings, which like comments change nothing that runs."""

    def visit(self, node: ast.AST) -> ast.AST:
        self.generic_visit(node)
        body = getattr(node, "body", None)
        if isinstance(body, list):
            kept = [statement for statement in body if not _is_text(statement)]
            node.body = kept or ([ast.Pass()] if body else [])  # type: ignore[attr-defined]
        return node


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


_Function = ast.FunctionDef | ast.AsyncFunctionDef


def _is_field(node: ast.stmt) -> bool:
    """Whether a statement of a settings group is a field or a validator, not a method that computes with its values, nor a constant."""
    if isinstance(node, _Function):
        return any("validator" in ast.unparse(decorator) for decorator in node.decorator_list)
    return isinstance(node, ast.AnnAssign) and "ClassVar" not in ast.unparse(node.annotation)


def _is_group(node: ast.ClassDef) -> bool:
    """Whether a class is a settings group, by the names of its bases; any other class computes."""
    bases = [ast.unparse(base).split("[")[0].rpartition(".")[2] for base in node.bases]
    return any(base.endswith("Settings") or base in ("Component", "BaseModel") for base in bases)


def _names_in(nodes: Iterable[ast.AST]) -> set[str]:
    return {node.id for part in nodes for node in ast.walk(part) if isinstance(node, ast.Name)}


def _set_by(node: ast.stmt) -> set[str]:
    """The names that an assignment gives values to."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return _names_in(targets)


def _names_but_defaults(tree: ast.Module) -> set[str]:
    """The names in a module of settings, without those that stand in its fields' defaults and descriptions alone."""
    groups = [node for node in tree.body if isinstance(node, ast.ClassDef) and _is_group(node)]
    fields = [part for group in groups for part in group.body if isinstance(part, ast.AnnAssign) and _is_field(part)]
    skipped = {name for field in fields if field.value for name in ast.walk(field.value)}
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and node not in skipped}


def _formulas_of_settings(tree: ast.Module) -> ast.Module:
    """What a module of settings computes: its functions, the methods and constants of its groups, its other classes and statements, and
    the constants that any of these come to.

    Fields, their defaults, choices and descriptions are no part, nor are validators: a stage gets the values, which are among its params.
    """
    constants, kept = [], []
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            constants.append(node)
            continue
        if isinstance(node, ast.Import | ast.ImportFrom) or _is_text(node):
            continue
        if isinstance(node, ast.ClassDef) and _is_group(node):
            node.body = [part for part in node.body if not _is_field(part) and not _is_text(part)]
            if all(isinstance(part, ast.Pass) for part in node.body):
                continue
        kept.append(node)
    named, before = _names_in(kept), set[str]()
    while named != before:
        before = named
        named = before | _names_in(constant for constant in constants if _set_by(constant) & before)
    return ast.Module([*(constant for constant in constants if _set_by(constant) & named), *kept], [])


def _definition(tree: ast.Module, path: str) -> ast.Module:
    """What ``Class.function`` of a module runs of that module: this function, and the definitions that it comes to.

    Of a class that it comes to by name, or as an attribute of its own, the special functions and those that are named anywhere in what
    is kept. A function that the class inherits is in its bases. Imports are those whose names are used. ValueError when there is no such
    class.
    """
    owner, _, name = path.partition(".")
    statements = [node for node in tree.body if not _is_text(node)]
    named, before = {owner, name}, set[str]()
    if not any(isinstance(node, ast.ClassDef) and node.name == owner for node in statements):
        raise ValueError(f"found no class {owner}")
    while named != before:
        before = named
        named = before | {word for node in statements for part in _kept(node, before) for word in _words_in(part)}
    body: list[ast.stmt] = []
    for node in statements:
        if isinstance(node, ast.ClassDef):
            node.body = [part for part in _kept(node, named) if isinstance(part, ast.stmt)]
            if node.name in named:
                body.append(node)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            node.names = [alias for alias in node.names if (alias.asname or alias.name).split(".")[0] in named]
            body += [node] if node.names else []
        else:
            body += [node] if _kept(node, named) else []
    return ast.Module(body, [])


def _kept(node: ast.stmt, named: set[str]) -> list[ast.AST]:
    """What counts of a statement of a module, where ``named`` are the words of all that counts."""
    if isinstance(node, ast.ClassDef):
        if node.name not in named:
            return []
        return [
            part
            for part in node.body
            if not isinstance(part, _Function) or part.name in named or part.name.startswith("__")
        ] + [*node.bases, *node.decorator_list]
    if isinstance(node, _Function):
        return [node] if node.name in named else []
    if isinstance(node, ast.Import | ast.ImportFrom):
        return []
    if isinstance(node, ast.Assign | ast.AnnAssign):
        return [node] if _set_by(node) & named else []
    return [node]


def _words_in(node: ast.AST) -> set[str]:
    """The names and attributes in a part of a tree."""
    names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
    return names | {part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)}


def _finds_modules_by_name(node: ast.AST) -> bool:
    """Whether this is a call of ``import_module`` whose argument is computed."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "import_module"
        and not isinstance(node.args[0], ast.Constant)
    )


class ParsedModule(NamedTuple):
    """``digest`` of a module's syntax tree; ``imported``: the lamflow modules that it imports, also inside functions; ``is_registry``:
    whether it finds more by name; ``counts``: whether it is a part of the digests of those that import it."""

    digest: str
    imported: tuple[str, ...]
    is_registry: bool
    counts: bool


@cache
def parsed_module(module: str) -> ParsedModule:
    """What a digest needs of a module, or of ``module:Class.function``, found without importing it."""
    module, _, part = module.partition(":")
    path = source_of(module)
    assert path is not None, module
    source, is_package = path.read_bytes(), path.name == "__init__.py"
    facts = _remembered(source, module, part, is_package=is_package, is_settings=path.stem.endswith("settings"))
    packages = {"lamflow", module.split(".")[0]}
    ours = [name for name in facts.imported if name.split(".")[0] in packages and source_of(name)]
    return facts._replace(imported=tuple(ours))


def _read(source: bytes, module: str, part: str, *, is_package: bool, is_settings: bool) -> ParsedModule:
    """The facts of a module, or of a part of it, with all that it imports."""
    tree = ast.parse(source)
    if part:
        tree = _definition(tree, part)
    used = _names_but_defaults(tree) if is_settings else None
    imported: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names if used is None or (alias.asname or alias.name) in used]
            if names:
                package = module if is_package else module.rpartition(".")[0]
                origin = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
                imported.update([origin, *(f"{origin}.{name}" for name in names)])
    # What a component of another package finds by name is for it to say; its digest is that of what it imports.
    is_registry = module.startswith("lamflow.") and any(map(_finds_modules_by_name, ast.walk(tree)))
    counts = not any(
        isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == _MARK
        for node in tree.body
    )
    if is_settings:
        tree = _formulas_of_settings(tree)
    digest = hashlib.sha256(ast.dump(_WithoutDocstrings().visit(tree)).encode()).hexdigest()
    return ParsedModule(digest, tuple(sorted(imported - {"lamflow"})), is_registry, counts)


# Reading all modules takes a second of every command, so what was read is kept, by what it was read from. -----------------------------


def _remembered(source: bytes, module: str, part: str, *, is_package: bool, is_settings: bool) -> ParsedModule:
    """``_read``, or what it answered to another process."""
    key = hashlib.sha256(f"{module} {part} {is_package} {is_settings} ".encode() + source).hexdigest()
    kept = memory()
    if key not in kept:
        kept[key] = _read(source, module, part, is_package=is_package, is_settings=is_settings)
        kept.is_new = True
    return kept[key]


def _parsed(kept: Any) -> ParsedModule:
    digest, imported, is_registry, counts = kept
    return ParsedModule(str(digest), tuple(map(str, imported)), bool(is_registry), bool(counts))


@cache
def memory() -> KeptAnswers[ParsedModule]:
    """Facts of modules; those of this Python and this file, which decide what ``_read`` answers."""
    folder = cache_folder("code")
    reader = hashlib.sha256(sys.version.encode() + Path(__file__).read_bytes()).hexdigest()[:16]
    kept = KeptAnswers(folder / f"{reader}.json" if folder else None, _parsed)
    atexit.register(kept.save)
    return kept


Choices = frozenset[tuple[str, str | None]]
"""Pairs of a registry, which is a module that finds others by name, and a module that it finds for the job at hand, None for nothing."""


@cache
def code_digest(module: str, choices: Choices = frozenset(), components: frozenset[str] = frozenset()) -> str:
    """Digest of a lamflow module, the modules of ``components``, and all that they import of lamflow and of their own package, except
    modules that say ``RERUNS_NOTHING``. A component may be a function of a class, ``package.module:Class.function``: of its module
    counts what this function comes to.

    Where these come to a registry, they go on to what ``choices`` say of it, and to nothing else: the code of other choices does not
    count. Of a module of settings its formulas count, and not its fields. The digest is taken over syntax trees without docstrings:
    comments and layout do not count. ValueError when there is no such module, SyntaxError when one does not parse.
    """
    if source_of(module) is None:
        expected = Path(__file__).parent.joinpath(*module.split(".")[1:]).with_suffix(".py")
        raise ValueError(f"code digest of {module}: no such module; expected the file {expected}")
    for component in sorted(components):
        if source_of(component.partition(":")[0]) is None:
            raise ValueError(
                f"code digest of {module}: no source file of the component {component}; expected a module of Python"
            )
    seen: dict[str, str] = {}
    pending = [module, *components]
    while pending:
        name = pending.pop()
        parsed = parsed_module(name)
        if name in seen or not (parsed.counts or name == module):
            continue
        seen[name] = parsed.digest
        chosen = [found for registry, found in choices if registry == name]
        assert chosen or not parsed.is_registry, f"code digest of {module}: what {name} finds by name is not said"
        pending.extend([*parsed.imported, *filter(None, chosen)])
    joined = "".join(f"{name}:{seen[name]}" for name in sorted(seen))
    return hashlib.sha256(joined.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Code:
    """The code that a job runs: its stage's module, what its environment chooses, and the modules of the components that it builds."""

    stage: str
    choices: Choices = frozenset()
    components: frozenset[str] = frozenset()

    @property
    def digest(self) -> str:
        """See ``code_digest``."""
        return code_digest(self.stage, self.choices, self.components)
