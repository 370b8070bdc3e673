"""The registry and the text form of a pipeline."""

from dataclasses import replace

import pytest

from neurodeploy import passes
from neurodeploy.errors import InvalidInputError
from neurodeploy.network.registers import LOIHI
from neurodeploy.passes import PassData
from neurodeploy.passes.quantise.quantise import Quantise
from neurodeploy.program.limits import Limits


def test_a_pipeline_with_options() -> None:
    steps = passes.parse("split-signs, quantise{rounding=nearest thresholds=8, headroom=1.5},fine-tune{samples=4}")
    assert [s.name for s in steps] == ["split-signs", "quantise", "fine-tune"]
    assert steps[1].build() == Quantise(rounding="nearest", thresholds=8, headroom=1.5)
    assert passes.parse("quantise{thresholds=any}")[0].options == {"thresholds": "any"}
    assert passes.parse("") == ()


def test_passes_get_what_they_need_of_the_chip() -> None:
    limits = Limits("mine", 1, 8, thresholds=3, registers=replace(LOIHI, weight_bits=5))
    assert PassData(limits=limits).registers.weight_bits == 5
    assert PassData().registers is LOIHI
    assert Quantise()._thresholds(limits) == 3
    assert Quantise()._thresholds(None) == Quantise()._thresholds(replace(limits, thresholds=None)) == 1
    assert Quantise(thresholds=2)._thresholds(limits) == 2
    assert Quantise(thresholds="any")._thresholds(limits) is None


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
