"""One picture in, a label out: what a classification ensemble says, and when it does not."""

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from quorate import ClassificationEnsemble, OnnxClassifier, read_ensemble
from quorate.errors import DetectorError, ImageError, LabelError, QuorumError, SpecError
from quorate.labels import Labels
from tests.classifiers.models import COLOURS, colours, logits, plain, softmax

PICTURE = plain(200, 180, 50)


@pytest.fixture
def ensemble(tmp_path):
    def made(**more):
        options = {"scale": 1 / 255}
        one = colours(tmp_path / "one.onnx")
        two = colours(tmp_path / "two.onnx", end="none", bias=(0, 1.5, 0))
        return ClassificationEnsemble(
            name="colours",
            classifiers=(
                OnnxClassifier(name="one", weights=one, **options),
                OnnxClassifier(name="two", weights=two, **options),
            ),
            **more,
        )

    return made


def test_a_picture_gets_the_label_of_the_largest_sum(ensemble):
    with ensemble().load() as loaded:
        said = loaded.look(PICTURE)
    first, second = softmax(logits(PICTURE)), softmax(logits(PICTURE, bias=(0, 1.5, 0)))
    mean = (first + second) / 2
    assert (said.label, said.index, said.category_id) == ("green", 1, 2)
    assert said.probability == pytest.approx(mean[1], abs=1e-5)
    assert said.of("one") == pytest.approx(first, abs=1e-5)
    assert [one.label for one in said.top()] == ["green", "red", "blue"]
    assert said.votes == 1
    assert said.failed == {}
    assert loaded.labels == Labels.from_names(COLOURS)


def test_every_form_of_a_picture_gives_the_same_bits(ensemble, tmp_path):
    image = Image.fromarray(PICTURE)
    data = io.BytesIO()
    image.save(data, "PNG")
    (tmp_path / "p.png").write_bytes(data.getvalue())
    with ensemble().load() as loaded:
        forms = [PICTURE, image, data.getvalue(), tmp_path / "p.png", str(tmp_path / "p.png")]
        tables = [loaded.look(one).table for one in forms]
        many = loaded.look_many(forms)
        with ThreadPoolExecutor(4) as pool:
            tables += [one.table for one in pool.map(loaded.look, forms * 3)]
    for table in (*tables, *(one.table for one in many)):
        assert (table.probabilities == tables[0].probabilities).all()
        assert (table.of_members == tables[0].of_members).all()
    assert [one.table.image_id.tolist() for one in many] == [[0], [1], [2], [3], [4]]


def test_words_are_renamed_and_those_of_one_label_add_up(ensemble):
    spec = ensemble(labels=("warm", "cold"))
    warm = {"labels": {"red": "warm", "green": "warm", "blue": "cold"}}
    spec = spec.model_copy(
        update={"classifiers": tuple(one.model_copy(update=warm) for one in spec.classifiers)}
    )
    with spec.load() as loaded:
        said = loaded.look(PICTURE)
    first = softmax(logits(PICTURE))
    assert said.of("one") == pytest.approx([first[0] + first[1], first[2]], abs=1e-5)
    assert said.label == "warm"
    with pytest.raises(SpecError, match="no label is called 'warm', labels are hot"):
        ensemble(labels=("hot",)).model_copy(
            update={
                "classifiers": (OnnxClassifier(name="x", weights="x.onnx", labels={"red": "warm"}),)
            }
        )
    with pytest.raises(LabelError, match="No label of classifier 'one'"):
        ensemble(labels=("hot",)).load()


def test_a_failing_classifier_costs_its_vote_and_below_the_quorum_there_is_no_answer(ensemble):
    told = []
    with ensemble(quorum=1).load(on_failure=lambda *said: told.append(said)) as loaded:
        broken = loaded._voters[1].says.predictor

        class Broken:
            labels = broken.labels

            def predict(self, pictures):
                raise DetectorError("the card is on fire")

        object.__setattr__(loaded._voters[1].says, "predictor", Broken())
        said = loaded.look(PICTURE)
        assert said.degraded
        assert said.members == ("one",)
        assert said.failed == {"two": "picture 0: the card is on fire"}
        assert told == [("two", "picture 0: the card is on fire")]
        assert said.label == "red"
        object.__setattr__(loaded.ensemble, "quorum", 2)
        with pytest.raises(QuorumError, match="1 of 2 classifiers succeeded, need 2: two: picture"):
            loaded.look(PICTURE)


@pytest.mark.parametrize(
    "answer", [np.full((1, 3), np.nan), np.full((1, 3), 2.0), np.zeros((1, 2)), np.zeros(3)]
)
def test_what_a_plug_in_may_not_answer_costs_its_vote(ensemble, answer):
    with ensemble(quorum=1).load(on_failure=lambda *said: None) as loaded:

        class Wrong:
            labels = COLOURS

            def predict(self, pictures):
                return answer

        object.__setattr__(loaded._voters[0].says, "predictor", Wrong())
        assert loaded.look(PICTURE).members == ("two",)


def test_what_is_no_picture_is_an_error(ensemble):
    with ensemble().load() as loaded, pytest.raises(ImageError):
        loaded.look(b"no picture")


def test_a_spec_file_is_read_as_what_it_describes(tmp_path, ensemble):
    spec = ensemble(fusion={"method": "weighted", "weights": {"one": 2}})
    path = tmp_path / "spec.yaml"
    path.write_text(spec.to_yaml())
    assert read_ensemble(path) == spec
    path.write_text(spec.to_yaml().replace("kind: ClassificationEnsemble\n", "", 1))
    assert read_ensemble(path) == spec
    from quorate import DetectionEnsemble

    with pytest.raises(SpecError, match="describes a ClassificationEnsemble; what was asked for"):
        DetectionEnsemble.from_yaml(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"fusion": "weighted"}, "fusion: write `weights"),
        (
            {"fusion": {"method": "sum", "weights": {"oen": 2}}},
            "no classifier is called 'oen', did",
        ),
        ({"fusion": "vote"}, "expected sum, mean, weighted, majority, product or max"),
        ({"fusion": {"method": "max", "weights": {}}}, "there is no such key"),
        ({"quorum": 3}, "a quorum of 3 of 2 classifiers cannot be had"),
    ],
)
def test_a_wrong_spec_says_what_is_meant(ensemble, change, said):
    with pytest.raises(SpecError, match=said):
        ensemble(**change)
