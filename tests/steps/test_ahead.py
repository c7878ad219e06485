"""Pictures of a remote store are read before they are wanted, in order, and not too many."""

import threading
import time
from importlib import import_module

import pytest

from quorate.dataset import Image
from quorate.errors import InputError
from quorate.steps import Voter, Work, detect, prepare
from quorate.steps.prefetch import AHEAD, AHEAD_PIXELS, READERS, Ahead
from quorate.storage import join, write_bytes
from quorate.storage.folder import FolderTree
from tests.spots import Spots, pool
from tests.steps.test_steps import LABELS, ensemble
from tests.waiting import PATIENCE, until

A = Spots(name="a", kind="spots")


class Far(FolderTree):
    """A folder that answers no one before `together` ask at once, and says how many did."""

    remote = True

    def __init__(self, root, *, together=1):
        super().__init__(root)
        self.changed = threading.Condition()
        self.together, self.now, self.most, self.names_read = together, 0, 0, []

    def read(self, name):
        with self.changed:
            self.now += 1
            self.most = max(self.most, self.now)
            self.names_read.append(name)
            self.changed.notify_all()
            assert self.changed.wait_for(lambda: self.most >= self.together, PATIENCE)
        time.sleep(0.001)  # so that more could come than should
        with self.changed:
            self.now -= 1
        return super().read(name)


def test_a_remote_tree_is_asked_for_many_at_once(tmp_path):
    for number in range(2 * READERS):
        (tmp_path / f"{number:03d}").write_text(str(number))
    tree = Far(str(tmp_path), together=READERS)
    with Ahead(tree) as ahead:
        asked = [ahead.ask(f"{number:03d}") for number in range(2 * READERS)]
        assert [int(read()) for read in asked] == list(range(2 * READERS))
    assert tree.most == READERS
    assert tree.names_read[0] == "000"


def test_a_local_tree_is_read_when_its_file_is_wanted(tmp_path):
    (tmp_path / "x").write_text("x")
    with Ahead(FolderTree(str(tmp_path))) as ahead:
        read, missing = ahead.ask("x"), ahead.ask("gone")
        (tmp_path / "x").write_text("y")
        assert read() == b"y"
        with pytest.raises(InputError, match="gone"):
            missing()
        assert ahead.pictures([Image(1, "x", 10, 10)]) == 0


def test_what_is_in_hand_is_bounded_by_pixels_too(tmp_path):
    with Ahead(Far(str(tmp_path))) as ahead:
        assert ahead.pictures([Image(1, "x", 640, 480)]) == AHEAD
        assert ahead.pictures([Image(1, "x", 1 << 14, 1 << 14)]) == AHEAD_PIXELS >> 28
        assert ahead.pictures([Image(1, "x", 640, 480), Image(2, "y", 1 << 15, 1 << 15)]) == 0
        assert ahead.pictures([]) == AHEAD


def test_an_end_does_not_wait_for_what_nobody_wants(tmp_path):
    (tmp_path / "x").write_text("x")
    started, over = threading.Event(), threading.Event()

    class Slow(Far):
        def read(self, name):
            started.set()
            assert over.wait(PATIENCE)
            return super().read(name)

    tree = Slow(str(tmp_path))
    with Ahead(tree) as ahead:
        asked = [ahead.ask("x").__self__ for _ in range(100 * READERS)]
        started.wait(PATIENCE)
        # What is being read is finished; only the end itself can cancel the others.
        ending = threading.Thread(target=lambda: (until(asked[-1].cancelled), over.set()))
        ending.start()
    ending.join()
    assert len(tree.names_read) <= READERS


@pytest.mark.parametrize("workers", [1, 3])
def test_boxes_are_the_same_from_afar(tmp_path, monkeypatch, workers):
    data = pool(tmp_path / "pool", 150)
    (data / "south/broken.png").write_bytes((data / "south/0000.png").read_bytes()[:120])
    spec = ensemble(data, A)
    here, far = Work(tmp_path / "here"), Work(tmp_path / "far")
    for work in (here, far):
        prepare(spec, work)
    detect(here, 0, [Voter.load(A, LABELS)], workers=2)
    trees = []

    def open_far(root):
        trees.append(Far(root, together=workers + 1))
        return trees[-1]

    monkeypatch.setattr(import_module("quorate.steps.detect"), "open_tree", open_far)
    detect(far, 0, [Voter.load(A, LABELS)], workers=workers)
    assert trees[0].most > workers
    for name in ("detections.parquet",):
        left, right = (work.detections(0, "a") / name for work in (here, far))
        assert left.read_bytes() == right.read_bytes()


@pytest.mark.s3
def test_boxes_are_the_same_from_s3(tmp_path, s3_prefix):
    data = pool(tmp_path / "pool", 20)
    for file in data.rglob("*.png"):
        write_bytes(join(s3_prefix, file.relative_to(data).as_posix()), file.read_bytes())
    found = []
    for place in (str(data), s3_prefix):
        work = Work(tmp_path / f"work{len(found)}")
        prepare(ensemble(place, A), work)
        detect(work, 0, [Voter.load(A, LABELS)], workers=2)
        found.append((work.detections(0, "a") / "detections.parquet").read_bytes())
    assert found[0] == found[1]
