"""What an experiment is made of can be changed by name, and nothing can be misspelt in silence."""

import pytest

from veridical.errors import UsageError
from veridical.training.experiment import list_experiments, load_experiment, with_changes

NPR = load_experiment("npr_shared")


def test_fields_fields_of_parts_and_settings_are_told_apart() -> None:
    changed = with_changes(
        NPR,
        ["epochs=3", "lr=1", "augmentation.crop=64", "input.size=128", "normalise=false", "data=here/x.csv"],
    )
    assert (changed.epochs, changed.lr, changed.data) == (3, 1.0, "here/x.csv")
    assert (changed.augmentation.crop, changed.input.size) == (64, 128)
    assert changed.settings == {"normalise": False}
    assert NPR.settings == {}


@pytest.mark.parametrize(
    ("assignment", "says"),
    [
        ("epochs", "not name=value"),
        ("epochs=many", "is a int"),
        ("augmentation.corp=3", "Did you mean 'crop'"),
    ],
)
def test_what_cannot_be_set_is_said(assignment: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        with_changes(NPR, [assignment])


def test_a_setting_that_the_architecture_does_not_know_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="cannot be built"):
        with_changes(NPR, ["depth=3"]).build()


@pytest.mark.parametrize("name", list_experiments())
def test_every_experiment_tells_its_method_and_its_command(name: str) -> None:
    import importlib

    document = importlib.import_module(f"veridical.training.experiments.{name}").__doc__ or ""
    experiment = load_experiment(name)
    assert f"veridical train {name}" in document
    assert experiment.name == name
    assert experiment.paper.url.startswith("https://")
    assert experiment.input.size >= experiment.input.align
