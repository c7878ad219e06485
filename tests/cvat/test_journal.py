"""What a run made, as its file on this machine tells it."""

import pytest

from quorate.cvat.publishing.journal import Journal, Line, Sent, add, begun, ended, find, journals
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
    add(journal, Line("shapes", 1, made={10: "a", 11: "b"}))
    add(journal, Line("shapes", 2, made={12: "c"}))
    add(journal, Line("tracks", 1, made={10: "d"}))
    add(journal, Line("shapes", 1, made={13: "e"}))
    assert find("spots-1-2-3", SERVER) == journal
    assert journals(SERVER, 7) == [journal]
    assert journal.of("shapes", 1) == {10: "a", 11: "b", 13: "e"}
    assert journal.of("tracks", 1) == {10: "d"}


def test_a_journal_is_only_added_to(state):
    journal = Journal("spots-1-2-3", "spots", SERVER, 7)
    for job in range(200):
        add(journal, Line("shapes", job, made={job: "0123456789ab"}))
        if job == 0:
            before = one_file(state).read_bytes()
    assert one_file(state).read_bytes().startswith(before)
    assert len(one_file(state).read_bytes()) < 200 * 80


def test_the_last_line_of_a_killed_process_does_not_count(state):
    journal = Journal("spots-1-2-3", "spots", SERVER, 7)
    add(journal, Line("shapes", 1, made={10: "a"}))
    whole = one_file(state).read_bytes()
    add(journal, Line("shapes", 1, made={11: "b"}))
    one_file(state).write_bytes(one_file(state).read_bytes()[:-9])
    assert find("spots-1-2-3", SERVER).made == {1: {10: "a"}}
    add(find("spots-1-2-3", SERVER), Line("shapes", 1, made={12: "c"}))
    assert find("spots-1-2-3", SERVER).made == {1: {10: "a", 12: "c"}}
    one_file(state).write_bytes(whole[:20])  # killed before anything was created
    assert journals(SERVER, 7) == []
    with pytest.raises(InputError, match="There is no run"):
        find("spots-1-2-3", SERVER)
    add(journal, Line("shapes", 1, made={13: "d"}))
    assert find("spots-1-2-3", SERVER) == journal


def test_a_damaged_journal_is_told(state):
    add(Journal("spots-1-2-3", "spots", SERVER, 7), Line("shapes", 1, made={10: "a"}))
    one_file(state).write_bytes(b"damaged\n" + one_file(state).read_bytes())
    with pytest.raises(InputError, match="is no journal of a run") as told:
        journals(SERVER, 7)
    assert "move it away" in told.value.hint


def test_what_was_asked_for_counts_until_it_is_answered(state):
    journal = Journal("spots-1-2-3", "spots", SERVER, 7)
    asked = Sent(9, frozenset({"a", "b"}))
    add(journal, Line("tracks", 1, sent=asked))
    assert find("spots-1-2-3", SERVER).asked("tracks", 1) == asked
    assert find("spots-1-2-3", SERVER).asked("shapes", 1) is None
    add(journal, Line("tracks", 1, made={10: "a", 11: "b"}))
    assert find("spots-1-2-3", SERVER).asked("tracks", 1) is None


def test_a_run_goes_on_until_it_has_ended(state):
    run = begun(None, "spots", SERVER, 7)
    assert begun(None, "spots", SERVER, 7).run != run.run  # it made nothing
    add(run, Line("shapes", 1, made={10: "a"}))
    assert begun(None, "spots", SERVER, 7) == run
    assert begun(None, "other", SERVER, 7).run != run.run
    ended(run)
    assert begun(None, "spots", SERVER, 7).run != run.run
    assert begun(run.run, "spots", SERVER, 7).made == run.made
