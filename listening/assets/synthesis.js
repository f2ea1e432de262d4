// Sounds as arrays of samples: struck bodies, plucked strings, and sustained sounds that loop.
// Everything is computed here from a few numbers, so that the page holds no recordings.

const RATE = 44100;

/** Numbers from 0 to 1, the same for the same seed (mulberry32), so that a page always sounds the same. */
function randomNumbers(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

const frequencyOf = (pitch) => 440 * 2 ** ((pitch - 69) / 12);

/** A decaying sine added to `out` from sample `from` on; `t60` is the time in seconds in which it falls by 60 dB. */
function addDecayingSine(out, frequency, level, t60, phase, from = 0) {
  if (frequency > 0.45 * RATE || level < 1e-6) return;
  const angle = (2 * Math.PI * frequency) / RATE;
  const decay = Math.exp(-6.9078 / (t60 * RATE));
  const last = Math.min(out.length, from + Math.ceil(1.2 * t60 * RATE));
  const turn = 2 * decay * Math.cos(angle);
  const shrink = decay * decay;
  let now = level * Math.sin(phase);
  let before = (level * Math.sin(phase - angle)) / decay;
  for (let n = from; n < last; n++) {
    out[n] += now;
    const next = turn * now - shrink * before;
    before = now;
    now = next;
  }
}

/** Noise that falls by 60 dB in `t60` seconds, between two cut-off frequencies, added to `out`. */
function addNoise(out, random, level, t60, low, high, from = 0) {
  const decay = Math.exp(-6.9078 / (t60 * RATE));
  const toHigh = 1 - Math.exp((-2 * Math.PI * high) / RATE);
  const toLow = 1 - Math.exp((-2 * Math.PI * low) / RATE);
  const last = Math.min(out.length, from + Math.ceil(1.2 * t60 * RATE));
  let once = 0, twice = 0, under = 0, size = level;
  for (let n = from; n < last; n++) {
    once += toHigh * ((random() * 2 - 1) * size - once);
    twice += toHigh * (once - twice);
    under += toLow * (twice - under);
    out[n] += twice - under;
    size *= decay;
  }
}

/**
 * A struck string, bar or bell: a sum of decaying sines, left and right a little different.
 * `partials`: [frequency ratio, level, t60 in seconds]; `beat`: how far apart, in cents, the two strings of a note are.
 */
function struck(frequency, seconds, { partials, beat = 0.6, attack = 0.002, knock = 0, knockColour = 900 }, random) {
  const length = Math.ceil(seconds * RATE);
  const sides = [new Float32Array(length), new Float32Array(length)];
  for (const [ratio, level, t60] of partials) {
    const phase = random() * 2 * Math.PI;
    const apart = 2 ** ((beat * (0.6 + 0.8 * random())) / 2400);
    sides.forEach((side, channel) => {
      const near = channel ? apart : 1 / apart;
      addDecayingSine(side, frequency * ratio * near, 0.7 * level, 0.75 * t60, phase);
      addDecayingSine(side, (frequency * ratio) / near, 0.3 * level, 1.5 * t60, phase + 0.3);
    });
  }
  for (const side of sides) {
    for (let n = 0; n < Math.min(length, 8 * attack * RATE); n++) side[n] *= 1 - Math.exp(-n / (attack * RATE));
    if (knock) addNoise(side, random, knock, 0.09, 60, knockColour);
  }
  return { channels: sides, root: frequency };
}

/** The partials of a piano string: stiff, so that they are sharp; struck at an eighth; high ones die first. */
function pianoPartials(frequency, { bright = 1, sustain = 1 } = {}) {
  const stiffness = 0.00012 * 2 ** (Math.abs(Math.log2(frequency / 130)) * 1.1);
  const longest = sustain * Math.min(14, 7.5 * (261 / frequency) ** 0.8);
  const partials = [];
  for (let k = 1; k <= 36; k++) {
    const ratio = k * Math.sqrt((1 + stiffness * k * k) / (1 + stiffness));
    if (ratio * frequency > 11000) break;
    const hammer = Math.abs(Math.sin((Math.PI * k) / 8.3)) / Math.sin(Math.PI / 8.3);
    const tilt = k ** -1.05 * Math.exp((-ratio * frequency) / (3000 * bright + 0.9 * frequency));
    partials.push([ratio, (0.15 + hammer) * tilt, longest / (1 + 0.18 * (k - 1) + ((ratio * frequency) / 5200) ** 2)]);
  }
  return partials;
}

/**
 * A plucked string (Karplus and Strong 1983, with the pick's place and a fractional delay as Jaffe and Smith's).
 * `pick`: where along the string; `bright`: cut-off of the pluck in Hz; `t60`: of the fundamental, at 220 Hz;
 * `damp`: how much duller the string becomes, 0 to 1; `body`: [Hz, level, t60] of the box.
 */
function plucked(frequency, seconds, { pick = 0.18, bright = 4000, t60 = 4, damp = 0.4, body = [], drive = 0 }, random) {
  const length = Math.ceil(seconds * RATE);
  const out = new Float32Array(length);
  const smooth = 0.5 * damp; // y = (1 - s) x[n] + s x[n-1] delays low frequencies by s samples
  const period = RATE / frequency - smooth;
  const whole = Math.floor(period - 0.3);
  const fraction = period - whole;
  const allpass = (1 - fraction) / (1 + fraction);
  const loss = 10 ** (-3 / (frequency * t60 * (220 / frequency) ** 0.5));
  const line = pluck(whole, pick, bright, random);
  let at = 0, last = 0, passedIn = 0, passedOut = 0;
  for (let n = 0; n < length; n++) {
    const sample = line[at];
    const softened = loss * ((1 - smooth) * sample + smooth * last);
    last = sample;
    passedOut = allpass * (softened - passedOut) + passedIn;
    passedIn = softened;
    line[at] = passedOut;
    at = at + 1 === whole ? 0 : at + 1;
    out[n] = sample;
  }
  for (const [hertz, level, ring] of body) addDecayingSine(out, hertz, level, ring, 0);
  if (drive) for (let n = 0; n < length; n++) out[n] = Math.tanh(drive * out[n]);
  return { channels: [out], root: frequency };
}

/** What the pick leaves on a string of `length` samples: soft noise, with gaps in its spectrum from the pick's place. */
function pluck(length, pick, bright, random) {
  const line = new Float32Array(length);
  const follow = 1 - Math.exp((-2 * Math.PI * bright) / RATE);
  let once = 0, twice = 0, sum = 0;
  for (let round = 0; round < 2; round++) { // the second round begins where the first ended, so that it closes
    const noise = randomNumbers(length * 7 + 1);
    for (let n = 0; n < length; n++) {
      once += follow * (noise() * 2 - 1 - once);
      twice += follow * (once - twice);
      line[n] = twice;
    }
  }
  const shift = Math.max(1, Math.round(pick * length));
  const picked = line.map((value, n) => value - line[(n + length - shift) % length]);
  for (const value of picked) sum += value / length;
  let loudest = 1e-9;
  for (let n = 0; n < length; n++) loudest = Math.max(loudest, Math.abs((picked[n] -= sum)));
  return picked.map((value) => (value / loudest) * (0.96 + 0.04 * random()));
}

/**
 * A sustained sound that loops without a seam, after Paul Nasca's PADsynth: harmonics widened to bands with random
 * phases, turned into sound by one inverse FFT; of many players its real and imaginary parts are left and right.
 * `harmonic(k, hertz)` gives levels; `width` in cents: 1 is one player, 30 a section; `breath(hertz)` the level of noise;
 * `under`: 2 where the first harmonic is an octave below the note; `size` a power of two.
 */
function sustained(frequency, { harmonic, breath, width = 2, under = 1, size = 65536 }, random) {
  const real = new Float64Array(size), imaginary = new Float64Array(size);
  const bin = Math.max(1, Math.round((frequency * size) / RATE / under));
  // One player stands in the middle: were both sides' phases their own, a tone would be lost where they are opposed.
  const wide = width > 5;
  const add = (at, amount) => {
    const phase = 2 * Math.PI * random(), other = wide ? 2 * Math.PI * random() : -phase;
    real[at] += amount * Math.cos(phase);
    imaginary[at] += amount * Math.sin(phase);
    real[size - at] += amount * Math.cos(other);
    imaginary[size - at] += amount * Math.sin(other);
  };
  for (let k = 1; k * bin < 0.42 * size; k++) {
    const level = harmonic(k, (k * bin * RATE) / size);
    if (level < 1e-5) continue;
    const spread = Math.max(0.35, (2 ** (width / 1200) - 1) * k * bin);
    const reach = Math.ceil(2.5 * spread);
    for (let offset = -reach; offset <= reach; offset++) {
      const at = k * bin + offset;
      if (at < 1 || at >= size / 2) continue;
      const amount = (level * Math.exp(-((offset / spread) ** 2))) / Math.sqrt(spread);
      add(at, amount);
    }
  }
  for (let at = 20; breath && at < 0.4 * size; at++) {
    const level = breath((at * RATE) / size) * Math.sqrt(65536 / size);
    add(at, level * random());
  }
  inverseFourier(real, imaginary);
  const root = (bin * under * RATE) / size;
  const sides = wide ? [real, imaginary] : [real];
  return { channels: sides.map((side) => Float32Array.from(side)), root, loops: true };
}

/** In place, radix 2, without the factor 1 / n. */
function inverseFourier(real, imaginary) {
  const size = real.length;
  for (let i = 1, j = 0; i < size; i++) {
    let bit = size >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [real[i], real[j]] = [real[j], real[i]];
      [imaginary[i], imaginary[j]] = [imaginary[j], imaginary[i]];
    }
  }
  const cosines = new Float64Array(size / 2), sines = new Float64Array(size / 2);
  for (let n = 0; n < size / 2; n++) {
    cosines[n] = Math.cos((2 * Math.PI * n) / size);
    sines[n] = Math.sin((2 * Math.PI * n) / size);
  }
  for (let half = 1; half < size; half *= 2) {
    const stride = size / (2 * half);
    for (let start = 0; start < size; start += 2 * half) {
      for (let n = 0; n < half; n++) {
        const low = start + n, high = low + half, c = cosines[n * stride], s = sines[n * stride];
        const x = real[high] * c - imaginary[high] * s, y = real[high] * s + imaginary[high] * c;
        real[high] = real[low] - x;
        imaginary[high] = imaginary[low] - y;
        real[low] += x;
        imaginary[low] += y;
      }
    }
  }
}

/** Scale to a loudness (root mean square of the loudest tenth of a second, deep bass counting less), in place. */
function levelTo(channels, target) {
  const window = Math.min(channels[0].length, RATE / 10);
  const smooth = 1 - Math.exp((-2 * Math.PI * 120) / RATE);
  let loudest = 0;
  for (const samples of channels) {
    let under = 0, power = 0;
    const end = Math.min(samples.length, RATE); // the first second tells
    for (let n = 0; n < end; n++) {
      under += smooth * (samples[n] - under);
      power += (samples[n] - under * 0.8) ** 2;
      if ((n + 1) % window === 0 || n + 1 === end) {
        loudest = Math.max(loudest, power / window);
        power = 0;
      }
    }
  }
  const gain = target / Math.sqrt(loudest + 1e-12);
  for (const samples of channels) for (let n = 0; n < samples.length; n++) samples[n] *= gain;
}
