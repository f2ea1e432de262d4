"""The page as a listener has it, in a real browser without a network; skipped where none is installed."""

import json
import time

import pytest

from listening.page import main

HOSTILE = "</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, write_song, band):
    folder = tmp_path_factory.mktemp("songs")
    write_song(folder / "generated_0.mid", band)
    write_song(folder / "generated_1.mid", {40: [(0, 3, 60)], 70: [(3, 6, 62)]}, metre=(3, 4))
    (folder / "songs.json").write_text(
        json.dumps(
            {
                "controls": {"seed": "1", HOSTILE: f"'\"&{HOSTILE}"},
                "songs": [{"file": "generated_0.mid", "given_bars": [[1, 4]], "sections": [["A", 1, 8], ["B", 9, 8]]}],
            }
        )
    )
    assert main([str(folder)]) == 0
    return folder


@pytest.fixture
def page(browser, folder):
    """The page freshly loaded; at the end nothing may have gone wrong in it."""
    browser.errors.clear()
    browser.show_at(1280, 900)
    browser.open(folder / "index.html")
    browser.wait_for("window.player !== undefined")
    yield browser
    assert browser.errors == []


def scheduled(page):
    return page.evaluate("player.scheduled")


def play(page, song=1):
    page.click(f"article:nth-of-type({song}) .play")
    page.wait_for("player.playing")


def test_it_shows_songs_and_controls_as_text(page):
    assert page.evaluate("[...document.querySelectorAll('h2')].map(e => e.textContent)")[:2] == [
        "generated_0",
        "generated_1",
    ]
    shown = page.evaluate("[...document.querySelectorAll('dt, dd')].map(e => e.textContent)")
    assert shown == ["seed", "1", HOSTILE, f"'\"&{HOSTILE}"]
    assert page.evaluate("document.images.length") == 0
    facts = page.evaluate("[...document.querySelectorAll('.facts')].map(e => e.textContent)")
    assert facts == [
        "16 bars · 0:32 · 120 bpm · 4/4 · 400 notes · given: bars 1–4",
        "2 bars · 0:03 · 120 bpm · 3/4 · 2 notes",
    ]


def drawn(page, selector):
    """How many different colours a canvas has."""
    return page.evaluate(
        f"(canvas => new Set(new Uint32Array(canvas.getContext('2d').getImageData(0, 0, canvas.width, "
        f"canvas.height).data.buffer)).size)(document.querySelector({selector!r}))"
    )


@pytest.mark.parametrize("canvas", [".roll canvas", ".strip", ".matrix"])
def test_pictures_are_drawn(page, canvas):
    assert drawn(page, canvas) > 8 if canvas != ".matrix" else drawn(page, canvas) >= 2


def test_playing_moves_the_clock_and_schedules_notes(page):
    play(page)
    page.wait_for("player.position() > 1.2")
    assert page.evaluate("player.room.context.state") == "running"
    assert all(count > 0 for count in scheduled(page))
    # two notes of the melody a second: those that have begun, and no more in advance than the look-ahead says
    count, position = page.evaluate("[player.scheduled[0], player.position()]")
    assert 3 <= count <= 2 * (position + page.evaluate("LOOK_AHEAD")) + 1
    assert page.evaluate("document.querySelector('.now').textContent") != "0:00"
    page.press(" ", "Space")
    page.wait_for("!player.playing")
    stopped = scheduled(page)
    time.sleep(0.3)
    assert scheduled(page) == stopped
    assert page.evaluate("player.songs[0].position") > 1


def test_notes_are_due_at_their_times(page):
    """What is handed to the sound card: each start, by its clock, is the note's time since playing began."""
    page.evaluate("""{
        window.due = [];
        const original = AudioBufferSourceNode.prototype.start;
        AudioBufferSourceNode.prototype.start = function (when, ...rest) {
            window.due.push(when);
            return original.call(this, when, ...rest);
        };
    }""")
    page.evaluate("player.songs[0].tracks.forEach((track, n) => track.muted = n !== 0)")
    play(page)
    page.wait_for("window.due.length > 4")
    due = page.evaluate("window.due.map(when => when - player.began)")
    assert due[:5] == pytest.approx([0, 0.5, 1, 1.5, 2], abs=1e-6)
    page.evaluate("player.pause()")


def test_a_muted_track_is_scheduled_no_more(page):
    play(page)
    page.wait_for("player.position() > 0.4")
    page.click(".track:nth-of-type(2)")
    assert page.evaluate("player.songs[0].tracks.map(track => track.muted)") == [False, True] + 4 * [False]
    before = scheduled(page)
    page.wait_for("player.position() > 1.6")
    after = scheduled(page)
    assert after[1] == before[1]
    assert after[0] > before[0]
    page.click(".track:nth-of-type(2)")
    page.wait_for(f"player.scheduled[1] > {before[1]}")
    page.evaluate("player.pause()")


def test_seeking(page):
    play(page)
    page.click(".strip", x=0.5)
    assert page.evaluate("player.position()") == pytest.approx(16, abs=0.6)
    page.click(".roll canvas", x=0.6, y=0.4)  # wherever it has scrolled to, the click says where
    at = page.evaluate("player.songs[0].position")
    assert at != pytest.approx(16, abs=0.2)
    page.press("ArrowRight", "ArrowRight")
    place = page.evaluate("player.from")
    assert place % 2 == pytest.approx(0, abs=1e-6)
    assert place > at
    page.evaluate("player.seek(player.songs[0], 31.5)")
    page.wait_for("!player.playing")
    assert page.evaluate("player.songs[0].position") == 0


def test_a_click_in_the_matrix_goes_to_that_bar(page):
    page.click(".matrix", x=8.5 / 16, y=0.2)
    assert page.evaluate("player.songs[0].position") == pytest.approx(16)


def test_another_song_takes_over(page):
    play(page)
    play(page, 2)
    page.wait_for("player.current === player.songs[1]")
    assert page.evaluate("document.querySelectorAll('.play.on').length") == 1
    page.wait_for("player.position() > 0.1")
    page.evaluate("player.pause()")


def test_the_download_is_the_file(page, folder, tmp_path):
    page.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path), eventsEnabled=True)
    page.click(".download")
    page.wait_for("true")
    for _ in range(100):
        if (tmp_path / "generated_0.mid").exists():
            break
        time.sleep(0.05)
    assert (tmp_path / "generated_0.mid").read_bytes() == (folder / "generated_0.mid").read_bytes()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_telephone(page, scheme):
    page.show_at(360, 740, scheme, scale=2)
    page.wait_for("innerWidth === 360")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    heights = page.evaluate(
        "[...document.querySelectorAll('button, .download, .strip')].map(e => e.getBoundingClientRect().height)"
    )
    assert len(heights) > 12
    assert min(heights) >= 40
    names = page.evaluate("[...document.querySelectorAll('button, a')].map(e => e.ariaLabel || e.textContent)")
    assert all(names)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(246, 244, 239)", "dark": "rgb(18, 20, 23)"}[scheme]


def test_all_programs_and_drums_sound_without_clipping(page):
    """Each sound is finite, heard, and as loud as the others within reason; a note of each goes through the graph."""
    faults = page.evaluate("""(() => {
        const bank = new SoundBank(), faults = [];
        const check = (name, { buffer }) => {
            const samples = buffer.getChannelData(0);
            const peak = samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
            if (!(peak > 0.02 && peak < 2)) faults.push(`${name}: peak ${peak}`);
        };
        PROGRAMS.forEach(([name], program) => {
            for (const pitch of [36, 60, 84]) check(`${name} ${pitch}`, bank.sound(program, pitch, 0.5));
        });
        for (let key = 27; key < 88; key++) check(`drum ${key}`, bank.sound(128, key, 0));
        return [PROGRAMS.length, ...faults];
    })()""")
    assert faults == [128]


def test_a_note_begins_and_ends_without_a_click(page):
    """Rendered into memory: no step between samples is larger than the sound itself has, and silence follows."""
    steps = page.evaluate("""(async () => {
        const results = [];
        for (const program of [80, 0, 25, 43, 48]) {
            const context = new OfflineAudioContext(2, 3 * RATE, RATE);
            const channel = new Channel(new Room(context), new SoundBank(), program, 0);
            channel.play({ pitch: 57, velocity: 100, seconds: 0.8 }, 0.1);
            const samples = (await context.startRendering()).getChannelData(0);
            const largest = (from, to) => {
                let most = 0;
                for (let n = Math.floor(from * RATE) + 1; n < to * RATE; n++) {
                    most = Math.max(most, Math.abs(samples[n] - samples[n - 1]));
                }
                return most;
            };
            results.push([largest(0, 0.11), largest(0.2, 0.8), largest(0.85, 2.9), largest(2.9, 3)]);
        }
        return results;
    })()""")
    for _, playing, ending, silence in steps:
        assert playing > 1e-4
        assert ending < 1.5 * playing
        assert silence < 0.05 * playing
