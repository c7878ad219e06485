"""The words that a file of detections means by its categories, as a user says them.

A bare file has numbers alone, and nothing in it tells whose they are. `--labels FILE=WHAT` does.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from quorate.errors import InputError, LabelError, did_you_mean
from quorate.formats.detections.reading import DetectionFile
from quorate.labels import UNMAPPED, VOCABULARIES, Labels
from quorate.storage import read_bytes

EXAMPLES = "names.txt, 0:coco (the first name is 0), 1:bird,2:fish, instances.json, spec.yaml"
_FILE = re.compile(
    rf"(?:(\d+):)?(.+\.(?:txt|names|ya?ml|json)|{'|'.join(VOCABULARIES)})", re.IGNORECASE
)
MOST = 6


@dataclass(frozen=True)
class Wording:
    """What a file's categories are called.

    words    the file's number or word -> the word that is meant
    listed   names in the order of their numbers, where the first number is not known
    renamed  a word of these -> the data set's word, as under `labels:` of a detector
    origin   where it was said, for sentences
    """

    words: Mapping[str, str] = field(default_factory=dict)
    listed: Sequence[str] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    origin: str = "--labels"

    @classmethod
    def of(cls, told: str | Mapping[Any, str] | Sequence[str], detector: str) -> Wording:
        """From what a user gives: pairs, a list of names, or the text after `--labels FILE=`.

        That text is pairs (`1:bird,2:fish`), or a file: names line by line, YAML or JSON with
        `names`, COCO's `categories`, or a spec whose detector of this name has `names` or
        `labels`; or a word of `VOCABULARIES`. `0:` or `1:` before it is the number of the first
        name; coco91 begins at 0.

        Raises LabelError for anything else, InputError where there is no such file.
        """
        if isinstance(told, Mapping):
            return cls({str(key): str(word) for key, word in told.items()})
        if not isinstance(told, str):
            return cls(listed=tuple(told))
        if named := _FILE.fullmatch(told):
            from quorate.detectors.names import known  # loads YAML's reader, as below

            first, file = named.groups()
            if file in VOCABULARIES:
                first = "0" if file == "coco91" else first
                found = cls({}, known(file), {}, file)
            else:
                found = cls._in_file(file, detector)
            return found if first is None else found._from(int(first))
        pairs = [part.partition(":") for part in told.split(",")]
        if not all(key.strip() and word.strip() for key, _, word in pairs):
            raise LabelError(
                f"--labels {told}: neither pairs of a number and a word, nor names.",
                hint=f"for example {EXAMPLES}",
            )
        return cls({key.strip(): word.strip() for key, _, word in pairs})

    @classmethod
    def _in_file(cls, file: str, detector: str) -> Wording:
        from quorate.detectors.names import given_names, parsed

        value = parsed(read_bytes(file).decode("utf-8-sig", "replace"), file, LabelError)
        renamed: Mapping[str, str] = {}
        if isinstance(value, dict) and isinstance(value.get("detectors"), list):
            known = {str(one.get("name")): one for one in value["detectors"]}
            if detector not in known:
                raise LabelError(
                    f"{file}: has no detector '{detector}', as the file of boxes is called.",
                    hint=did_you_mean(detector, known) or f"it has {', '.join(known)}",
                )
            renamed, value = known[detector].get("labels") or {}, known[detector].get("names", {})
            if isinstance(value, str):
                beside = file.rpartition("/")[0]
                value = value if value in VOCABULARIES else os.path.join(beside, value)
                value = list(given_names(value))
        if isinstance(value, dict):
            value = value.get("names", value.get("categories", value))
        if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
            value = {one.get("id"): one.get("name") for one in value}
        if isinstance(value, dict) and all(isinstance(w, str) for w in value.values()):
            return cls({str(n): w for n, w in value.items()}, (), renamed, file)
        if isinstance(value, list) and all(isinstance(one, str | int) for one in value):
            return cls({}, tuple(map(str, value)), renamed, file)
        raise LabelError(
            f"{file}: holds no names of labels.",
            hint="names line by line; YAML or JSON with `names`; or COCO's `categories`",
        )

    def _from(self, first: int) -> Wording:
        """With its names numbered from `first`, those with numbers in the order of these."""
        numbered = sorted(self.words.items(), key=lambda one: (len(one[0]), one[0]))
        names = self.listed or [word for _, word in numbered]
        words = {str(number): word for number, word in enumerate(names, start=first)}
        return replace(self, words=words, listed=())

    def _numbered(self, own: Sequence[str], file: str) -> Wording:
        """With the number of the first name, as the file's own numbers tell it."""
        if not self.listed:
            return self
        numbers = {int(name) for name in own if name.isdecimal()}
        if not numbers:  # words already: they may still be renamed
            return replace(self, listed=())
        if 0 in numbers:
            return self._from(0)
        if len(self.listed) in numbers:
            return self._from(1)
        raise LabelError(
            f"{self.origin}: is its first name ('{self.listed[0]}') number 0 or 1 in {file}? Its "
            f"boxes have numbers from {min(numbers)} to {max(numbers)}, which fit both.",
            hint=f"say it: --labels {file}=0:{self.origin}, or 1:{self.origin}",
        )

    def put_on(self, one: DetectionFile, labels: Labels, file: str) -> DetectionFile:
        """The file with its categories read so; they become ids of `labels`, where there are any.

        Boxes of a category that has no word, or whose word is none of the labels, are left out
        and counted. Raises LabelError where none is left, or a word that a user wrote by hand is
        no label.
        """
        own = one.labels.names
        said = self._numbered(own, file)
        words = [said.words.get(name, None if name.isdecimal() else name) for name in own]
        words = [word if word is None else said.renamed.get(word, word) for word in words]
        if not len(labels):
            labels = _labels(words, one.labels.ids)
        elif self.origin == "--labels":
            for word in said.words.values():
                labels.id_of(word)
        ids = labels.ids_like(words)
        row = np.array(ids, np.int32)[one.labels.positions(one.detections.category_id)]
        kept = row != UNMAPPED
        boxes = replace(one.detections, category_id=row).take(kept)
        if len(one.detections) and not len(boxes):
            raise LabelError(
                f"{file}: none of its categories ({', '.join(own[:MOST])}) is a label by "
                f"{self.origin}.",
                hint=f"--labels FILE=WHAT, for example {EXAMPLES}",
            )
        read = [
            f"{name} as '{word}'"
            for name, word, i in zip(own, words, ids, strict=True)
            if i != UNMAPPED and name != word
        ]
        notes = []
        if read:
            more = f" and {len(read) - MOST} more" if len(read) > MOST else ""
            notes.append(f"{file}: reads {', '.join(read[:MOST])}{more} ({self.origin}).")
        if left := int(np.count_nonzero(~kept)):
            lost = Counter(words[i] or own[i] for i in one.labels.positions(
                one.detections.category_id[~kept]).tolist())  # fmt: skip
            told = ", ".join(f"'{word}' ({n:,})" for word, n in lost.most_common(MOST))
            more = f" and {len(lost) - MOST} more" if len(lost) > MOST else ""
            notes.append(f"{file}: {left:,} boxes are left out, of no label: {told}{more}.")
        return replace(one, detections=boxes, labels=labels, notes=(*one.notes, *notes))


def _labels(words: Sequence[str | None], ids: Sequence[int]) -> Labels:
    """A vocabulary of words; each has the first of its numbers."""
    found: dict[str, int] = {}
    for word, number in zip(words, ids, strict=True):
        if word is not None:
            found.setdefault(word, number)
    return Labels(tuple(found), tuple(found.values()))


def wordings(
    told: Mapping[str, Any], files: Sequence[str], names: Sequence[str]
) -> dict[str, Wording]:
    """File -> what its categories are called, from what is told of files by their place or name.

    Raises InputError where a key means no file.
    """
    found = {}
    for key, what in told.items():
        meant = [
            (file, name)
            for file, name in zip(files, names, strict=True)
            if key in (file, name, file.rstrip("/").rsplit("/", 1)[-1])
        ]
        if len(meant) != 1:
            known = ", ".join(files[:MOST])
            raise InputError(
                f"--labels {key}=…: {'several files are' if meant else 'no file is'} called so.",
                hint=did_you_mean(key, files) or f"the files are {known}",
            )
        ((file, name),) = meant
        found[file] = Wording.of(what, name)
    return found
