"""Forms: from a template's parameters and its annotation to what is submitted."""

import json
from pathlib import Path

import pytest
import yaml

from quorate.companion.forms import Field, FormError, Template
from quorate.companion.running import Running
from quorate.companion.settings import Settings
from quorate.companion.store import Result, Store
from quorate.companion.templates import of
from quorate.companion.web.app import Companion
from quorate.errors import SpecError
from tests.companion.visitor import Visitor, answering
from tests.cvat.server import TOKEN

SHIPPED = Path(__file__).parents[2] / "workflows/ensemble/template.yaml"
HINT = '<script>alert("x")</script> & <b>bold</b>'


def pools(label):
    return ("big", "small") if label is None else (f"{label}-1", f"{label}-2")


def template(parameters, form=None, **annotations):
    if form is not None:
        annotations["quorate/form"] = form if isinstance(form, str) else json.dumps(form)
    return {
        "metadata": {"name": "train", "annotations": annotations},
        "spec": {"arguments": {"parameters": parameters}},
    }


def fields(*given, **more):
    return {one.name: one for one in of(template(*given, **more), pools).asked}


def test_the_shipped_template_asks_what_a_person_knows():
    shipped = of(yaml.safe_load(SHIPPED.read_text(encoding="utf-8")), pools)
    assert (shipped.title, shipped.trains) == ("Ensemble ensemble", False)
    assert "2 of 3 detectors must finish" in shipped.description
    asked = {one.name: one for one in shipped.asked}
    own = ["dump-format", "ensemble-option", "shard-size", "one-pod"]
    assert list(asked) == [*own, "@replace", "@tracks"]
    assert asked["dump-format"].widget == "select"
    assert asked["dump-format"].options[0] == "CVAT for images 1.1"
    assert asked["ensemble-option"].value == "consensus"
    assert set(shipped.checked({})) >= {"cvat-annotation-path", "cvat-output-path"}


def test_widgets_labels_and_visibility_come_from_the_annotation():
    parameters = [
        {"name": "rounds", "value": "3"},
        {"name": "pool"},
        {"name": "kind", "enum": ["a", "b"], "value": "b"},
        {"name": "script", "value": "one\ntwo"},
        {"name": "secret", "value": "s3"},
        {"name": "inner", "value": "x"},
        {"name": "fast", "value": ""},
        {"name": "plain", "description": HINT},
        {"name": "cvat-task-id"},
        {"name": "cvat-num-classes"},
    ]
    form = {
        "rounds": {"type": "input.number", "displayName": "Rounds", "required": True},
        "pool": {"type": "select.nodepool"},
        "secret": {"visibility": "private"},
        "inner": {"visibility": "internal"},
        "fast": {"type": "checkbox"},
        "plain": {"required": False},
    }
    found = of(template(parameters, form), pools)
    asked = {one.name: one for one in found.asked}
    assert list(asked) == [
        "rounds",
        "pool",
        "kind",
        "script",
        "fast",
        "plain",
        "@replace",
        "@tracks",
    ]
    assert {name: one.widget for name, one in asked.items()} == {
        "rounds": "number", "pool": "nodepool", "kind": "select", "script": "textarea",
        "fast": "checkbox", "plain": "text", "@replace": "checkbox",
        "@tracks": "checkbox",
    }  # fmt: skip
    assert asked["rounds"].shown == "Rounds"
    assert asked["pool"].options == ("big", "small")
    assert asked["pool"].required
    assert not asked["plain"].required
    assert asked["plain"].hint == HINT
    assert found.trains
    values = found.checked({"pool": "small", "rounds": "4.5", "script": " a\r\nb "})
    assert (values["secret"], values["inner"], values["script"]) == ("s3", "x", "a\nb")
    by_label = fields([{"name": "pool"}], {"pool": {"type": "nodepool", "label": "gpu"}})
    assert by_label["pool"].options == ("gpu-1", "gpu-2")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"unknown": "1"}, "has no field 'unknown'"),
        ({"secret": "mine"}, "has no field 'secret'"),
        ({"pool": "tiny"}, "'tiny' is not among"),
        ({"pool": ""}, "pool: is needed"),
        ({"rounds": "1e999"}, "is no number"),
        ({"rounds": "1_0"}, "is no number"),
        ({"rounds": "٣"}, "is no number"),
        ({"plain": "a\nb"}, "is one line"),
        ({"plain": "x" * 1001}, "longer than 1,000"),
        ({"script": "x" * 20_001}, "longer than 20,000"),
    ],
)
def test_answers_that_do_not_fit(given, said):
    found = Template("t", "T", "", "here", (
        Field("pool", widget="nodepool", options=("big", "small"), required=True),
        Field("rounds", widget="number", value="1"),
        Field("plain"), Field("script", widget="textarea"),
        Field("secret", value="s", visibility="private"),
    ))  # fmt: skip
    with pytest.raises(FormError, match=said):
        found.checked({"pool": "big"} | given)


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("- a list", "expected keys with values"),
        ("rounds: {type: [", "not valid YAML"),
        ({"rouns": {"type": "number"}}, "names a parameter 'rouns' that is not there"),
        ({"rounds": {"typ": "number"}}, "an unknown key 'typ'"),
        ({"rounds": {"type": "slider"}}, "has the type 'slider'"),
        ({"rounds": {"visibility": "secret"}}, "has the visibility 'secret'"),
        ({"rounds": "number"}, "has no keys"),
        ("a: &x {hint: y}\nb: *x", "no aliases"),
    ],
)
def test_an_annotation_that_is_wrong_is_named(form, said):
    with pytest.raises(SpecError, match=said) as error:
        of(template([{"name": "rounds", "value": "1"}], form), pools)
    assert "quorate/form" in str(error.value)


class Trainer:
    """A runner of the tests' own: it learns from what is drawn, and notes what it was given."""

    at_once, survives = 1, False

    def __init__(self):
        parameters = [{"name": "cvat-num-classes"}, {"name": "plain", "value": HINT}]
        form = {"plain": {"displayName": HINT, "hint": HINT}}
        self.template, self.given = of(template(parameters, form), pools), []

    def templates(self):
        return [self.template]

    def check(self, template, values): ...

    def carry_out(self, work):
        self.given.append(work.run.values)
        work.run.result = Result()


def test_training_on_few_shapes_is_asked_about(cvat, task, tmp_path):
    settings = Settings(cvat=cvat.url, few_shapes=3)
    store, trainer = Store(tmp_path / "db"), Trainer()
    running = Running(store, cvat.url, {"cluster": trainer})
    with answering(Companion(settings, running).application()) as url:
        visitor = Visitor(url)
        visitor.send("/sign-in", {"token": TOKEN})
        path = f"/tasks/{task}/start/train"
        visitor.get(path)
        assert "<script>alert" not in visitor.page
        assert HINT in visitor.text.replace("  ", " ") or "<b>bold</b>" in visitor.text
        cvat.draw(task, frame=0, label_id=min(cvat.labels), points=[1.0, 2, 3, 4])
        visitor.send(path, {"p.plain": "x"})
        assert visitor.status == 422
        assert "that is little: 1 shapes, fewer than 3" in visitor.text
        assert 'value="x"' in visitor.page
        assert trainer.given == []
        visitor.send(path, {"p.plain": "x", "sure": "yes"})
        visitor.ended(visitor.path.removeprefix("/runs/"))
        assert [one["plain"] for one in trainer.given] == ["x"]
        for n in range(3):
            cvat.draw(task, frame=n, label_id=min(cvat.labels), points=[1.0, 2, 3, 4])
        visitor.get(path).send(path, {"p.plain": "y"})
        assert visitor.path.startswith("/runs/")
        visitor.ended(visitor.path.removeprefix("/runs/"))
    running.close()
    store.close()
