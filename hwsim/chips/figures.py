"""The kinds of figure in a description file: a number never stands without its unit, source and confidence."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from neurodeploy.errors import InvalidInputError, did_you_mean

Text = Annotated[str, Field(min_length=1)]


def _no_path(name: str) -> str:
    if "/" in name or "\\" in name:
        raise ValueError("a name without slashes, since files are called after it")
    return name


Name = Annotated[Text, AfterValidator(_no_path)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Confidence = Literal["measured", "simulated", "derived", "assumed"]


class Model(BaseModel):
    """Frozen, and no key that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Figure(Model):
    """A number with its origin.

    Args:
        value: not negative.
        unit: of the value.
        source: paper and table, or program and version.
        confidence: ``specified`` is what the maker states or its software fixes.
        note: what the number leaves out.
    """

    value: NonNegative
    unit: Text
    source: Text
    confidence: Confidence | Literal["specified"]
    note: str = ""


class Limit(Figure):
    """A whole number that a core, tile or register cannot exceed; as `Figure`, from 0 on."""

    value: Annotated[int, Field(ge=0)]


class Price(Model):
    """The energy (pJ), time (ns, or cycles of a clock) or power (mW) of one thing; None where nobody published it.

    Args:
        value: of one of it, in ``unit``, not negative.
        unit: pJ, ns, cycles or mW.
        source: paper and table, or program and version.
        confidence: where there is a value.
        scope: ``per-op`` for the operation alone, ``incremental`` over idle power, ``all-in`` with everything included.
        bound: what the source says the value is.
        included_in: the component whose price contains this one; the value is None then.
        note: what the number leaves out, or why there is none.
    """

    value: NonNegative | None
    unit: Text
    source: Text
    confidence: Confidence | None = None
    scope: Literal["per-op", "incremental", "all-in"] = "per-op"
    bound: Literal["nominal", "minimum", "maximum"] = "nominal"
    included_in: str = ""
    note: str = ""

    @model_validator(mode="after")
    def _explained(self) -> Price:
        if self.included_in and self.value is not None:
            raise ValueError(f"a price contained in {self.included_in} cannot have a value of its own")
        if self.value is not None and self.confidence is None:
            raise ValueError("a price needs a confidence: measured, simulated, derived or assumed")
        if self.value is None and not self.note and not self.included_in:
            raise ValueError("a missing price (value: null) needs a note that says why")
        return self


def _in(*units: str) -> AfterValidator:
    def check(item: Price) -> Price:
        if item.unit not in units:
            raise ValueError(f"the unit must be {' or '.join(units)}, not {item.unit}")
        return item

    return AfterValidator(check)


Energy = Annotated[Price, _in("pJ")]
Time = Annotated[Price, _in("ns", "cycles")]
Power = Annotated[Price, _in("mW")]


def refusal(path: str, error: ValidationError, kinds: Iterable[type[Model]], example: str) -> InvalidInputError:
    """The first problem of a file, a key that it should not have before all others, as file, field, found and allowed.

    Args:
        path: the file, for people.
        error: what pydantic found in it.
        kinds: of which such a file is made, whose keys a misspelt one may have meant.
        example: a file to compare with.
    """
    problems = error.errors(include_url=False)
    # a key that is missing may stand there misspelt, so that what stands there wrongly says more
    first = next((one for one in problems if one["type"] == "extra_forbidden"), problems[0])
    field = ".".join(str(part) for part in first["loc"]) or "the file as a whole"
    message = first["msg"].removeprefix("Value error, ")
    whole = first["type"] in ("missing", "value_error")
    found = "nothing" if first["type"] == "missing" else None if whole else repr(first["input"])[:80]
    if first["type"] == "extra_forbidden":
        found = field.rsplit(".", 1)[-1]
        known = [key for kind in kinds for key in kind.model_fields]
        message = f"no such key here; check the spelling{did_you_mean(found, known)}"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return InvalidInputError(
        f"{path}: {field} cannot be used{more}",
        found=found,
        allowed=message,
        hint=f"every figure needs value, unit, source and confidence; see {example}",
    )
