// The page: an article for each song, the keys, and the clock that moves them.

/** An element with properties and children; texts become text and never markup. */
function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// Colours of the six tracks, light and dark, after the palette of Okabe and Ito; other programs take the rest in turn.
const TRACK_COLOURS = {
  80: ["#d2571a", "#f08a4b"], 128: ["#5b5f66", "#a9adb5"], 0: ["#0f6cab", "#5fb0e8"],
  25: ["#0c8a66", "#45c39c"], 43: ["#b8649a", "#e39ac8"], 48: ["#b98a10", "#e4bd4c"],
};
const MORE_COLOURS = [["#2f8fbf", "#7fc8ee"], ["#7a5aa6", "#b497e0"], ["#8a564c", "#c99084"], ["#6d8f2f", "#a9cf63"], ["#159090", "#55cccc"], ["#b03030", "#ee8080"]];
const ROLES = { 80: "melody", 128: "drums", 0: "piano", 25: "guitar", 43: "bass", 48: "strings" };

const dark = window.matchMedia("(prefers-color-scheme: dark)");

function trackColour(program) {
  const pair = TRACK_COLOURS[program] || MORE_COLOURS[program % MORE_COLOURS.length];
  return pair[dark.matches ? 1 : 0];
}

let themeNow = null;

/** The page's colours, as the style sheet has them for light or dark. */
function theme() {
  if (themeNow) return themeNow;
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  const tints = [1, 2, 3, 4, 5, 6].map((n) => colour(`section-${n}`));
  const names = [];
  themeNow = {
    ink: colour("ink"), faint: colour("faint"), line: colour("line"), strongLine: colour("strong-line"),
    paper: colour("card"), stripe: colour("stripe"), given: colour("given"), givenInk: colour("given-ink"),
    veil: colour("veil"), cross: colour("strong-line"), accent: colour("accent"),
    matrixFrom: colour("matrix-from"), matrixTo: colour("matrix-to"), matrixEmpty: colour("matrix-empty"),
    font: (size) => `${size}px ${style.getPropertyValue("--sans")}`,
    section: (name) => {
      if (!names.includes(name)) names.push(name);
      return tints[names.indexOf(name) % tints.length];
    },
  };
  return themeNow;
}

const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
const counted = (count, one) => `${count.toLocaleString("en")} ${one}${count === 1 ? "" : "s"}`;

function trackName(song, program) {
  const six = song.tracks.every((track) => track.program in ROLES);
  if (program === DRUM_PROGRAM) return "drums";
  return six ? ROLES[program] : PROGRAMS[program][0];
}

function factsOf(song) {
  const { bars, metres, tempos, given, first_bar: firstBar } = song.data;
  const beats = tempos.map(([, bpm]) => Math.round(bpm));
  const [slow, fast] = [Math.min(...beats), Math.max(...beats)];
  const facts = [
    counted(bars.length - 1, "bar"), clock(song.seconds), `${slow === fast ? slow : `${slow}–${fast}`} bpm`,
    [...new Set(metres.map(([, metre]) => metre))].slice(0, 3).join(", "),
    counted(song.tracks.reduce((sum, track) => sum + track.notes.length, 0), "note"),
  ];
  if (given.length) {
    facts.push(`given: bars ${given.map(([from, to]) => `${from + firstBar}–${to + firstBar - 1}`).join(", ")}`);
  }
  return facts.join(" · ");
}

/** The article of a song. */
class SongView {
  constructor(song, player) {
    Object.assign(this, { song, player });
    const seek = (seconds) => player.seek(song, seconds);
    this.roll = new Roll(song, trackColour, theme, seek);
    this.strip = new Strip(song, trackColour, theme, seek);
    this.strip.canvas.addEventListener("keydown", (event) => this.slide(event));
    this.matrix = new SimilarityPicture(song, theme, (bar) => seek(song.secondsAt(song.data.bars[bar])));
    this.button = element("button", { className: "play", type: "button", onclick: () => this.toggle() }, element("span"));
    this.time = element("span", { className: "now" });
    this.bar = element("span", { className: "bar" });
    const download = element("a", { className: "download", href: `data:audio/midi;base64,${song.data.midi}`, download: song.data.file }, "MIDI");
    download.setAttribute("aria-label", `Download ${song.data.file}`);
    this.article = element("article", {},
      element("header", {},
        element("div", {}, element("h2", {}, song.data.name), element("p", { className: "facts" }, factsOf(song))), download),
      element("div", { className: "transport" }, this.button,
        element("p", { className: "time" }, this.time, ` / ${clock(song.seconds)}`, this.bar), this.strip.canvas),
      element("div", { className: "stage" }, this.roll.box, this.trackButtons(), this.figure()));
    new ResizeObserver(() => this.draw()).observe(this.article);
  }

  toggle() {
    if (this.isOn()) this.player.pause();
    else this.player.play(this.song);
  }

  isOn() {
    return this.player.current === this.song && (this.player.playing || this.player.preparing);
  }

  trackButtons() {
    this.muteButtons = this.song.tracks.map((track, index) => {
      const dot = element("span", { className: "dot" });
      const count = element("span", { className: "count" }, track.notes.length.toLocaleString("en"));
      const name = trackName(this.song, track.program);
      const button = element("button", { type: "button", className: "track" }, dot, name, count);
      button.setAttribute("aria-label", `${name}: ${counted(track.notes.length, "note")}`);
      button.title = "Mute or unmute";
      button.onclick = () => this.player.mute(this.song, index, !track.muted);
      return button;
    });
    const group = element("div", { className: "tracks", role: "group" }, ...this.muteButtons);
    group.setAttribute("aria-label", "Tracks that sound");
    return group;
  }

  figure() {
    const pictures = this.song.data.similarity;
    const buttons = pictures.map((picture) => {
      const button = element("button", { type: "button" }, picture.of);
      button.onclick = () => {
        this.matrix.choose(picture);
        this.draw();
      };
      return button;
    });
    this.pictureButtons = buttons;
    const each = this.matrix.chosen.bars_per_cell;
    const caption = `How alike the bars are${each > 1 ? `, ${each} to a cell` : ""}, each with each: stripes are repeats.`;
    const choice = element("div", { className: "choice", role: "group" }, ...(buttons.length > 1 ? buttons : []));
    return element("figure", {}, this.matrix.canvas, choice, element("figcaption", {}, caption));
  }

  slide(event) {
    const { bars } = this.song.data;
    const bar = this.song.barAt(this.song.tickAt(this.song.position));
    const wanted = { Home: 0, End: bars.length - 2, PageUp: bar - 8, PageDown: bar + 8, ArrowUp: bar + 1, ArrowDown: bar - 1 }[event.key];
    if (wanted === undefined) return;
    event.preventDefault();
    this.toBar(wanted);
  }

  toBar(bar) {
    const { bars } = this.song.data;
    this.player.seek(this.song, this.song.secondsAt(bars[Math.max(0, Math.min(bars.length - 2, bar))]));
    this.roll.follow(this.place());
  }

  /** Where the song stands, in seconds. */
  place() {
    const running = this.player.playing && this.player.current === this.song;
    return Math.min(this.song.seconds, running ? this.player.heardPosition() : this.song.position);
  }

  /** Bring words and pressed states up to date, and the pictures. */
  update() {
    const on = this.isOn();
    this.button.classList.toggle("on", on);
    this.button.classList.toggle("busy", on && this.player.preparing);
    this.button.setAttribute("aria-label", `${on ? "Pause" : "Play"} ${this.song.data.name}`);
    this.song.tracks.forEach((track, index) => {
      this.muteButtons[index].setAttribute("aria-pressed", String(!track.muted));
      this.muteButtons[index].style.setProperty("--colour", trackColour(track.program));
    });
    this.draw();
  }

  draw() {
    const seconds = this.place();
    const bar = this.song.barAt(this.song.tickAt(seconds)), number = bar + this.song.data.first_bar;
    this.time.textContent = clock(seconds);
    this.bar.textContent = `bar ${number}`;
    this.strip.canvas.setAttribute("aria-valuemin", String(this.song.data.first_bar));
    this.strip.canvas.setAttribute("aria-valuemax", String(this.song.data.first_bar + this.song.data.bars.length - 2));
    this.strip.canvas.setAttribute("aria-valuenow", String(number));
    this.strip.canvas.setAttribute("aria-valuetext", `bar ${number}, ${clock(seconds)}`);
    this.pictureButtons.forEach((button, n) => {
      button.setAttribute("aria-pressed", String(this.song.data.similarity[n] === this.matrix.chosen));
    });
    this.strip.draw(seconds);
    this.roll.draw(seconds);
    this.matrix.draw(seconds > 0 ? bar : -1);
  }
}

function buildPage() {
  const data = JSON.parse(document.getElementById("data").textContent);
  const songs = data.songs.map((song) => new Song(song));
  const views = [];
  const player = new Player(songs, () => views.forEach((view) => view.update()));
  views.push(...songs.map((song) => new SongView(song, player)));
  document.querySelector("h1").textContent = document.title = counted(songs.length, "song");
  document.getElementById("songs").append(...views.map((view) => view.article));
  const controls = document.getElementById("controls");
  for (const [name, value] of data.controls) {
    controls.append(element("div", {}, element("dt", {}, name), element("dd", {}, value)));
  }
  const faults = document.getElementById("faults");
  faults.hidden = !data.faults.length;
  faults.querySelector("ul").append(...data.faults.map((fault) => element("li", {}, fault)));
  listenToKeys(views, player);
  dark.addEventListener("change", () => {
    themeNow = null;
    views.forEach((view) => view.update());
  });
  views.forEach((view) => view.update());
  moveOn(views, player);
  window.player = player; // for tests and curious listeners
}

/** Move what plays, as often as the screen is drawn. */
function moveOn(views, player) {
  const view = player.playing && views.find((each) => each.song === player.current);
  if (view) {
    view.roll.follow(view.place());
    view.draw();
  }
  requestAnimationFrame(() => moveOn(views, player));
}

/** Space and the arrows, for the song that played last or else the first. */
function listenToKeys(views, player) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !views.length) return;
    const view = views.find((each) => each.song === player.current) || views[0];
    if (event.key === " " && !event.target.closest("button, a")) view.toggle();
    else if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      const there = views.find((each) => each.strip.canvas === event.target) || view;
      there.toBar(there.song.barAt(there.song.tickAt(there.place() + 0.02)) + (event.key === "ArrowLeft" ? -1 : 1));
    } else return;
    event.preventDefault();
  });
}

buildPage();
