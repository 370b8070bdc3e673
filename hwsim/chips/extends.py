"""Architecture files that extend another: only what differs stands in the file.

Mappings are merged key by key; anything else replaces what stood there. A number never keeps the origin of another one:
where a value differs, its file must state ``source`` and ``confidence``, and neither the note nor the bound of the old
number is taken over; unit and scope are, since they say what is counted, not where it comes from. A chip is never
called as another one: name and title must be the file's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from neurodeploy.errors import InvalidInputError, MissingFileError
from neurodeploy.files.atomic import existing_file, storage_errors

Content = dict[str, Any]
OWN = ("name", "title", "description")
"""Never taken over from the chip that is extended."""
ORIGIN = ("source", "confidence", "note", "bound")
"""What is said about a number, and holds for that number only."""


def is_path(text: str) -> bool:
    """Whether a chip is named by its file."""
    return "/" in text or "\\" in text or text.endswith((".yaml", ".yml"))


LARGEST = 100_000
"""Values in a file; the largest of ours has some 600."""


def read(path: Path) -> Content:
    """Return what a description file says, as it stands there.

    Raises:
        InvalidInputError: it is not YAML, says a key twice, or is not a mapping.
    """
    import yaml

    with storage_errors("read", path):
        data = path.read_bytes()
    try:
        # libyaml's loader where it is there: ten times faster, and each compilation reads its chip's file.
        content: Any = yaml.load(data, Loader=_loader())
    except InvalidInputError as error:
        raise error.again(f"{path}: {error.what}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise InvalidInputError(
            f"{path} is not valid YAML", found=" ".join(str(error).split()), hint="compare with archs/loihi1.yaml"
        ) from error
    if (size := _written_out(content, {})) > LARGEST:
        raise InvalidInputError(
            f"{path} is too large for an architecture file",
            found=f"{min(size, 10**12):,} values or more once its aliases are written out",
            allowed=f"{LARGEST:,} values",
            hint="write the values where they stand, without aliases of aliases",
        )
    if not isinstance(content, dict):
        raise InvalidInputError(
            f"{path} is not an architecture file", found=type(content).__name__, allowed="a mapping"
        )
    return content


@cache
def _loader() -> Any:
    """A safe loader that refuses a key that stands twice in a mapping, where YAML's takes the last without a word."""
    import yaml

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):  # type: ignore[misc]
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            lines: dict[tuple[str, str], int] = {}
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                    line = key.start_mark.line + 1
                    if first := lines.get((key.tag, key.value)):
                        raise InvalidInputError(
                            f"the key {key.value!r} stands twice in one mapping",
                            found=f"lines {first} and {line}",
                            allowed="each key once",
                            hint="remove one of them",
                        )
                    lines[key.tag, key.value] = line
            return super().construct_mapping(node, deep)

    return Loader


def _written_out(value: object, known: dict[int, int]) -> int:
    """How many values there are if every alias is written out; nothing is."""
    if id(value) not in known:
        parts = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else ()
        known[id(value)] = LARGEST + 1  # an alias of itself has no end
        known[id(value)] = 1 + sum(_written_out(part, known) for part in parts)
    return known[id(value)]


def base_of(path: Path, base: object, folder: Path, above: Iterable[Path]) -> Path:
    """Return the file that a file extends.

    Args:
        path: the file.
        base: its ``extends``: the name of a chip in ``folder``, or a path, beside the file unless absolute.
        above: the files that extend this one, outermost first.

    Raises:
        MissingFileError: there is no such file.
        InvalidInputError: an unknown chip, or a file that extends itself.
    """
    names = sorted(p.stem for p in folder.glob("*.yaml"))
    if not isinstance(base, str) or not base:
        raise InvalidInputError(
            f"{path}: extends cannot be used",
            found=repr(base)[:80],
            allowed="the name of one chip, or the path of its .yaml",
        )
    if not is_path(base):
        if base not in names:
            raise InvalidInputError(
                f"{path} extends an unknown chip",
                found=base,
                allowed=", ".join(names),
                hint="give one of these names, or a path (./chip.yaml), which counts from this file",
            )
        return folder / f"{base}.yaml"
    try:
        found = existing_file(path.parent / base, "an architecture file (.yaml)")
    except MissingFileError as error:
        raise MissingFileError(
            f"{path} extends a file that cannot be used",
            found=error.what,
            allowed="an architecture file (.yaml)",
            hint="the path counts from the folder of the file that extends",
        ) from error
    chain = [*above, path, found]
    if found.resolve() in {p.resolve() for p in chain[:-1]}:
        raise InvalidInputError(
            f"{path} extends itself",
            found=" -> ".join(p.name for p in chain),
            allowed="a chain that ends at a file without extends",
        )
    return found


def merged(base: Mapping[str, Any], own: Mapping[str, Any], path: Path) -> Content:
    """Return what a file says, on top of what it extends.

    Args:
        base: the content of the file that it extends, in which everything stands.
        own: the content of the file at ``path``.

    Raises:
        InvalidInputError: no name or title of its own, or a changed number without an origin.
    """
    taken = {"name": [base["name"], *base.get("extends", ())], "title": [base["title"]]}
    for key in taken:
        if not own.get(key) or own[key] in taken[key]:
            raise InvalidInputError(
                f"{path} extends {base['name']} and needs a {key} of its own",
                found=repr(own[key]) if own.get(key) else "nothing",
                hint=f"add {key}: ..., so that no report takes it for {base[key]!r}",
            )
    kept = {key: value for key, value in base.items() if key not in (*OWN, "extends")}
    content = _merge(kept, {key: value for key, value in own.items() if key != "extends"}, path, ())
    content.setdefault("description", f"{base['title']}, but for {', '.join(_changed(base, own)) or 'its name'}.")
    content["extends"] = [base["name"], *base.get("extends", ())]
    return content


def _merge(base: Mapping[str, Any], own: Mapping[str, Any], path: Path, where: tuple[str, ...]) -> Content:
    result, changed = dict(base), []
    for key, new in own.items():
        old = base.get(key)
        if isinstance(new, dict) and isinstance(old, dict):
            result[key] = _merge(old, new, path, (*where, str(key)))
        else:
            result[key] = new
            if key not in ORIGIN and (key not in base or new != old):
                changed.append(str(key))
    if "source" not in base:
        if "note" in base and "note" not in own and result != base:
            del result["note"]
        return result
    if not changed and own.get("source", base["source"]) != base["source"]:
        changed.append("source")
    if changed:
        _states_its_origin(changed, base, own, path, ".".join(where))
        gone = [key for key in ("confidence", "note", "bound") if key not in own]
        gone += ["included_in"] if "value" in changed and "included_in" not in own else []
        for key in gone:
            result.pop(key, None)
    return result


def _states_its_origin(
    changed: list[str], base: Mapping[str, Any], own: Mapping[str, Any], path: Path, where: str
) -> None:
    """Refuse a number that differs from the base's and does not say where it comes from."""
    value = own.get("value", base.get("value", ""))
    needed = ["source"] if value is None else ["source", "confidence"]
    if "unit" in changed and "value" in base:
        needed.insert(0, "value")
    missing = [key for key in needed if not own.get(key) and not (key == "value" and "value" in own)]
    if missing:
        raise InvalidInputError(
            f"{path}: {where} changes {' and '.join(changed)} without its own {' and '.join(missing)}",
            found=", ".join(f"{key}: {own.get(key)!r}"[:80] for key in changed),
            allowed=f"with another {changed[0]} also {' and '.join(needed)}: those of the chip that it extends are of "
            "another number",
            hint="say where it comes from (source), and whether that is measured, simulated, derived or assumed "
            "(confidence)",
        )


def _changed(base: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    """The figures that a file states, for people: ``energy.spike_out``."""
    found = []
    for key, value in own.items():
        if key in (*OWN, "extends", "format", "version"):
            continue
        below = isinstance(value, dict) and isinstance(base.get(key), dict) and "source" not in base[key]
        found += [f"{key}.{name}" for name in value] if below else [str(key)]
    return found
