"""The steps: prepare, detect, fuse, publish; and measure, where pictures are many.

Each is a plain function over a work folder, does nothing twice, and is safe to kill: what it
had finished is kept, and the same call goes on from there. The local runner and every other
runner call these same functions.

    work.py          the work folder that all of them share: read this first
    prepare.py       the data set to shards; sharding.py says how large they are, measure.py reads
                     the sizes of their pictures
    detect.py        one or more members over a shard: voter.py is a member that is ready, boxes.py
                     and probabilities.py what detectors and classifiers say,
                     parts.py what it has done so far, checkpoint.py keeps that for another
                     machine, prefetch.py reads pictures before they are wanted
    container.py     a container, or a command, run here over a shard, and its boxes made ours:
                     container_output.py holds what it left to the contract, container_rules.py
                     tells its author
    fuse.py          the quorum decides on a shard
    publish.py       the files and the report: results.py reads the work folder, findings.py
                     measures boxes and writes them, labels.py does it for labels of whole pictures;
                     review.py tags for a person, summary.py is what it all came to, moving.py
                     brings files to their places
    whole.py         the steps one after the other, as run, tune and calibrate take them
    look.py          the same for one picture that is given, without a work folder; asking.py
                     shows it to all detectors at once,
                     wide.py spreads each over all processors where a picture is alone

A step that starts in a pod of its own loads only what it needs: readers and writers of formats,
fusion and test-time augmentation are imported where they are used.
"""

from quorate.steps.checkpoint import Checkpoint
from quorate.steps.container import Runner, stage
from quorate.steps.detect import detect
from quorate.steps.fuse import fuse
from quorate.steps.measure import measure
from quorate.steps.prepare import prepare
from quorate.steps.publish import publish
from quorate.steps.sharding import check_shards, worth_pods
from quorate.steps.summary import ClassSummary, Summary
from quorate.steps.voter import Voter
from quorate.steps.work import Work

__all__ = [
    "Checkpoint",
    "ClassSummary",
    "Runner",
    "Summary",
    "Voter",
    "Work",
    "check_shards",
    "detect",
    "fuse",
    "measure",
    "prepare",
    "publish",
    "stage",
    "worth_pods",
]
