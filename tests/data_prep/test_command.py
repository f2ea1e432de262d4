import pytest

from data_prep.command import CommandError, run_command


def raising(error):
    def action():
        raise error

    return action


@pytest.mark.parametrize(
    ("action", "status", "sentence"),
    [
        (lambda: 0, 0, ""),
        (raising(CommandError("Name a folder.")), 1, "Name a folder."),
        (raising(OSError(28, "No space left on device", "a.txt")), 1, "No space left on device: a.txt."),
        (raising(OSError("odd")), 1, "odd."),
        (raising(KeyboardInterrupt()), 130, "stopped"),
    ],
)
def test_faults_become_a_sentence_and_a_status(caplog, action, status, sentence):
    assert run_command(action, "stopped") == status
    assert [record.getMessage() for record in caplog.records] == ([sentence] if sentence else [])


def test_faults_of_ours_are_not_hidden():
    with pytest.raises(LookupError):
        run_command(raising(LookupError()), "stopped")
