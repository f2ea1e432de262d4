import pytest

from examples.make_songs import compose_song, to_midi


@pytest.fixture(scope="session")
def songs():
    """Twelve six-track songs as MidiFiles; read only."""
    return [to_midi(compose_song(number, seed=1)) for number in range(1, 13)]
