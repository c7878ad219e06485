"""`quorate run` of a classification ensemble: files, figures, resuming, partial failure."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from quorate import ClassificationEnsemble, OnnxClassifier, read
from quorate.annotations import Kind
from quorate.classifications import Classifications
from quorate.cli import main
from quorate.errors import QuorumError, SpecError
from quorate.notifications import counts_of
from quorate.steps import ClassSummary, Work
from quorate.steps.summary import summary_of
from tests.classifiers.models import COLOURS, colours, plain

PLAIN = {"scale": 1 / 255}


def levels():
    """Of twelve pictures: a folder that tells the truth, and a colour that does not always."""
    rng = np.random.default_rng(0)
    for i in range(12):
        truth = COLOURS[i % 2]
        base = (180, 120, 60) if truth == "red" else (120, 180, 60)
        yield f"{truth}/{i:02d}.png", np.clip(np.array(base) + rng.integers(-60, 60, 3), 0, 255)


@pytest.fixture
def folder(tmp_path):
    pool = tmp_path / "pool"
    for name, colour in levels():
        (pool / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(plain(*colour)).save(pool / name)
    (pool / "red" / "bad.png").write_bytes(b"no picture")
    colours(tmp_path / "one.onnx")
    colours(tmp_path / "two.onnx", end="none", bias=(0, 1.0, 0))
    colours(tmp_path / "three.onnx", strength=3.0)
    return tmp_path


def ensemble(folder, *names, **more):
    names = names or ("one", "two", "three")
    return ClassificationEnsemble(
        name="colours",
        data=str(folder / "pool"),
        classifiers=tuple(
            OnnxClassifier(name=name, weights=str(folder / f"{name}.onnx"), **PLAIN)
            for name in names
        ),
        **more,
    )


def lines(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def same_files(one, other):
    wanted = sorted(p.relative_to(one) for p in one.rglob("*") if p.is_file())
    wanted = [p for p in wanted if p.parts[0] != "work"]
    found = sorted(p.relative_to(other) for p in other.rglob("*") if p.is_file())
    assert wanted == [p for p in found if p.parts[0] != "work"]
    for path in wanted:
        assert (one / path).read_bytes() == (other / path).read_bytes(), path


def test_a_run_gives_what_a_look_at_each_picture_gives(folder):
    spec = ensemble(folder, publish={"formats": ["cvat", "csv", "coco"]})
    summary = spec.run(out=folder / "out")
    work = Work(folder / "out/work")
    table = Classifications.from_parquet(work.fused(0) / Classifications.FILE)
    images = work.images(0).images
    assert [i.file_name for i in images] == sorted(name for name, _ in levels())
    with spec.load() as loaded:
        many = loaded.look_many([folder / "pool" / image.file_name for image in images])
    for row, said in enumerate(many):
        assert (said.table.probabilities[0] == table.probabilities[row]).all()
        assert (said.table.of_members[0] == table.of_members[row]).all()
    rows = lines(folder / "out/csv/labels.csv")
    assert [row["file_name"] for row in rows] == [image.file_name for image in images]
    for row, said in zip(rows, many, strict=True):
        assert (row["label"], int(row["index"])) == (said.label, said.index)
        assert float(row["probability"]) == pytest.approx(said.probability, abs=1e-6)
        assert row["label_3"] == said.top()[2].label
        assert "label_4" not in row
        assert row["two"] == said.top_of("two")[0].label
        assert int(row["votes"]) == said.votes
    assert summary.counts == {n: [s.label for s in many].count(n) for n in COLOURS if n != "blue"}
    assert [one.file_name for one in summary.skipped] == ["red/bad.png"]


def test_accuracy_is_measured_against_folders_and_against_tags(folder, tmp_path):
    spec = ensemble(folder, publish={"formats": ["cvat", "csv"]})
    summary = spec.run(out=folder / "out")
    assert summary.truth == "the names of the pictures' folders"
    rows = lines(folder / "out/csv/labels.csv")
    right = [row["file_name"].startswith(row["label"]) for row in rows]
    assert 0 < sum(right) < 12
    assert summary.ensemble.accuracy == pytest.approx(sum(right) / 12)
    assert summary.ensemble.top5 is None  # of three labels
    own = [row["file_name"].startswith(row["two"]) for row in rows]
    assert summary.classifiers[1].accuracy == pytest.approx(sum(own) / 12)

    # What it published as tags is the truth of the next run, in which the ensemble is then right.
    shutil.copy(folder / "out/cvat/annotations.xml", folder / "pool/annotations.xml")
    again = spec.run(out=folder / "again")
    assert again.truth == "the tags of the data set"
    assert again.ensemble.accuracy == 1
    shutil.rmtree(folder / "pool/red")
    (folder / "pool/annotations.xml").unlink()
    (folder / "pool/green").rename(folder / "pool/verdant")
    assert ensemble(folder).run(out=folder / "third").ensemble.accuracy is None


def test_the_tags_are_read_back_by_us_and_the_json_by_datumaro(folder):
    spec = ensemble(
        folder,
        publish={"formats": ["cvat", "coco"], "review": "disagreement", "review_share": 0.25},
    )
    summary = spec.run(out=folder / "out")
    shutil.copytree(folder / "out/cvat", folder / "task")
    found = read(folder / "task")
    assert (found.annotations.kind == Kind.TAG).all()
    review = found.labels.id_of("review")
    doubtful = found.annotations.take(found.annotations.category_id == review)
    assert len(doubtful) == 3
    names = {image.id: image.name for image in found.images}
    hardest = {names[i] for i in doubtful.image_id.tolist()}
    assert hardest == set(summary.review[:3])
    tags = found.annotations.take(found.annotations.category_id != review)
    assert len(tags) == 12
    assert set(tags.attributes) >= {"votes", "score"}
    for label in json.loads((folder / "out/cvat/labels.json").read_text()):
        attributes = [one["name"] for one in label["attributes"]]
        assert label["type"] == "tag"
        wanted = ["disagreement"] if label["name"] == "review" else ["votes", "confidence"]
        assert attributes == wanted

    datumaro = pytest.importorskip("datumaro")
    shutil.copytree(folder / "pool", folder / "out/coco/images")  # it asks for them
    theirs = datumaro.Dataset.import_from(str(folder / "out/coco"), "coco_labels")
    categories = theirs.categories()[datumaro.AnnotationType.label]
    said = {
        item.id: categories[item.annotations[0].label].name for item in theirs if item.annotations
    }
    labels = {
        names[i].rpartition(".")[0]: found.labels.name_of(c)
        for i, c in zip(tags.image_id.tolist(), tags.category_id.tolist(), strict=True)
    }
    assert said == labels
    scores = json.loads((folder / "out/coco/annotations/labels_default.json").read_text())
    assert all(0 < one["score"] <= 1 for one in scores["annotations"])
    assert set(scores["annotations"][0]) == {"id", "image_id", "category_id", "score"}


def test_the_same_again_changes_no_byte_and_a_new_rule_asks_no_classifier(folder, monkeypatch):
    formats = {"formats": ["cvat", "csv", "coco"]}
    ensemble(folder, publish=formats).run(out=folder / "out")
    shutil.copytree(folder / "out", folder / "before")
    ensemble(folder, publish=formats).run(out=folder / "out")
    same_files(folder / "before", folder / "out")
    ensemble(folder, publish=formats).run(out=folder / "fresh", workers=1)
    same_files(folder / "before", folder / "fresh")

    from quorate.classifiers.predictor import TensorClassPredictor

    def never(self, pictures):
        raise AssertionError("it is asked again")

    monkeypatch.setattr(TensorClassPredictor, "predict", never)
    rule = ensemble(folder, publish=formats, fusion="product")
    assert rule.run(out=folder / "out").method == "product"


def test_new_pictures_are_looked_at_and_the_others_are_not(folder, monkeypatch):
    from quorate.classifiers.predictor import TensorClassPredictor

    ensemble(folder).run(out=folder / "out")
    Image.fromarray(plain(10, 20, 200)).save(folder / "pool/red/99.png")
    seen = []
    real = TensorClassPredictor.predict

    def counted(self, pictures):
        seen.append(len(pictures))
        return real(self, pictures)

    monkeypatch.setattr(TensorClassPredictor, "predict", counted)
    ensemble(folder).run(out=folder / "out")
    assert sum(seen) == 3  # one picture, three classifiers
    ensemble(folder).run(out=folder / "fresh")
    same_files(folder / "fresh", folder / "out")


def test_a_failing_classifier_costs_its_vote_and_is_named(folder, monkeypatch):
    from quorate.classifiers.predictor import TensorClassPredictor

    real = TensorClassPredictor.predict

    def fails(self, pictures):
        if self.spec.name == "two":
            raise RuntimeError("out of paper")
        return real(self, pictures)

    monkeypatch.setattr(TensorClassPredictor, "predict", fails)
    summary = ensemble(folder).run(out=folder / "out")
    assert summary.degraded
    assert "out of paper" in summary.classifiers[1].failed
    assert summary.classifiers[1].pictures == 0
    rows = lines(folder / "out/csv/labels.csv")
    assert {row["two"] for row in rows} == {""}
    page = (folder / "out/report.html").read_text()
    assert "Degraded: decided by <bdi>one</bdi> and <bdi>three</bdi>." in page
    with pytest.raises(QuorumError, match="2 of 3 classifiers succeeded, need 3: two: "):
        ensemble(folder, quorum=3).run(out=folder / "other")
    counts = counts_of(summary)
    assert counts.found == "12 labels"
    assert [voter.failed != "" for voter in counts.voters] == [False, True, False]


def test_a_least_probability_leaves_labels_out_everywhere(folder):
    spec = ensemble(folder, publish={"formats": ["cvat", "coco", "csv"], "min_probability": 0.7})
    summary = spec.run(out=folder / "out")
    rows = lines(folder / "out/csv/labels.csv")
    sure = [row for row in rows if float(row["probability"]) >= 0.7]
    assert 0 < len(sure) < 12
    assert summary.published == len(sure)
    xml = (folder / "out/cvat/annotations.xml").read_text()
    assert xml.count("<tag ") == len(sure)
    coco = json.loads((folder / "out/coco/annotations/labels_default.json").read_text())
    assert len(coco["annotations"]) == len(sure)
    assert len(coco["images"]) == 12
    assert any("less probable than 0.7" in note for note in summary.notes)


def test_the_report_needs_no_script_and_shows_whatever_names_hold(folder):
    names = ("red", "green", '<script>alert("x")</script>')
    spec = ensemble(folder, "one", "two", labels=names)
    renamed = tuple(
        one.model_copy(update={"labels": {"blue": names[2]}}) for one in spec.classifiers
    )
    spec.model_copy(update={"classifiers": renamed}).run(out=folder / "out")
    page = (folder / "out/report.html").read_text()
    assert "script-src 'none'" in page
    assert "<script" not in page
    assert "The ensemble labels <em>" in page
    assert page.count("<figure>") == 12


def test_the_command_line_runs_checks_and_steps_it(folder, capsys):
    spec = folder / "spec.yaml"
    spec.write_text(ensemble(folder, publish={"formats": ["csv"]}, labels=COLOURS).to_yaml())
    assert main(["check", str(spec)]) == 0
    assert "by its numbers for two made pictures" in capsys.readouterr().out
    assert main(["check", str(spec), "--try", str(folder / "pool/red/00.png"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [row["classifier"] for row in said] == ["one", "two", "three", "ensemble"]
    assert main(["run", str(spec), "-o", str(folder / "out")]) == 0
    said = capsys.readouterr()
    assert "accuracy" in said.out
    assert "published: 12 labels" in said.err
    work, out = str(folder / "steps/work"), str(folder / "steps")
    assert main(["step", "prepare", str(spec), "--work", work, "--method", "mean"]) == 0
    for name in ("one", "two", "three"):
        step = ["step", "detect", str(spec), "--work", work, "--shard", "0", "--detector", name]
        assert main(step) == 0
    resolved = f"{work}/spec.yaml"
    assert main(["step", "publish", resolved, "--work", work, "-o", out]) == 0
    one, other = (folder / name / "csv/labels.csv" for name in ("out", "steps"))
    assert one.read_bytes() == other.read_bytes()
    assert isinstance(summary_of((folder / "steps/summary.json").read_bytes()), ClassSummary)


@pytest.mark.parametrize("command", [["tune", "--fit", "x"], ["calibrate", "--fit", "x"]])
def test_commands_for_boxes_say_that_they_are(folder, capsys, command):
    spec = folder / "spec.yaml"
    spec.write_text(ensemble(folder).to_yaml())
    assert main([command[0], str(spec), *command[1:]]) == 2
    assert "describes a ClassificationEnsemble; what was asked for takes a DetectionEnsemble" in (
        capsys.readouterr().err
    )


def test_conformance_is_refused_and_an_unknown_method_too(folder, capsys):
    spec = folder / "spec.yaml"
    spec.write_text(ensemble(folder).to_yaml())
    assert main(["check", str(spec), "--conformance"]) == 2
    work = str(folder / "w")
    assert main(["step", "prepare", str(spec), "--work", work, "--method", "wbf"]) == 2
    assert "there are sum, mean, weighted, majority, product, max" in capsys.readouterr().err
    with pytest.raises(SpecError):
        ensemble(folder, publish={"formats": ["voc"]})
