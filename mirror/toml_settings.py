"""Settings from a TOML file: all problems at once, each with its key and the fix.

Mirror and proxy have files of their own, read the same way.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from mirror.errors import ConfigError

_MAX_CONFIG_BYTES: Final = 16 * 1024 * 1024
Model = TypeVar("Model", bound=BaseModel)


def read_text(path: Path, advice: str) -> str:
    """The file; ``advice`` is for those who have none.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(_MAX_CONFIG_BYTES).decode("utf-8")
    except FileNotFoundError:
        raise ConfigError([f"{path}: no such file; {advice}"]) from None
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: not UTF-8 text: {error}"]) from error


def tables(text: str, origin: str) -> dict[str, Any]:
    """What TOML text says; ``origin`` names it in errors.

    Raises:
        ConfigError: it is no TOML.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{origin}: not TOML: {error}"]) from error


def validated(
    model: type[Model], content: dict[str, Any], origin: str, further: Sequence[str] = ()
) -> Model:
    """The settings; ``further`` are problems that were found elsewhere.

    Raises:
        ConfigError: something is wrong; every problem is listed.
    """
    problems = list(further)
    try:
        settings = model.model_validate(content)
    except ValidationError as error:
        problems = [*(_describe(model, detail) for detail in error.errors()), *problems]
    if problems:
        raise ConfigError([f"{origin}: {problem}" for problem in problems])
    return settings


def _describe(model: type[BaseModel], detail: ErrorDetails) -> str:
    """One problem: the key, what is wrong, and the fix."""
    key = _key(detail["loc"])
    match detail["type"]:
        case "extra_forbidden":
            return f"{key}: no such setting{_did_you_mean(model, detail['loc'])}"
        case "missing":
            return f"{key}: missing; add it"
        case "setting":
            return f"{key}: {detail['msg']}" if key else detail["msg"]
        case _:
            return f"{key}: {detail['msg'][:1].lower()}{detail['msg'][1:]}, not {detail['input']!r}"


def _key(location: tuple[int | str, ...]) -> str:
    key = ""
    for part in location:
        key += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if key else part
    return key


def _did_you_mean(model: type[BaseModel], location: tuple[int | str, ...]) -> str:
    table = model
    for part in location[:-1]:
        table = _table(table, part) or table
    known = [field.alias or name for name, field in table.model_fields.items()]
    close = difflib.get_close_matches(str(location[-1]), known, 1)
    return f"; did you mean {close[0]}?" if close else f"; there are: {', '.join(known)}"


def _table(model: type[BaseModel], name: int | str) -> type[BaseModel] | None:
    """The table below a key, be it one or a list of them; None for a position in a list."""
    field = model.model_fields.get(str(name))
    return _model_in(field.annotation) if field is not None else None


def _model_in(annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401 - whatever a type is
    is_class = isinstance(annotation, type) and get_origin(annotation) is None
    if is_class and issubclass(annotation, BaseModel):
        table: type[BaseModel] = annotation
        return table
    return next((found for each in get_args(annotation) if (found := _model_in(each))), None)
