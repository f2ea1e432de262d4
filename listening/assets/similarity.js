// The picture of which bars of a song repeat which.

const EMPTY_CELL = 255, ALIKE = 250;

class SimilarityPicture {
  /** `onseek` is told the bar, from 0, of the column that was clicked. */
  constructor(song, theme, onseek) {
    Object.assign(this, { song, theme });
    this.chosen = song.data.similarity[0];
    this.canvas = element("canvas", { className: "matrix", role: "img" });
    this.canvas.setAttribute("aria-label", `How alike the bars of ${song.data.name} are, each with each`);
    this.canvas.addEventListener("click", (event) => {
      const share = event.offsetX / this.canvas.clientWidth;
      onseek(Math.min(song.data.bars.length - 2, Math.floor(share * (song.data.bars.length - 1))));
    });
  }

  choose(picture) {
    this.chosen = picture;
    this.drawn = null;
  }

  /** Draw, with a cross at `bar`, or none where it is -1. */
  draw(bar) {
    const colours = this.theme();
    const key = colours.paper + this.chosen.of;
    if (key !== this.drawn) {
      this.picture = this.cells(colours);
      this.drawn = key;
    }
    const { pen, width, height } = cleared(this.canvas);
    if (!width) return;
    pen.imageSmoothingEnabled = this.chosen.size > width;
    pen.drawImage(this.picture, 0, 0, width, height);
    const bars = this.song.data.bars.length - 1;
    pen.fillStyle = colours.cross;
    for (const [, from] of this.song.data.sections) {
      const at = Math.round((from / bars) * width);
      if (at) pen.fillRect(at, 0, 0.7, height);
      if (at) pen.fillRect(0, at, width, 0.7);
    }
    if (bar < 0) return;
    const size = Math.max(2, width / bars), at = Math.min(width - size, (bar / bars) * width);
    pen.strokeStyle = colours.accent;
    pen.strokeRect(at + 0.5, 0.5, size - 1, height - 1);
    pen.strokeRect(0.5, at + 0.5, width - 1, size - 1);
  }

  cells(colours) {
    const { size, cells } = this.chosen;
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = size;
    const pen = canvas.getContext("2d");
    const image = pen.createImageData(size, size);
    const values = bytesOf(cells);
    const [from, to, empty] = [colours.matrixFrom, colours.matrixTo, colours.matrixEmpty].map(channelsOf);
    values.forEach((value, n) => {
      const share = value / ALIKE;
      for (let channel = 0; channel < 3; channel++) {
        const mixed = from[channel] + (to[channel] - from[channel]) * share;
        image.data[4 * n + channel] = value === EMPTY_CELL ? empty[channel] : mixed;
      }
      image.data[4 * n + 3] = 255;
    });
    pen.putImageData(image, 0, 0);
    return canvas;
  }
}

const bytesOf = (base64) => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));

/** [red, green, blue] of a colour written #rrggbb. */
const channelsOf = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
