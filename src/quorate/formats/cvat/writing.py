"""Write CVAT XML that CVAT imports as it is, picture by picture.

What CVAT 2.15 to 2.73 were seen to do decides here:

- A picture is found by its name without the ending; where no name matches, `id` is silently taken
  for the frame number. So `id` is -1, which is no frame: CVAT then refuses a file of other
  pictures, where it would put the shapes on wrong ones.
- One label that the task lacks fails the whole import; an attribute that the label does not
  declare is dropped.
- From 2.56 on CVAT's COCO import takes an attribute called `score` away, so a score is called
  `confidence`. An empty one makes CVAT's own COCO export fail later, so it is declared as text
  with the default "1".
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Self
from xml.sax.saxutils import escape

import msgspec
import numpy as np
from numpy.typing import NDArray

from quorate.annotations import PUBLISHED, Annotations, Kind
from quorate.dataset import AttributeSpec, Dataset, Image, LabelInfo
from quorate.errors import InputError
from quorate.formats.base import Written, open_target
from quorate.formats.cvat.meta import attribute_text, labels_json, meta_xml
from quorate.formats.markup import sayable
from quorate.formats.parts import Parts, Repeats, repeated
from quorate.masks.shapes import polygon_rings

PICTURES_AT_ONCE = 2048
NO_FRAME = -1
_BOX = (
    '    <box label=%s source=%s occluded="%d" xtl="%.{0}f" ytl="%.{0}f" xbr="%.{0}f" '
    'ybr="%.{0}f"%s z_order="%d"%s>\n%s    </box>\n'
)


def write(
    dataset: Dataset,
    annotations: Annotations,
    target: str,
    *,
    decimals: int = 2,
    dumped: str = "",
    name: str = "",
) -> Written:
    """Write `annotations.xml` below a folder or into a ZIP, or one file where `target` is `….xml`.

    Beside it, in a folder, `labels.json` has the labels as CVAT's label editor takes them.

    Pictures keep the data set's order, shapes theirs. A picture's `id` is its frame number where
    the data set is CVAT's own export of one task or job (`Image.source_id`), else -1.
    Coordinates are rounded to `decimals` (CVAT's own export: 2), float32 attributes to 4; a whole
    number has no ".0". The attribute `score` is called `confidence`, unless it is text of a source
    whose labels declare `score`. A
    polygon of several rings becomes one polygon each, held together by `group_id`; CVAT has no
    holes. `dumped` is the time to be stated; without it, the bytes depend on the arguments alone.

    Raises InputError for a name that XML cannot hold or that two pictures of a subset share.
    """
    parts = Parts.of(dataset, annotations)
    return write_parts(dataset, parts, target, decimals=decimals, dumped=dumped, name=name)


def write_parts(
    dataset: Dataset,
    parts: Parts,
    target: str,
    *,
    decimals: int = 2,
    dumped: str = "",
    name: str = "",
) -> Written:
    """Likewise, with the pictures and annotations of `parts` in place of the data set's.

    Labels declare the attributes of `parts.like`. What is in memory is one part, and a few numbers
    of each picture.
    """
    like, notes = _named_scores(dataset, parts.like)
    pictures = _Pictures.of(parts)
    notes = [*pictures.notes, *notes]
    labels = _declared(dataset, like)
    quoted = {
        category: attribute_text(sayable(label, "the label"))
        for category, label in zip(dataset.labels.ids, dataset.labels.names, strict=True)
    }
    subsets, project = pictures.subsets, len(pictures.subsets) > 1
    first, last = pictures.frames
    head = meta_xml(
        name=name or dataset.name or "quorate",
        size=pictures.count,
        labels=labels,
        subsets=sorted(subsets) if project else (),
        subset=subsets[0] if subsets and not project else "",
        dumped=dumped,
        frames=(first, last),
    )
    for text in (head, *like.sources):
        sayable(text, "a label, an attribute or the name")
    with open_target(target, single=".xml") as out:
        with out.create("annotations.xml") as file:
            file.write(f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n{head}'.encode())
            for images, part, begins in parts.of_size(PICTURES_AT_ONCE):
                shapes = _shapes(_named_scores(dataset, part)[0], quoted, decimals)
                texts: list[str] = []
                for image, (start, end) in zip(images, pairwise(begins), strict=True):
                    frame = image.source_id if pictures.numbered else NO_FRAME
                    texts += (_image(image, frame), *shapes[start:end], "  </image>\n")
                file.write("".join(texts).encode())
            file.write(b"</annotations>\n")
        if not target.lower().endswith((".xml", ".zip")):
            out.put("labels.json", labels_json(labels))
    return Written(files=out.files, notes=notes)


@dataclass(frozen=True)
class _Pictures:
    """What is to be known of all pictures before the first is written.

    subsets   in the order of their first pictures
    numbered  whether CVAT's frame numbers are known of all, and no two are equal
    frames    the first and the last
    notes     what CVAT will make of the names
    """

    count: int
    subsets: list[str]
    numbered: bool
    frames: tuple[int, int]
    notes: list[str]

    @classmethod
    def of(cls, parts: Parts) -> Self:
        """Look at each once; InputError as for `check_names`."""
        check_names(parts.pictures)
        subsets: dict[str, None] = {}
        frames, count = array("q"), 0
        stems = Repeats()
        for image in parts.pictures():
            count += 1
            subsets[image.subset] = None
            stems.add((image.subset, _stem(image.name)))
            if isinstance(image.source_id, int):
                frames.append(image.source_id)
        numbered = len(np.unique(frames)) == count
        lowest, highest = (min(frames, default=0), max(frames, default=0)) if numbered else (0, 0)
        alike = stems.found((image.subset, _stem(image.name)) for image in parts.pictures())
        notes = _name_notes(parts.pictures, alike, several=len(subsets) > 1)
        return cls(count, [*subsets], numbered, (max(lowest, 0), max(highest, count - 1, 0)), notes)


def _image(image: Image, frame: int | str | None) -> str:
    name = attribute_text(image.name)
    subset = f" subset={attribute_text(image.subset)}" if image.subset else ""
    size = f' width="{image.width}" height="{image.height}"' if image.width else ""
    return f'  <image id="{frame}" name={name}{subset}{size}>\n'


def _shapes(part: Annotations, labels: Mapping[int, str], decimals: int) -> list[str]:
    sources = [attribute_text(source) for source in part.sources]
    inside = _attributes(part)
    rotations = [f' rotation="{r:.2f}"' if r else "" for r in part.rotation.tolist()]
    groups = [f' group_id="{group}"' if group else "" for group in part.group.tolist()]
    columns = zip(
        [labels[i] for i in part.category_id.tolist()],
        [sources[i] for i in part.source.tolist()],
        part.occluded.tolist(),
        *part.xyxy.T.tolist(),
        rotations,
        part.z_order.tolist(),
        groups,
        inside,
        strict=True,
    )
    box: str = _BOX.format(decimals)
    if (part.kind == Kind.BOX).all():
        return [box % row for row in columns]
    highest = int(part.group.max(initial=0))
    texts = []
    for row, (kind, values) in enumerate(zip(part.kind.tolist(), columns, strict=True)):
        if kind == Kind.BOX:
            texts.append(box % values)
        else:
            highest += 1
            texts.append(_other(Kind(kind), values, part.points[row], decimals, highest))
    return texts


def _other(kind: Kind, values: tuple[Any, ...], points: Any, decimals: int, group: int) -> str:
    label, source, occluded, x1, y1, x2, y2, rotation, z_order, grouped, inside = values
    word = kind.name.lower()
    end: str
    start = f"    <{word} label={label} source={source}"
    if kind == Kind.TAG:
        return f"{start}>\n{inside}    </tag>\n"
    start += f' occluded="{occluded:d}"'
    end = f' z_order="{z_order}"{grouped}>\n{inside}    </{word}>\n'
    if kind == Kind.ELLIPSE:
        place = zip(
            ("cx", "cy", "rx", "ry"),
            ((x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) / 2, (y2 - y1) / 2),
            strict=True,
        )
        sides = "".join(f' {n}="{v:.{decimals}f}"' for n, v in place)
        return f"{start}{sides}{rotation}{end}"
    if kind == Kind.MASK:
        runs = ", ".join(map(str, np.asarray(points, dtype=np.int64).tolist()))
        left, top, right, bottom = (round(value) for value in (x1, y1, x2, y2))
        return (
            f'{start} rle="{runs}" left="{left}" top="{top}" width="{right - left}" '
            f'height="{bottom - top}"{end}'
        )
    rings = polygon_rings(points)
    if len(rings) > 1 and not grouped:
        end = f' z_order="{z_order}" group_id="{group}">\n{inside}    </{word}>\n'
    return "".join(f'{start} points="{_pairs(ring, decimals)}"{end}' for ring in rings)


def _pairs(ring: Any, decimals: int) -> str:
    values: list[float] = ring.tolist()
    pair = f"%.{decimals}f,%.{decimals}f"
    return ";".join(pair % xy for xy in zip(values[::2], values[1::2], strict=True))


def _attributes(part: Annotations) -> list[str]:
    """The `<attribute>` elements of each shape, in the columns' order."""
    told = []
    for name, column in part.attributes.items():
        start = f"      <attribute name={attribute_text(name)}>"
        if column.dtype == object:
            seen: dict[Any, int] = {}
            codes = [seen.setdefault((v.__class__, v), len(seen)) for v in column.tolist()]
            values = [value for _, value in seen]
        else:
            rounded = np.round(column, 4) if column.dtype == np.float32 else column
            different, inverse = np.unique(rounded, return_inverse=True)
            values, codes = different.tolist(), inverse.tolist()
            if column.dtype == np.float32:
                values = [round(value, 4) for value in values]
        texts = [
            "" if value is None or value != value else f"{start}{_escaped(value)}</attribute>\n"
            for value in values
        ]
        told.append([texts[code] for code in codes])
    return ["".join(row) for row in zip(*told, strict=True)] if told else [""] * len(part)


def attribute_value(value: Any) -> str:
    """An attribute's value in CVAT's words: at most four decimals, whole numbers without any."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        value = round(value, 4)
        if value.is_integer() and abs(value) < 1e15:
            return str(int(value))
    return str(value)


def _escaped(value: Any) -> str:
    return escape(sayable(attribute_value(value), "an attribute"))


def _named_scores(dataset: Dataset, annotations: Annotations) -> tuple[Annotations, list[str]]:
    """The shapes with `score` called `confidence`, and a note where the labels say `score`."""
    columns = annotations.attributes
    if "score" not in columns or "confidence" in columns:
        return annotations, []
    told = {spec.name for info in dataset.label_info.values() for spec in info.attributes}
    older = "score" in told and "confidence" not in told
    if older and columns["score"].dtype == object:
        return annotations, []
    notes = [
        "CVAT: the labels declare an attribute 'score'; the scores are written as 'confidence', "
        "for CVAT's COCO import takes 'score' away. Give the task's labels the attribute "
        "'confidence' (labels.json has it), or CVAT drops the scores."
    ]
    renamed = {{"score": "confidence"}.get(name, name): c for name, c in columns.items()}
    return replace(annotations, attributes=renamed), notes if older else []


def _declared(dataset: Dataset, annotations: Annotations) -> dict[str, LabelInfo]:
    """Every label with the attributes that it declares, or that its shapes turn out to have."""
    labels = {name: dataset.label_info.get(name, LabelInfo()) for name in dataset.labels.names}
    for name, column in annotations.attributes.items():
        if name in (*PUBLISHED, "confidence"):
            wearing = {label for label, info in labels.items() if info.type != "tag"}
        else:
            there = np.array([v is not None and v == v for v in column.tolist()], dtype=bool)
            used = dataset.labels.positions(np.unique(annotations.category_id[there]))
            wearing = {dataset.labels.names[i] for i in used.tolist() if i >= 0}
        spec = _spec(name, column)
        for label in wearing:
            info = labels[label]
            if all(known.name != name for known in info.attributes):
                labels[label] = msgspec.structs.replace(info, attributes=(*info.attributes, spec))
    return labels


def _spec(name: str, column: NDArray[Any]) -> AttributeSpec:
    boolean = column.dtype == bool or (
        column.dtype == object
        and {type(value) for value in column.tolist() if value is not None} == {bool}
    )
    if boolean:
        return AttributeSpec(name=name, input_type="checkbox", default="false", values=("false",))
    default = "1" if name in ("score", "confidence", "votes", "agreement") else ""
    return AttributeSpec(name=name, default=default, values=(default,))


def check_names(images: Callable[[], Iterable[Image]], labels: Sequence[str] = ()) -> None:
    """InputError for a name that XML cannot hold, or of two pictures of one subset.

    `images` gives them anew each time.
    """
    for label in labels:
        sayable(label, "the label")
    for image in images():
        sayable(image.name, "the picture's name")
        sayable(image.subset, "the subset's name")
    for subset, name in repeated(lambda: ((i.subset, i.name) for i in images())):
        of = f" of subset '{subset}'" if subset else ""
        raise InputError(f"Two pictures{of} are named '{name}': CVAT finds pictures by name.")


def _name_notes(
    images: Callable[[], Iterable[Image]], twice: Mapping[tuple[str, str], int], *, several: bool
) -> list[str]:
    """What CVAT will make of the names; `twice` are those of a subset that differ in their ending.

    `several` is whether there is more than one subset.
    """
    notes = []
    alike = [stem for _, stem in twice]
    if alike:
        notes.append(
            f"CVAT: {len(alike)} names differ in their ending alone, the first '{alike[0]}'; CVAT "
            "compares names without it, and may put shapes on the wrong picture."
        )
    over = repeated(
        lambda: (_stem(i.name) for i in images() if several and (i.subset, i.name) not in twice)
    )
    both = [stem for stem in over if stem not in alike]
    if both:
        notes.append(
            f"CVAT: {len(both)} names stand in more than one subset, the first '{both[0]}'; "
            "import the file into a project, not into one task."
        )
    return notes


def _stem(name: str) -> str:
    folder, slash, base = name.rpartition("/")
    return folder + slash + (base.rpartition(".")[0] or base)
