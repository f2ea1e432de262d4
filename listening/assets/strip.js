// The strip above a roll, which shows the whole song.

/** The whole song in a strip: a slider for eyes, mouse and keyboard. */
class Strip {
  constructor(song, colours, theme, onseek) {
    Object.assign(this, { song, colours, theme });
    this.rows = rowsOf(song);
    this.canvas = element("canvas", { className: "strip", tabIndex: 0, role: "slider" });
    this.canvas.setAttribute("aria-label", `Place in ${song.data.name}`);
    const seek = (event) => onseek(song.secondsAt((event.offsetX / this.canvas.clientWidth) * song.endTick));
    this.canvas.addEventListener("pointerdown", (event) => {
      this.canvas.setPointerCapture(event.pointerId);
      seek(event);
    });
    this.canvas.addEventListener("pointermove", (event) => event.buttons && seek(event));
  }

  draw(seconds) {
    const { canvas, song } = this;
    const colours = this.theme();
    const key = `${canvas.clientWidth} ${colours.paper} ${song.tracks.map((track) => track.muted)}`;
    if (key !== this.drawn) {
      this.picture = this.drawSong(colours);
      this.drawn = key;
    }
    const { pen, width, height } = cleared(canvas);
    if (!width) return;
    pen.drawImage(this.picture, 0, 0, width, height);
    const x = (song.tickAt(seconds) / song.endTick) * width;
    pen.fillStyle = colours.veil;
    pen.fillRect(0, 0, x, height);
    pen.fillStyle = colours.ink;
    pen.fillRect(Math.min(width - 2, x - 0.75), 0, 1.5, height);
  }

  drawSong(colours) {
    const { canvas, song, rows } = this;
    const { pen, width, height } = cleared(canvas);
    const across = (tick) => (tick / song.endTick) * width;
    const { bars, given, sections } = song.data;
    for (const [name, from, to] of sections) {
      pen.fillStyle = colours.section(name);
      pen.fillRect(across(bars[from]) + 0.5, 0, across(bars[to]) - across(bars[from]) - 1, 5);
    }
    pen.fillStyle = colours.given;
    for (const [from, to] of given) pen.fillRect(across(bars[from]), 5, across(bars[to]) - across(bars[from]), height - 5);
    const top = 8, span = height - top - 3;
    for (const track of [...song.tracks].reverse()) {
      const drums = track.program === DRUM_PROGRAM;
      if (drums && rows.high >= 0) continue; // they would cover the rest
      pen.fillStyle = track.muted ? colours.line : this.colours(track.program);
      pen.globalAlpha = 0.75;
      for (const note of track.notes) {
        const place = drums ? 0.5 : (rows.high - note.pitch) / (rows.high - rows.low);
        pen.fillRect(across(note.tick), top + place * (span - 2), Math.max(1, across(note.ticks)), 1.6);
      }
    }
    pen.globalAlpha = 1;
    const picture = document.createElement("canvas");
    picture.width = Math.max(1, canvas.width);
    picture.height = Math.max(1, canvas.height);
    picture.getContext("2d").drawImage(canvas, 0, 0);
    return picture;
  }
}
