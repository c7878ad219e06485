import pytest

from quorate.argo.runs.runs import degraded, place
from quorate.argo.runs.submit import DATA, arguments, submit, submit_from
from quorate.argo.runs.upload import bucket_of
from quorate.cli.arguments import pairs
from quorate.errors import InputError, SpecError
from quorate.spec import EnsembleSpec

TEMPLATE = {
    "metadata": {"name": "street"},
    "spec": {
        "arguments": {
            "parameters": [
                {"name": "cvat-annotation-path"},
                {"name": "cvat-output-path", "value": "quorate"},
                {"name": "ensemble-option", "value": "wbf", "enum": ["consensus", "wbf"]},
            ]
        }
    },
}


def test_only_what_is_given_is_sent():
    found = arguments(TEMPLATE, data="s3://a/b/", parameters={"ensemble-option": "consensus"})
    assert found == {"ensemble-option": "consensus", "cvat-annotation-path": "s3://a/b/"}
    assert arguments(TEMPLATE, data="a/", out="x")["cvat-output-path"] == "x"


@pytest.mark.parametrize(
    ("given", "says", "hint"),
    [
        ({}, "needs a value for cvat-annotation-path", "--data"),
        ({"data": "a", "parameters": {"ensemble-opton": "wbf"}}, "no parameter 'ensemble-opton'",
         "did you mean 'ensemble-option'"),
        ({"data": "a", "parameters": {"ensemble-option": "wfb"}}, "none of consensus, wbf",
         "did you mean 'wbf'"),
        ({"data": "a", "parameters": {"cvat-annotation-path": "b"}}, "say the same thing", ""),
        ({"data": "a", "out": "s3://b/c"}, "cluster's own bucket", "--out NAME"),
    ],
)  # fmt: skip
def test_parameters_that_cannot_be(given, says, hint):
    with pytest.raises(InputError, match=says) as error:
        arguments(TEMPLATE, **given)
    assert hint in (error.value.hint or "")


def test_a_template_without_parameters_says_so():
    bare = {"metadata": {"name": "bare"}, "spec": {}}
    assert arguments(bare) == {}
    with pytest.raises(InputError) as error:
        arguments(bare, data="a")
    assert error.value.hint == "it has none"


@pytest.mark.parametrize("given", ["wbf", "=wbf", "a=1 a=2"])
def test_a_parameter_is_a_name_and_a_value(given):
    with pytest.raises(InputError):
        pairs("-p", given.split(), "NAME=VALUE")


def test_a_value_may_hold_anything():
    assert pairs("-p", ["a=b=c", "d="], "NAME=VALUE") == {"a": "b=c", "d": ""}


def spec(folder, **more):
    detector = {"name": "a", "kind": "onnx", "weights": str(folder / "a.onnx")}
    return EnsembleSpec.model_validate({"name": "x", "detectors": [detector], **more})


def test_data_on_this_machine_is_refused_before_anything_is_asked(tmp_path):
    class Asked:
        def __getattr__(self, name):
            raise AssertionError(name)

    for given in ({"data": str(tmp_path)}, {}):
        with pytest.raises(SpecError, match="is on this machine") as error:
            submit(spec(tmp_path, data=str(tmp_path)), Asked(), **given)
        assert "--upload" in error.value.hint


@pytest.mark.parametrize(
    "data",
    ["pool", "pool/*.jpg", "pool/a.jpg", "./elsewhere", "../x", "/nowhere/x", "C:\\x", "file:///x"],
)
def test_whatever_is_no_key_of_the_bucket_is_refused_at_submission(tmp_path, monkeypatch, data):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool/a.jpg").touch()
    for run in (
        lambda: submit(spec(tmp_path), None, data=data),
        lambda: submit_from(Known(), "parts", data=data),
        lambda: submit_from(Known(), "parts", parameters={DATA: data}),
    ):
        with pytest.raises(SpecError, match="machine, where no pod can read it") as error:
            run()
        assert "s3://BUCKET/KEY" in error.value.hint


class Known:
    """A cluster that has one template, and takes what it is given."""

    namespace = "n"

    def template(self, name):
        return {"metadata": {"name": name}, "spec": {"arguments": {"parameters": [{"name": DATA}]}}}

    def create(self, workflow):
        return {"metadata": {"name": "run"}} | workflow["spec"]["arguments"]


@pytest.mark.parametrize("data", ["pictures/val", "pictures/*.jpg", "s3://b/*.jpg", "a.zip"])
def test_keys_of_the_bucket_are_given_on(tmp_path, monkeypatch, data):
    monkeypatch.chdir(tmp_path)
    assert submit_from(Known(), "parts", data=data).name == "run"


def test_the_bucket_is_the_specs_or_the_environments(tmp_path, monkeypatch):
    monkeypatch.delenv("QUORATE_BUCKET", raising=False)
    with pytest.raises(SpecError, match="bucket must be known"):
        bucket_of(spec(tmp_path))
    monkeypatch.setenv("QUORATE_BUCKET", "there")
    assert bucket_of(spec(tmp_path)) == "there"
    assert bucket_of(spec(tmp_path, workflow={"bucket": "mine"})) == "mine"


def test_where_the_results_are():
    workflow = {
        "status": {
            "artifactRepositoryRef": {"artifactRepository": {"s3": {"bucket": "pool"}}},
            "outputs": {"parameters": [{"name": "degraded", "value": "true"}]},
            "nodes": {
                "1": {"phase": "Failed", "outputs": {"artifacts": [
                    {"name": "results", "s3": {"key": "broken"}}]}},
                "2": {"phase": "Succeeded", "outputs": {"artifacts": [
                    {"name": "main-logs", "s3": {"key": "log"}},
                    {"name": "results", "s3": {"key": "argo/quorate/x/results/"}}]}},
            },
        }
    }  # fmt: skip
    assert place(workflow) == "s3://pool/argo/quorate/x/results/"
    assert degraded(workflow)
    assert place({"status": {}}) is None
    assert not degraded({})
