import numpy as np
import pytest
from matplotlib.image import imread
from miditoolkit import Instrument, MidiFile, Note, TimeSignature

from evaluation.piano_roll import MAX_BARS, DrawingError, bar_starts, draw_piano_roll, main, read_roll
from examples.make_songs import compose_song, to_midi

QUARTER = 480
PROMPT_RGB = np.array([0xDC, 0xE9, 0xF7])


def write_midi(path, notes, metres=(), program=0, is_drum=False):
    """``notes`` are (start, end, pitch) in quarters."""
    midi = MidiFile(ticks_per_beat=QUARTER)
    midi.time_signature_changes = list(metres)
    track = Instrument(program, is_drum=is_drum)
    track.notes = [Note(90, pitch, int(start * QUARTER), int(end * QUARTER)) for start, end, pitch in notes]
    midi.instruments = [track]
    midi.dump(str(path))
    return path


def pixels_of_prompt(png):
    image = (imread(png)[..., :3] * 255).round().astype(int)
    return int((np.abs(image - PROMPT_RGB).max(axis=2) <= 1).sum())


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    path = tmp_path_factory.mktemp("midi") / "song.mid"
    to_midi(compose_song(1, seed=1)).dump(str(path))
    return path


def test_command_writes_a_picture_and_shades_the_prompt(song, tmp_path):
    assert main([str(song), str(tmp_path / "plain")]) == 0
    assert main([str(song), str(tmp_path / "prompted"), "--prompt-bars", "4"]) == 0
    height, width = imread(tmp_path / "plain" / "song.png").shape[:2]
    assert width == 1650 and height > 600
    assert pixels_of_prompt(tmp_path / "plain" / "song.png") == 0
    assert pixels_of_prompt(tmp_path / "prompted" / "song.png") > 10_000


def test_drawing_twice_gives_the_same_bytes(song, tmp_path):
    draw_piano_roll(read_roll(song), tmp_path / "a.png", "twice")
    draw_piano_roll(read_roll(song), tmp_path / "b.png", "twice")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_notes_are_placed_in_bars_of_their_metre(tmp_path):
    metres = [TimeSignature(3, 4, 0), TimeSignature(2, 4, 6 * QUARTER)]
    path = write_midi(tmp_path / "m.mid", [(0, 3, 60), (4.5, 6, 62), (7, 8, 64)], metres)
    roll = read_roll(path)
    assert roll.bars == 3
    assert roll.notes[0][:, :3].tolist() == [[0, 1, 60], [1.5, 2, 62], [2.5, 3, 64]]


def test_a_change_inside_a_bar_waits_for_the_next_bar_line():
    metres = [TimeSignature(4, 4, 0), TimeSignature(3, 4, QUARTER)]
    assert bar_starts(metres, QUARTER, last_tick=5 * QUARTER) == [0, 4 * QUARTER, 7 * QUARTER]


def test_bars_are_four_four_until_a_metre_is_given():
    metres = [TimeSignature(6, 8, 4 * QUARTER)]
    assert bar_starts(metres, QUARTER, last_tick=4 * QUARTER) == [0, 4 * QUARTER, 7 * QUARTER]


def test_a_broken_file_is_reported_and_the_others_go_on(song, tmp_path, capsys):
    broken = tmp_path / "broken.mid"
    broken.write_bytes(b"not music")
    out = tmp_path / "out"
    assert main([str(broken), str(tmp_path / "absent.mid"), str(song), str(out)]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2
    assert "broken.mid cannot be read as MIDI" in errors[0]
    assert "absent.mid cannot be read as MIDI" in errors[1]
    assert [path.name for path in out.iterdir()] == ["song.png"]


def test_two_files_of_one_name_do_not_overwrite_each_other(song, tmp_path, capsys):
    assert main([str(song), str(song), str(tmp_path)]) == 1
    assert "would overwrite" in capsys.readouterr().err


def test_a_file_without_notes_is_refused(tmp_path):
    with pytest.raises(DrawingError, match="contains no notes"):
        read_roll(write_midi(tmp_path / "empty.mid", []))


def test_an_endless_file_is_refused(tmp_path):
    start = 4 * (MAX_BARS + 1)
    with pytest.raises(DrawingError, match="more than 4000 bars"):
        read_roll(write_midi(tmp_path / "long.mid", [(0, 1, 60), (start, start + 1, 60)]))


@pytest.mark.parametrize("is_drum", [True, False])
def test_one_track_of_any_kind_can_be_drawn(tmp_path, is_drum):
    path = write_midi(tmp_path / "one.mid", [(0, 1, 35), (70, 71, 100)], program=12, is_drum=is_drum)
    draw_piano_roll(read_roll(path), tmp_path / "one.png", "one")
    assert (tmp_path / "one.png").stat().st_size > 1000


@pytest.mark.parametrize("bars", ["-1", "x"])
def test_a_bad_prompt_length_is_refused_in_a_sentence(song, tmp_path, capsys, bars):
    with pytest.raises(SystemExit) as stop:
        main([str(song), str(tmp_path), f"--prompt-bars={bars}"])
    assert stop.value.code == 2
    assert "is not a number of bars" in capsys.readouterr().err
