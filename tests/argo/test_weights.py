import pytest

from quorate.argo.rendering.files import as_in_pods, weights
from quorate.detectors.container import ContainerDetector
from quorate.detectors.darknet import DarknetDetector
from quorate.detectors.torch.transformers import TransformersDetector
from quorate.errors import SpecError
from tests.argo.test_template import artifacts, detector, ensemble, templates


def test_weights_in_the_repositorys_bucket_come_as_artifacts():
    given = ensemble(detector())
    found = artifacts(templates(given)["detect-one"])["weights"]
    assert found["s3"] == {"key": "one.onnx"}
    assert (
        found["path"] == as_in_pods(given).detectors[0].weights == "/scratch/weights/one/one.onnx"
    )


def test_weights_elsewhere_in_s3_are_read_by_the_step():
    """Argo would look for them in the repository's own bucket, without a word."""
    given = ensemble(detector().model_copy(update={"weights": "s3://elsewhere/one.onnx"}))
    assert "weights" not in artifacts(templates(given)["detect-one"])
    assert as_in_pods(given).detectors == given.detectors


def test_a_folder_is_a_key_that_ends_in_a_slash():
    detr = TransformersDetector(name="detr", weights="s3://models/detr")
    found = artifacts(templates(ensemble(detr))["detect-detr"])["weights"]
    assert found["s3"] == {"key": "detr/"}
    assert found["path"] == "/scratch/weights/detr/detr"


def test_every_file_of_a_detector_comes():
    darknet = DarknetDetector(
        name="dark",
        cfg="s3://models/y.cfg",
        weights="s3://models/y.weights",
        names="s3://models/coco.names",
    )
    given = ensemble(darknet)
    found = artifacts(templates(given)["detect-dark"])
    assert {found[name]["path"] for name in ("cfg", "weights", "names")} == {
        "/scratch/weights/dark/y.cfg",
        "/scratch/weights/dark/y.weights",
        "/scratch/weights/dark/coco.names",
    }
    assert as_in_pods(given).detectors[0].names == "/scratch/weights/dark/coco.names"


def test_two_files_of_one_name_are_refused():
    darknet = DarknetDetector(
        name="dark", cfg="s3://models/a/y", weights="s3://models/b/y", names=("car",)
    )
    with pytest.raises(SpecError, match="two of its files are called y"):
        weights(ensemble(darknet), darknet)


@pytest.mark.parametrize("location", ["models/one.onnx", "/models/one.onnx"])
def test_weights_on_this_machine_are_nowhere_a_pod_can_read(location):
    local = detector().model_copy(update={"weights": location})
    with pytest.raises(SpecError) as caught:
        weights(ensemble(local), local)
    assert "on this machine" in caught.value.message
    assert "`--upload`, of submit and of render" in caught.value.hint


def test_a_container_that_is_not_ours_has_no_keys_for_another_bucket():
    legacy = ContainerDetector(name="legacy", image="mmdet:3", weights="s3://elsewhere/x.pth")
    with pytest.raises(SpecError, match="not in the cluster's own bucket"):
        weights(ensemble(legacy), legacy)


def test_pictures_on_this_machine_stay_out_of_the_template():
    assert as_in_pods(ensemble(detector(), data="pool/")).data is None
