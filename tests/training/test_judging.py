"""Who is better, what a newcomer adds to an ensemble, and what is written of it."""

import csv
import json
import math
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import yaml

from quorate.detections import Detections
from quorate.errors import QuorateError, SpecError, TrainingError
from quorate.evaluation.coco import evaluate
from quorate.evaluation.compare import Interval
from quorate.formats.whole_pictures import csv_line
from quorate.spec import Consensus, EnsembleSpec
from quorate.spec.training import Training
from quorate.steps import Work
from quorate.steps.fuse import decide_boxes
from quorate.training.card import card
from quorate.training.contract import Event, detector_of
from quorate.training.curves import charts, csv_of, tensorboard
from quorate.training.judging import Judged, of_voters
from quorate.training.plan import plan
from quorate.training.whole import train
from quorate.training.work import TrainingWork
from quorate.tuning.labelled import labelled
from tests.training.pictures import spoilt, squares, trainer


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A weak detector, learnt on its own, that is the ensemble which others may join."""
    root = tmp_path_factory.mktemp("weak")
    data = squares(root / "data", 80)
    training = Training(
        name="weak", data=str(data), trainers=[trainer("weak", epochs=3)], compare={"samples": 0}
    )
    work = TrainingWork(root / "out")
    train(training, work)
    weak = detector_of(work.trainer("weak").out, name="weak")
    spec = EnsembleSpec(name="weak", detectors=[weak], fusion={"method": "wbf", "iou": 0.4})
    (root / "ensemble.yaml").write_text(spec.to_yaml())
    return root


@pytest.fixture(scope="module")
def done(trained, tmp_path_factory):
    root = tmp_path_factory.mktemp("squares")
    training = Training(
        name="squares",
        data=str(squares(root / "data", 120, seed=1)),
        trainers=[
            trainer("slow", epochs=40, hyperparameters={"learning_rate": 0.004}),
            trainer("linear", epochs=60),
            trainer("bad", hyperparameters={"fail": "out of luck"}),
        ],
        split={"validation": 0.15, "test": 0.25},
        compare={"ensemble": str(trained / "ensemble.yaml"), "samples": 200, "worst": 5},
        licence="CC-BY-4.0",
    )
    return TrainingWork(root / "out"), training, train(training, TrainingWork(root / "out"))


def test_the_better_one_is_told_and_how_surely(done):
    work, _, result = done
    judged = result.judged
    assert (judged.part, len(judged.dataset.images)) == ("test", 30)
    assert judged.best == "linear"
    alone = judged.alone
    assert alone["linear"].metrics.ap > alone["slow"].metrics.ap > 0.1
    gap = alone["slow"].ap_difference
    assert gap.value < 0
    assert gap.certain
    values = json.loads((work.root / "results.json").read_text())
    assert [one["name"] for one in values["trainers"]] == ["slow", "linear", "bad"]
    assert values["trainers"][1]["ap"] == alone["linear"].metrics.ap
    assert values["trainers"][2] == {
        "name": "bad", "seconds": 0.0, "failed": "bad ended with status 1: out of luck",
    }  # fmt: skip


def test_a_newcomer_that_raises_the_ensemble_joins_it(done):
    work, _, result = done
    judged = result.judged
    base = judged.rounds[0]["ensemble"].metrics.ap
    assert judged.rounds[0]["ensemble + linear"].metrics.ap > base
    assert judged.raises("linear").certain
    assert judged.joins[0] == "linear"
    joined = EnsembleSpec.from_yaml(work.root / "ensemble.yaml")
    assert [one.name for one in joined.detectors] == ["weak", "linear"]
    for one in joined.detectors:
        assert one.load().labels == ("red", "green")


def test_the_ensemble_is_measured_without_those_that_may_join_it(trained, tmp_path):
    spec = EnsembleSpec.from_yaml(trained / "ensemble.yaml")
    # A box needs more than half of the votes: one of one, but two of three.
    spec = spec.model_copy(update={"fusion": Consensus(iou=0.4)})
    (tmp_path / "ensemble.yaml").write_text(spec.to_yaml())
    training = Training(
        name="squares",
        data=str(trained / "data"),
        trainers=[trainer("one", epochs=1), trainer("two", epochs=1, seed=1)],
        compare={"ensemble": str(tmp_path / "ensemble.yaml"), "samples": 0},
    )
    work = TrainingWork(tmp_path / "out")
    judged = train(training, work).judged
    alone = labelled(spec.model_copy(update={"data": str(work.held_out)}), Work(tmp_path / "own"))
    own = evaluate(decide_boxes(alone.found, spec, alone.dataset.labels), alone.dataset)
    assert own.ap > 0
    assert judged.rounds[0]["ensemble"].metrics.ap == own.ap


def test_newcomers_join_while_each_raises_the_ensemble_beside_those_before_it(trained, tmp_path):
    half = {"epochs": 60}
    training = Training(
        name="squares",
        data=str(trained / "data"),
        trainers=[
            spoilt("reds", "sed -i s/green/other/ detector.json", **half),
            spoilt("greens", "sed -i s/red/other/ detector.json", **half),
            spoilt("reds-again", "sed -i s/green/other/ detector.json", **half),
        ],
        compare={"ensemble": str(trained / "ensemble.yaml"), "samples": 200},
    )
    work = TrainingWork(tmp_path / "out")
    done = train(training, work)
    judged = done.judged
    first, second = judged.joins
    assert {first, second} in ({"reds", "greens"}, {"reds-again", "greens"})
    both = f"ensemble + {first} + {second}"
    assert [one.baseline for one in judged.rounds] == ["ensemble", f"ensemble + {first}", both]
    aps = [one[one.baseline].metrics.ap for one in judged.rounds]
    assert aps == sorted(set(aps))
    assert judged.rounds[1][both].ap_difference.certain
    joined = EnsembleSpec.from_yaml(work.root / "ensemble.yaml")
    assert [one.name for one in joined.detectors] == ["weak", first, second]
    found = labelled(joined.model_copy(update={"data": str(work.held_out)}), Work(tmp_path / "own"))
    own = evaluate(decide_boxes(found.found, joined, found.dataset.labels), found.dataset)
    assert own.ap == aps[-1]
    values = json.loads((work.root / "results.json").read_text())
    assert values["joins"] == [first, second]
    assert len(values["further"]) == 2
    votes = {one["name"]: one["earns_a_vote"] for one in values["trainers"]}
    assert [name for name, earned in votes.items() if earned] == [
        name for name in votes if name in judged.joins
    ]
    page = (work.root / "report.html").read_text()
    assert f"from {aps[0]:.3f} to {aps[2]:.3f}" in page


def test_boxes_of_some_voters_are_as_if_there_were_no_others():
    found = Detections.build(
        image_id=[1, 2, 3, 4],
        category_id=1,
        xyxy=np.tile([0.0, 0.0, 9.0, 9.0], (4, 1)),
        score=[0.1, 0.2, 0.3, 0.4],
        detector=[0, 1, 2, 0],
        detectors=("a", "b", "c"),
    )
    some = of_voters(found, ["c", "a", "silent"])
    assert some.detectors == ("c", "a", "silent")
    assert some.image_id.tolist() == [1, 3, 4]
    assert some.detector.tolist() == [1, 0, 1]
    assert len(of_voters(found, ["silent"])) == 0


def test_the_page_the_card_and_the_curves_tell_it(done):
    work, _, result = done
    assert set(result.files) >= {
        "results.json", "categories.csv", "curves.csv", "curves.svg", "report.html",
        "worst/linear/001.jpg", "trainers/linear/out/README.md",
    }  # fmt: skip
    for file in result.files:
        assert (work.root / file).stat().st_size > 0, file
    page = (work.root / "report.html").read_text()
    assert "surely more than <bdi>slow</bdi>" in page
    assert "script-src 'none'" in page
    assert "<script" not in page
    assert "out of luck" in page
    for anchor in re.findall(r'href="#(\w+)"', page):
        assert f'id="{anchor}"' in page
    card = (work.trainer("linear").out / "README.md").read_text()
    head = yaml.safe_load(card.split("---")[1])
    assert head["license"] == "cc-by-4.0"  # as Hugging Face calls it
    for part in ("What it is for", "How good", "Of which data", "Versions", "Licence\nCC-BY-4.0"):
        assert f"\n## {part}" in card
    assert str(work.root) not in card
    assert "None" not in card
    ap = result.judged.alone["linear"].metrics.ap
    assert head["model-index"][0]["results"][0]["metrics"][0]["value"] == round(ap, 4)
    rows = list(csv.DictReader((work.root / "curves.csv").read_text().splitlines()))
    assert {row["trainer"] for row in rows} == {"slow", "linear"}
    assert [int(r["step"]) for r in rows if r["trainer"] == "linear" and r["loss"]] == list(
        range(1, 541)
    )


def test_an_export_that_does_something_else_is_told(trained, tmp_path):
    odd = trainer(epochs=60, hyperparameters={"coarse": True})
    training = Training(
        name="odd", data=str(trained / "data"), trainers=[odd], compare={"samples": 0}
    )
    judged = train(training, TrainingWork(tmp_path / "out")).judged
    assert any("the export does something else" in note for note in judged.notes)


def test_no_trainer_at_all_is_an_error(trained, tmp_path):
    bad = trainer("bad", hyperparameters={"fail": "out of luck"})
    training = Training(name="none", data=str(trained / "data"), trainers=[bad])
    with pytest.raises(TrainingError, match="No trainer came to its end: bad ended with status 1"):
        train(training, TrainingWork(tmp_path / "out"))


def test_a_trainer_called_like_a_detector_of_the_ensemble_is_refused(trained, tmp_path):
    training = Training(
        name="twice",
        data=str(trained / "data"),
        trainers=[trainer("weak")],
        compare={"ensemble": str(trained / "ensemble.yaml")},
    )
    with pytest.raises(SpecError, match="called like a detector"):
        train(training, TrainingWork(tmp_path / "out"))
    assert not Path(tmp_path / "out/prepared.json").exists()


def test_an_ensemble_that_cannot_be_measured_is_told_before_anything_learns(trained, tmp_path):
    whole = yaml.safe_load((trained / "ensemble.yaml").read_text())
    for key, value, said in (
        ("names", ["screw", "nut"], "No label of detector 'weak'"),
        ("weights", str(tmp_path / "gone.onnx"), "gone.onnx: there is no such file"),
    ):
        odd = whole | {"detectors": [whole["detectors"][0] | {key: value}]}
        (tmp_path / "ensemble.yaml").write_text(yaml.safe_dump(odd))
        training = Training(
            name="odd",
            data=str(trained / "data"),
            trainers=[trainer()],
            compare={"ensemble": str(tmp_path / "ensemble.yaml")},
        )
        work = TrainingWork(tmp_path / "out")
        with pytest.raises(QuorateError, match=said):
            train(training, work)
        assert not (work.root / "trainers").exists()
        with pytest.raises(QuorateError, match=said):
            plan(training, work)


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(-0.3, -0.1, "it lowers"), (0.1, 0.3, "it raises"), (-0.1, 0.3, "it does not surely raise")],
)
def test_the_card_says_what_a_newcomer_does_to_the_ensemble(done, monkeypatch, low, high, said):
    work, training, result = done
    gain = Interval((low + high) / 2, low, high, 0.5)
    monkeypatch.setattr(Judged, "raises", lambda self, name: gain)
    assert said in card("linear", training, result.judged, result.prepared, work)


def test_a_label_is_no_formula_of_the_table():
    assert csv_line(["=1+1", "a", -0.5, None]) == b"'=1+1,a,-0.5,\n"


def test_figures_beyond_what_can_be_drawn_are_left_out():
    said = [Event(1, 1, 2, loss=1e308), Event(1, 2, 2, loss=-1e308), Event(1, 2, 2, loss=math.nan)]
    assert charts({"a": said}) == {}
    assert "Loss on what is learnt from" in charts({"a": [*said, Event(1, 3, 3, loss=1e30)]})
    assert tensorboard(said)


def crc32c(data: bytes) -> int:
    """CRC-32C bit by bit, from its definition."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def test_tensorboard_files_are_framed_records():
    said = [Event(1, 300, 400, loss=1.5, seconds=2.0), Event(1, 300, 400, map=0.25)]
    data = tensorboard(said)
    records = []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        body = data[12 : 12 + length]
        for part, told in ((data[:8], data[8:12]), (body, data[12 + length : 16 + length])):
            crc = crc32c(part)
            masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
            assert struct.unpack("<I", told)[0] == masked
        records.append(body)
        data = data[16 + length :]
    assert b"brain.Event:2" in records[0]
    assert b"loss" in records[1]
    assert struct.pack("<f", 1.5) in records[1]
    assert b"\x10\xac\x02" in records[1]  # step 300, as a varint of field 2
    assert b"validation/AP" in records[2]
    assert zlib.crc32(records[1]) != crc32c(records[1])  # Castagnoli's, not zlib's


def test_tensorboard_itself_reads_them(tmp_path):
    loading = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")
    file = tmp_path / "events.out.tfevents.1.x"
    file.write_bytes(tensorboard([Event(1, 3, 4, loss=1.5)]))
    found = list(loading.EventFileLoader(str(file)).Load())
    assert found[-1].step == 3
    assert found[-1].summary.value[0].tag == "loss"


def test_the_csv_has_a_column_for_each_part_of_a_loss():
    rows = csv_of({"a": [Event(1, 1, 2, losses={"boxes": 0.5})], "b": [Event(1, 1, 2, loss=1.0)]})
    first, second, third = rows.splitlines()
    assert first.endswith(",loss/boxes")
    assert second.startswith("a,1,1,2,,")
    assert second.endswith(",0.5")
    assert third.endswith(",")
