"""Names of pictures stay as they are in every format that holds names."""

import pytest

from quorate.annotations import Annotations
from quorate.dataset import Dataset, Image
from quorate.formats import read, write
from quorate.labels import Labels

BLANK = (" a.jpg", "a .jpg", "\xa0.jpg", "\u3000a.jpg", "below/\u2003a.jpg")


@pytest.mark.parametrize("format", ["coco", "cvat", "labelme", "tfrecord", "voc"])
@pytest.mark.parametrize("name", BLANK)
def test_blanks_of_a_name_are_kept(tmp_path, format, name):
    picture = Image(id=1, file_name=name, width=64, height=48)
    data = Dataset(root="/nowhere", images=(picture,), labels=Labels.from_names(["car"]),
                   annotations=Annotations.build(image_id=[1], category_id=[1], kind=[0],
                                                 xyxy=[[1.0, 2.0, 30.0, 40.0]]))  # fmt: skip
    write(data, data.annotations, tmp_path, format=format)
    assert [image.name for image in read(tmp_path).images] == [name]
