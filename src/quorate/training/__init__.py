"""Training: from labelled pictures to detectors that are measured against each other.

In the order to read: `work` names the files; `truth` reads the labelled pictures, `split` holds
some out, `data` writes the folder that trainers get; `contract` is what a trainer is given and has
to leave, `running` runs trainers here; `judging` measures what they left, `telling` writes it down
(`curves`, `worst`, `card`, `page`), `publishing` carries the best away; `whole` does all of it,
`plan` none of it, both after `checks`; `stages` are the parts that run apart, with what
`parameters` change of the spec, `keeping` their checkpoints.

**The trainer contract.** A trainer is a process, of any framework. It is given a folder to read
(`--data`, and the environment variable `QUORATE_DATA`) and one to write (`--out`, `QUORATE_OUT`):

    data/trainer.json      its settings: name, kind, epochs, batch_size, seed, checkpoint (a path,
                           absolute or below the folder; or null), hyperparameters, and its kind's
    data/train.json        COCO instances to learn from; file names are relative to images/
    data/validation.json   likewise, held out
    data/labels.txt        the labels, one a line; their category ids are 1, 2, 3, …
    data/images/…          the pictures, upright, in JPEG or PNG

    out/progress.jsonl     an event a line, while it learns; see `contract.Event`
    out/checkpoint/        what it goes on from when it is run again on the same folders
    out/detector.json      an entry of `detectors:` that reads what it learnt; paths below out/
    out/model.onnx         or whatever detector.json names
    out/predictions.json   COCO results on validation.json
    out/versions.json      {package: version}

Status 0 says that all of it is there; any other that it failed, and the last line on stderr why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from quorate import lazily

# A name is imported when it is first used: who keeps the contract needs nothing that judges.
_HOMES = {"whole": ("Done", "train"), "work": ("TrainingWork",)}

__all__ = ["Done", "TrainingWork", "train"]

if TYPE_CHECKING:
    from quorate.training.whole import Done, train
    from quorate.training.work import TrainingWork


__getattr__ = lazily(__name__, _HOMES)
