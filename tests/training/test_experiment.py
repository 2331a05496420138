"""What an experiment is made of can be changed by name, and nothing can be misspelt in silence."""

import dataclasses
import json

import pytest

from veridical.errors import UsageError
from veridical.training.experiment import list_experiments, list_settings, load_experiment, with_changes

NPR = load_experiment("npr_shared")


def test_fields_fields_of_parts_and_settings_are_told_apart() -> None:
    changed = with_changes(
        NPR,
        ["epochs=3", "lr=1", "augmentation.crop=64", "input.size=128", "normalise=false", "data=here/x.csv"],
    )
    assert (changed.loop.epochs, changed.loop.lr, changed.data) == (3, 1.0, "here/x.csv")
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
    with pytest.raises(UsageError, match="no 'depth' to set"):
        with_changes(NPR, ["depth=3"])
    with pytest.raises(UsageError, match="cannot be built"):
        dataclasses.replace(NPR, settings={"depth": 3}).build()


@pytest.mark.parametrize(
    ("name", "assignment", "hint"),
    [("npr_shared", "copies=2", "fit=head"), ("clip_linear", "tune=norm", "fit=loop")],
)
def test_a_name_of_the_other_kind_of_fit_is_refused_with_the_kind(
    name: str, assignment: str, hint: str
) -> None:
    with pytest.raises(UsageError, match="to set") as caught:
        with_changes(load_experiment(name), [assignment])
    assert hint in str(caught.value.hint)


def test_the_other_kind_of_fit_keeps_the_steps_and_takes_its_own_names_in_any_order() -> None:
    changed = with_changes(load_experiment("clip_linear"), ["tune=lora:4", "epochs=3", "fit=loop"])
    assert (changed.loop.tune, changed.loop.epochs, changed.loop.weight_decay) == ("lora:4", 3, 1e-2)
    with pytest.raises(UsageError, match="not a network"):
        assert load_experiment("clip_linear").loop
    with pytest.raises(UsageError, match="more than a head"):
        assert NPR.head
    with pytest.raises(UsageError, match="one of loop, head"):
        with_changes(NPR, ["fit=forest"])


@pytest.mark.parametrize(
    ("name", "assignments"),
    [
        ("npr_shared", ["momentum=0.5"]),
        ("npr_shared", ["schedule=cosine", "patience=2"]),
        ("clip_linear", ["inverse_penalty=0.1"]),
        ("clip_aligned", ["epochs=3"]),
    ],
)
def test_what_would_be_ignored_is_refused(name: str, assignments: list[str]) -> None:
    with pytest.raises(UsageError, match="means nothing to"):
        with_changes(load_experiment(name), assignments)


@pytest.mark.parametrize("name", list_experiments())
def test_every_setting_that_is_listed_can_be_set_to_what_it_is(name: str) -> None:
    experiment = load_experiment(name)
    listed = list_settings(experiment)
    assert {"seed", "fit", "input.size", "augmentation.crop"} < listed.keys()
    changed = with_changes(experiment, [f"{key}={json.dumps(value)}" for key, value in listed.items()])
    assert json.dumps(list_settings(changed)) == json.dumps(listed)
    assert changed.fit == experiment.fit
    assert changed.augmentation == experiment.augmentation


@pytest.mark.parametrize("name", list_experiments())
def test_every_experiment_tells_its_method_and_its_command(name: str) -> None:
    import importlib

    document = importlib.import_module(f"veridical.training.experiments.{name}").__doc__ or ""
    experiment = load_experiment(name)
    assert f"veridical train {name}" in document
    assert experiment.name == name
    assert experiment.paper.url.startswith("https://")
    assert experiment.input.size >= experiment.input.align
