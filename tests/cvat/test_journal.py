"""What a run made, as its file on this machine tells it."""

import pytest

from quorate.cvat.journal import Journal, add, find, journals
from quorate.errors import InputError

SERVER = "http://cvat:8080"


@pytest.fixture(autouse=True)
def state(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path


def one_file(state):
    (file,) = state.rglob("*.json")
    return file


def test_what_is_added_is_read_again_by_kind_and_job(state):
    journal = Journal("spots-1-2-3", "spots", SERVER, 7)
    add(journal, "shapes", 1, {10: "a", 11: "b"})
    add(journal, "shapes", 2, {12: "c"})
    add(journal, "tracks", 1, {10: "d"})
    add(journal, "shapes", 1, {13: "e"})
    assert find("spots-1-2-3", SERVER) == journal
    assert journals(SERVER, 7) == [journal]
    assert journal.of("shapes", 1) == {10: "a", 11: "b", 13: "e"}
    assert journal.of("tracks", 1) == {10: "d"}


def test_a_journal_is_only_added_to(state):
    journal = Journal("spots-1-2-3", "spots", SERVER, 7)
    for job in range(200):
        add(journal, "shapes", job, {job: "0123456789ab"})
        if job == 0:
            before = one_file(state).read_bytes()
    assert one_file(state).read_bytes().startswith(before)
    assert len(one_file(state).read_bytes()) < 200 * 80


def test_the_last_line_of_a_killed_process_does_not_count(state):
    journal = Journal("spots-1-2-3", "spots", SERVER, 7)
    add(journal, "shapes", 1, {10: "a"})
    whole = one_file(state).read_bytes()
    add(journal, "shapes", 1, {11: "b"})
    one_file(state).write_bytes(one_file(state).read_bytes()[:-9])
    assert find("spots-1-2-3", SERVER).made == {1: {10: "a"}}
    one_file(state).write_bytes(whole[:20])
    with pytest.raises(InputError, match="is no journal of a run"):
        find("spots-1-2-3", SERVER)
