// Songs in time: ticks and seconds, and which notes to hand to the sound card next.

const LOOK_AHEAD = 0.3; // seconds of notes that are handed over in advance
const HIDDEN_LOOK_AHEAD = 2.5; // browsers wake a hidden page once a second
const TICK = 40; // milliseconds between looks

/** A song of the page's data with times in seconds. Notes are { start, seconds, pitch, velocity, tick, ticks }. */
class Song {
  constructor(data) {
    this.data = data;
    this.tempos = [];
    let seconds = 0;
    data.tempos.forEach(([tick, bpm], n) => {
      if (n) seconds = this.secondsAt(tick);
      this.tempos.push({ tick, seconds, each: 60 / bpm / data.division });
    });
    this.tracks = data.tracks.map((track) => ({ program: track.program, notes: this.notesOf(track.notes), muted: false }));
    for (const track of this.tracks) {
      track.longest = track.notes.reduce((longest, note) => Math.max(longest, note.seconds), 0);
      if (track.program === DRUM_PROGRAM) choke(track.notes);
    }
    const ends = this.tracks.map((track) => track.notes.reduce((end, note) => Math.max(end, note.tick + note.ticks), 0));
    this.endTick = Math.max(data.bars[data.bars.length - 1], ...ends);
    this.seconds = this.secondsAt(Math.max(...ends));
    this.position = 0; // where it was left, in seconds
  }

  notesOf(flat) {
    const notes = [];
    for (let n = 0, tick = 0; n < flat.length; n += 4) {
      tick += flat[n];
      const start = this.secondsAt(tick);
      const seconds = this.secondsAt(tick + flat[n + 1]) - start;
      notes.push({ start, seconds, pitch: flat[n + 2], velocity: flat[n + 3], tick, ticks: flat[n + 1], choked: Infinity });
    }
    return notes;
  }

  secondsAt(tick) {
    const tempo = this.tempos[lastAtMost(this.tempos, tick, (change) => change.tick)];
    return tempo.seconds + (tick - tempo.tick) * tempo.each;
  }

  tickAt(seconds) {
    const tempo = this.tempos[lastAtMost(this.tempos, seconds, (change) => change.seconds)];
    return tempo.tick + (seconds - tempo.seconds) / tempo.each;
  }

  /** The bar, from 0, that a tick lies in. */
  barAt(tick) {
    return Math.min(this.data.bars.length - 2, lastAtMost(this.data.bars, tick, (line) => line));
  }
}

/** The index of the last entry whose key is at most `value`; 0 when there is none. Keys rise. */
function lastAtMost(entries, value, key) {
  let low = 0, high = entries.length;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (key(entries[middle]) <= value) low = middle;
    else high = middle;
  }
  return low;
}

/** Cut drums that others stop, such as an open hi-hat by a closed one: sets `choked`, seconds after the start. */
function choke(notes) {
  const sounding = new Map();
  for (const note of notes) {
    for (const [key, stoppers] of Object.entries(CHOKED_BY)) {
      const open = sounding.get(Number(key));
      if (open && open.start < note.start && stoppers.includes(note.pitch)) {
        open.choked = note.start - open.start;
        sounding.delete(Number(key));
      }
    }
    if (CHOKED_BY[note.pitch]) sounding.set(note.pitch, note);
  }
}

/** Plays one song of several at a time. `scheduled` counts, for the song that plays, the notes handed over by track. */
class Player {
  constructor(songs, onchange) {
    this.songs = songs;
    this.onchange = onchange;
    this.bank = new SoundBank();
    this.current = null;
    this.playing = false;
    this.scheduled = [];
    this.lines = []; // for each track of the current song: { channel, next }
  }

  /** Play `song` from where it was left; resolves when it has begun. */
  async play(song) {
    this.pause();
    this.current = song;
    if (song.position >= song.seconds - 0.01) song.position = 0;
    this.room ||= new Room(new AudioContext({ latencyHint: "interactive" }));
    const request = (this.request = {});
    this.preparing = true;
    this.onchange();
    const resumed = this.room.context.resume();
    for (const [program, note] of this.soon(song.position, 1.5)) {
      if (this.bank.has(program, note.pitch, this.soundingTime(program, note))) continue; // a note before had it made
      this.bank.sound(program, note.pitch, this.soundingTime(program, note));
      await new Promise((resolve) => setTimeout(resolve));
      if (this.request !== request) return;
    }
    await resumed;
    if (this.request !== request) return;
    this.preparing = false;
    this.playing = true;
    this.scheduled = song.tracks.map(() => 0);
    this.begin(song.position);
    this.timer = setInterval(() => this.tick(), TICK);
    this.onchange();
  }

  pause() {
    this.request = null;
    this.preparing = false;
    if (this.playing) {
      this.current.position = Math.min(this.position(), this.current.seconds);
      this.stopSounding();
    }
    this.playing = false;
    clearInterval(this.timer);
    this.onchange();
  }

  seek(song, seconds) {
    song.position = Math.max(0, Math.min(seconds, song.seconds));
    if (this.playing && song === this.current) {
      this.stopSounding();
      this.begin(song.position);
    }
    this.onchange();
  }

  mute(song, index, muted) {
    song.tracks[index].muted = muted;
    if (this.playing && song === this.current) {
      this.lines[index].channel.close();
      this.lines[index] = this.lineOf(index, this.position());
      this.tick();
    }
    this.onchange();
  }

  /** Seconds into the current song, by the clock that the sound is on. */
  position() {
    if (!this.playing) return this.current ? this.current.position : 0;
    return Math.max(this.from, this.from + this.room.context.currentTime - this.began);
  }

  /** As `position`, of what the loudspeakers give now. */
  heardPosition() {
    const late = (this.playing && (this.room.context.outputLatency || this.room.context.baseLatency)) || 0;
    return Math.max(this.playing ? this.from : 0, this.position() - late);
  }

  begin(seconds) {
    this.from = seconds;
    this.began = this.room.context.currentTime + 0.06;
    this.lines = this.current.tracks.map((_, index) => this.lineOf(index, seconds));
    this.tick();
  }

  stopSounding() {
    for (const line of this.lines) line.channel.close();
    this.lines = [];
  }

  /** A fresh channel for a track, and the first note that sounds at `seconds` or later. */
  lineOf(index, seconds) {
    const track = this.current.tracks[index];
    const places = [0, -0.25, 0.25, -0.4, 0.4, -0.12, 0.12];
    const place = index === 0 || track.program === DRUM_PROGRAM || isBass(track.program) ? 0 : places[index % 7];
    const earliest = seconds - track.longest;
    let next = lastAtMost(track.notes, earliest, (note) => note.start);
    while (next < track.notes.length && track.notes[next].start + track.notes[next].seconds <= seconds) next++;
    return { channel: new Channel(this.room, this.bank, track.program, place), next, since: seconds };
  }

  /** Hand over the notes that are due soon, and compute a sound that will be needed. */
  tick() {
    const song = this.current;
    const until = this.position() + (document.hidden ? HIDDEN_LOOK_AHEAD : LOOK_AHEAD);
    this.lines.forEach((line, index) => {
      const { notes, muted } = song.tracks[index];
      for (; line.next < notes.length && notes[line.next].start < until; line.next++) {
        const note = notes[line.next];
        if (note.start + note.seconds <= line.since || muted) continue;
        const into = Math.max(0, line.since - note.start);
        line.channel.play(note, this.began + note.start + into - this.from, into);
        this.scheduled[index]++;
      }
    });
    this.computeAhead();
    if (this.position() > song.seconds + 1.5) {
      this.pause();
      song.position = 0;
      this.onchange();
    }
  }

  computeAhead() {
    const [first] = this.soon(this.position(), 8);
    if (first) this.bank.sound(first[0], first[1].pitch, this.soundingTime(...first));
  }

  /** [program, note] for sounds that are not computed yet, of notes within `seconds` from `from` on, the next first. */
  soon(from, seconds) {
    const wanted = [];
    for (const { program, notes, longest, muted } of this.current.tracks) {
      if (muted) continue;
      for (let n = lastAtMost(notes, from - longest, (note) => note.start); n < notes.length; n++) {
        if (notes[n].start > from + seconds) break;
        if (!this.bank.has(program, notes[n].pitch, this.soundingTime(program, notes[n]))) wanted.push([program, notes[n]]);
      }
    }
    return wanted.sort((a, b) => a[1].start - b[1].start);
  }

  soundingTime(program, note) {
    return program === DRUM_PROGRAM ? 0 : note.seconds + PROGRAMS[program][1].release;
  }
}

const isBass = (program) => (program >= 32 && program < 40) || program === 43;
