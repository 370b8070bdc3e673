"""The registry and the text form of a pipeline."""

import pytest

from neurodeploy import passes
from neurodeploy.errors import InvalidInputError
from neurodeploy.passes.quantise.quantise import Quantise


def test_a_pipeline_with_options() -> None:
    steps = passes.parse("split-signs, quantise{rounding=nearest thresholds=8, headroom=1.5},fine-tune{samples=4}")
    assert [s.name for s in steps] == ["split-signs", "quantise", "fine-tune"]
    assert steps[1].build({}) == Quantise(rounding="nearest", thresholds=8, headroom=1.5)
    assert passes.parse("quantise{thresholds=any}")[0].options == {"thresholds": None}
    assert passes.parse("") == ()


def test_a_pass_takes_the_data_it_has_fields_for() -> None:
    data = {"calibration": {"": 1}, "labels": 2, "teacher": 3}
    assert passes.parse("quantise")[0].build(data) == Quantise(calibration={"": 1})  # type: ignore[dict-item]
    assert passes.parse("split-signs")[0].build(data) == passes.get("split-signs")()


@pytest.mark.parametrize("name", passes.names())
def test_every_pass_is_named_as_its_file_and_has_options_that_can_be_written(name: str) -> None:
    factory = passes.get(name)
    assert factory.name == name
    assert factory.__module__.endswith(name.replace("-", "_"))
    assert "calibration" not in passes.options_of(name), "data are not options"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothing", "no such pass"),
        ("quantise{rounding=up}", "option rounding of pass 'quantise' cannot have this value"),
        ("quantise{thresholds=1.5}", "option thresholds of pass 'quantise' cannot have this value"),
        ("quantise{colour=red}", "pass 'quantise' has no such option"),
        ("quantise{calibration=x}", "pass 'quantise' has no such option"),
        ("split-signs{deep=true}", "pass 'split-signs' has no such option"),
        ("quantise{", "not a pipeline of passes"),
        ("quantise fine-tune", "not a pipeline of passes"),
    ],
)
def test_refusals(text: str, message: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        passes.parse(text)
    assert message in str(caught.value)
    assert caught.value.found
    assert caught.value.allowed
