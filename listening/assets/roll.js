// The piano roll, which scrolls with what plays.

const ROW_HEIGHT = 11; // of a drum
const QUARTER = 19; // pixels; more where the song is short
const HEAD = 34; // sections and bar numbers
const GUTTER = 46; // names of octaves and drums
const BLACK_KEYS = [1, 3, 6, 8, 10];
const GIVEN = "given";

/** A canvas's context scaled to the screen's pixels and cleared; width and height are those of its box. */
function cleared(canvas) {
  const width = canvas.clientWidth, height = canvas.clientHeight, scale = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  return { pen, width, height };
}

/** The rows of a song: pitches from low to high, and a row for each drum that it uses. */
function rowsOf(song) {
  const pitched = song.tracks.filter((track) => track.program !== DRUM_PROGRAM);
  const drums = song.tracks.find((track) => track.program === DRUM_PROGRAM);
  let low = 128, high = -1;
  for (const { notes } of pitched) {
    for (const { pitch } of notes) {
      low = Math.min(low, pitch);
      high = Math.max(high, pitch);
    }
  }
  if (high < 0) return { low: 0, high: -1, drums: drumRows(drums) };
  const lacking = Math.max(0, 24 - (high - low));
  return { low: Math.max(0, low - 1 - (lacking >> 1)), high: Math.min(127, high + 1 + (lacking >> 1)), drums: drumRows(drums) };
}

/** Map of key to row from the bottom; keys of one name share a row. */
function drumRows(track) {
  const rows = new Map(), names = [];
  const keys = track ? [...new Set(track.notes.map((note) => note.pitch))].sort((a, b) => a - b) : [];
  for (const key of keys) {
    const [name] = drumOf(key);
    if (!names.includes(name)) names.push(name);
    rows.set(key, names.indexOf(name));
  }
  return { rows, names };
}

class Roll {
  /** `colours(program)` gives a track's colour, `theme()` the page's; `onseek` is told seconds. */
  constructor(song, colours, theme, onseek) {
    Object.assign(this, { song, colours, theme, onseek });
    this.rows = rowsOf(song);
    this.canvas = element("canvas", { className: "sticky" });
    this.width = element("div", { className: "width" }, this.canvas);
    this.box = element("div", { className: "roll", tabIndex: 0, role: "region" }, this.width);
    this.box.setAttribute("aria-label", `Piano roll of ${song.data.name}; scrolls sideways`);
    this.fit();
    const pitches = this.rows.high - this.rows.low + 1;
    this.pitchHeight = pitches ? Math.min(300, Math.max(150, pitches * 4.6)) : 0;
    this.drumTop = HEAD + this.pitchHeight + (pitches ? 8 : 0);
    this.box.style.height = `${this.drumTop + this.rows.drums.names.length * ROW_HEIGHT + 22}px`;
    this.leftAloneUntil = 0;
    this.box.addEventListener("scroll", () => this.draw());
    for (const kind of ["wheel", "touchmove", "pointerdown"]) {
      this.box.addEventListener(kind, () => (this.leftAloneUntil = performance.now() + 3000), { passive: true });
    }
    this.canvas.addEventListener("click", (event) => {
      const tick = (event.offsetX - GUTTER + this.box.scrollLeft) / this.perTick;
      this.leftAloneUntil = 0;
      onseek(song.secondsAt(Math.max(0, tick)));
    });
  }

  /** Choose how wide a tick is: short songs fill the box, up to three times the usual width. */
  fit() {
    const usual = QUARTER / this.song.data.division;
    const filling = (this.box.clientWidth - GUTTER - 4) / this.song.endTick;
    this.perTick = Math.min(3 * usual, Math.max(usual, filling));
    this.width.style.width = `${GUTTER + this.song.endTick * this.perTick + 3}px`;
    this.canvas.style.width = `${this.box.clientWidth}px`;
    this.fitted = this.box.clientWidth;
  }

  x(tick) {
    return GUTTER + tick * this.perTick - this.box.scrollLeft;
  }

  y(pitch) {
    return HEAD + ((this.rows.high - pitch) / (this.rows.high - this.rows.low + 1)) * this.pitchHeight;
  }

  /** Bring the play head into view; a listener who scrolls is left alone for a while. */
  follow(seconds) {
    if (performance.now() < this.leftAloneUntil) return;
    const at = this.song.tickAt(seconds) * this.perTick;
    const shown = this.box.clientWidth - GUTTER;
    const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    const place = at - this.box.scrollLeft;
    if (!calm) this.box.scrollLeft = Math.max(0, at - 0.35 * shown);
    else if (place < 0 || place > 0.9 * shown) this.box.scrollLeft = Math.max(0, at - 0.1 * shown);
  }

  draw(seconds = this.shownAt || 0) {
    this.shownAt = seconds;
    if (this.fitted !== this.box.clientWidth) this.fit();
    const { pen, width, height } = cleared(this.canvas);
    if (!width) return;
    const colours = this.theme();
    const { bars } = this.song.data;
    const first = this.song.barAt((this.box.scrollLeft - GUTTER) / this.perTick);
    const last = this.song.barAt((this.box.scrollLeft + width) / this.perTick) + 1;
    this.drawGround(pen, width, height, colours, first, last);
    const shown = [(this.box.scrollLeft - 4) / this.perTick, (this.box.scrollLeft + width) / this.perTick];
    const now = this.song.tickAt(seconds);
    [...this.song.tracks].reverse().forEach((track) => this.drawTrack(pen, track, shown, now, colours));
    this.drawHead(pen, colours, first, last, bars);
    const x = this.x(now);
    pen.fillStyle = colours.ink;
    pen.fillRect(x - 0.75, HEAD - 8, 1.5, height - HEAD - 4);
    pen.beginPath();
    pen.moveTo(x - 5, HEAD - 12);
    pen.lineTo(x + 5, HEAD - 12);
    pen.lineTo(x, HEAD - 4);
    pen.fill();
    this.drawGutter(pen, height, colours);
  }

  drawGround(pen, width, height, colours, first, last) {
    const { bars, given } = this.song.data;
    pen.fillStyle = colours.stripe;
    for (let pitch = this.rows.low; pitch <= this.rows.high; pitch++) {
      if (BLACK_KEYS.includes(pitch % 12)) pen.fillRect(0, this.y(pitch), width, this.y(pitch - 1) - this.y(pitch));
    }
    pen.fillStyle = colours.given;
    for (const [from, to] of given) pen.fillRect(this.x(bars[from]), HEAD, this.x(bars[to]) - this.x(bars[from]), height - HEAD - 14);
    for (let pitch = this.rows.low + 1; pitch <= this.rows.high; pitch++) {
      pen.fillStyle = colours.line;
      if (pitch % 12 === 0) pen.fillRect(0, Math.round(this.y(pitch - 1)), width, 1);
    }
    for (let bar = first; bar <= last; bar++) {
      pen.fillStyle = (bar + this.song.data.first_bar - 1) % 4 ? colours.line : colours.strongLine;
      pen.fillRect(Math.round(this.x(bars[bar])), HEAD, 1, height - HEAD - 14);
    }
  }

  drawTrack(pen, track, [from, to], now, colours) {
    const drums = track.program === DRUM_PROGRAM;
    const longest = (track.longestTick ??= track.notes.reduce((most, note) => Math.max(most, note.ticks), 0));
    const rowHeight = drums ? ROW_HEIGHT - 3 : Math.max(3, this.pitchHeight / (this.rows.high - this.rows.low + 1));
    pen.fillStyle = track.muted ? colours.faint : this.colours(track.program);
    for (let n = lastAtMost(track.notes, from - longest, (note) => note.tick); n < track.notes.length; n++) {
      const note = track.notes[n];
      if (note.tick > to) break;
      if (note.tick + note.ticks < from) continue;
      const sounds = !track.muted && note.tick <= now && now < note.tick + note.ticks;
      const x = this.x(note.tick);
      pen.globalAlpha = track.muted ? 0.5 : sounds ? 1 : 0.42 + 0.48 * (note.velocity / 127);
      if (drums) {
        const y = this.drumTop + (this.rows.drums.names.length - 1 - this.rows.drums.rows.get(note.pitch)) * ROW_HEIGHT;
        this.bead(pen, x, y + 1, sounds ? 8 : 5, rowHeight);
      } else {
        const width = Math.max(2.5, note.ticks * this.perTick - 1);
        this.bead(pen, x, this.y(note.pitch) - (rowHeight > 3 ? 0 : 0.5), width, rowHeight);
      }
    }
    pen.globalAlpha = 1;
  }

  bead(pen, x, y, width, height) {
    pen.beginPath();
    pen.roundRect(x, y, width, height, Math.min(2, width / 2, height / 2));
    pen.fill();
  }

  drawHead(pen, colours, first, last, bars) {
    const { sections, given, first_bar: firstBar } = this.song.data;
    pen.font = colours.font(11);
    pen.textBaseline = "middle";
    for (const [name, from, to] of sections) {
      const x = this.x(bars[from]), end = this.x(bars[to]);
      pen.fillStyle = colours.section(name);
      pen.beginPath();
      pen.roundRect(x + 1, 0, end - x - 2, 18, 4);
      pen.fill();
      pen.fillStyle = colours.ink;
      this.label(pen, name, Math.max(x, GUTTER) + 7, 9.5, end - 4);
    }
    pen.fillStyle = colours.faint;
    const each = this.barStep();
    for (let bar = first - (first % each); bar < last; bar += each) {
      if (bar >= 0) this.label(pen, String(bar + firstBar), this.x(bars[bar]) + 7, HEAD - 7, Infinity);
    }
    const bottom = this.box.clientHeight - 8;
    for (const [from, to] of given) {
      pen.fillStyle = colours.givenInk;
      this.label(pen, GIVEN, Math.max(this.x(bars[from]), GUTTER) + 4, bottom, this.x(bars[to]));
    }
  }

  /** Bars between two numbers, so that they do not touch. */
  barStep() {
    const { bars } = this.song.data;
    const usual = ((bars[bars.length - 1] - bars[0]) / (bars.length - 1)) * this.perTick;
    return usual > 34 ? 1 : usual > 9 ? 4 : 16;
  }

  label(pen, text, x, y, end) {
    if (x + pen.measureText(text).width < end) pen.fillText(text, x, y);
  }

  drawGutter(pen, height, colours) {
    pen.fillStyle = colours.paper;
    pen.fillRect(0, HEAD - 14, GUTTER - 2, height - HEAD + 14);
    pen.fillStyle = colours.faint;
    pen.textAlign = "right";
    pen.font = colours.font(10);
    for (let pitch = this.rows.low; pitch <= this.rows.high; pitch++) {
      if (pitch % 12 === 0) pen.fillText(`C${pitch / 12 - 1}`, GUTTER - 8, (this.y(pitch) + this.y(pitch - 1)) / 2);
    }
    pen.font = colours.font(9.5);
    this.rows.drums.names.forEach((name, row) => {
      const y = this.drumTop + (this.rows.drums.names.length - 1 - row + 0.5) * ROW_HEIGHT;
      pen.fillText(name, GUTTER - 8, y, GUTTER - 10);
    });
    pen.textAlign = "left";
  }
}
