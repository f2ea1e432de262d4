// The drum kit: General MIDI's keys 27 to 87, each a sum of noise and decaying sines.

/** A sine that falls from one frequency to another: the skin of a drum. */
function addSkin(out, from, to, fall, level, t60) {
  const decay = Math.exp(-6.9078 / (t60 * RATE));
  let phase = 0, size = level;
  for (let n = 0; n < out.length; n++) {
    phase += (2 * Math.PI * (to + (from - to) * Math.exp(-n / (fall * RATE)))) / RATE;
    out[n] += size * Math.sin(phase);
    size *= decay;
  }
}

/** Metal: many tones that fit no scale, and noise above `low` Hz. */
function addMetal(out, random, base, level, t60, low, noise = 0.6) {
  const ratios = [1, 1.342, 1.2312, 1.6532, 1.9523, 2.1523, 2.71, 3.17, 3.93, 4.71, 5.43, 6.24];
  for (const ratio of ratios) {
    addDecayingSine(out, base * ratio * (1 + 0.02 * random()), 0.16 * level, t60 * (0.5 + 0.6 * random()), 6.28 * random());
  }
  addNoise(out, random, noise * level, t60, low, 16000);
}

const kick = (pitch) => (out, random) => {
  addSkin(out, 3.4 * pitch, pitch, 0.022, 1, 0.42);
  addNoise(out, random, 1.1, 0.016, 1800, 9000);
};
const snare = (pitch, snap) => (out, random) => {
  addSkin(out, 1.6 * pitch, pitch, 0.012, 1.1, 0.2);
  addSkin(out, 2.6 * pitch, 1.78 * pitch, 0.012, 0.6, 0.15);
  addNoise(out, random, 1.2 * snap, 0.24, 700, 6500);
  addNoise(out, random, 0.7, 0.03, 2500, 12000);
};
const tom = (pitch) => (out, random) => {
  addSkin(out, 1.7 * pitch, pitch, 0.04, 1, 0.95);
  addSkin(out, 2.5 * pitch, 1.58 * pitch, 0.03, 0.3, 0.5);
  addNoise(out, random, 0.4, 0.05, 500, 5000);
};
const hat = (t60) => (out, random) => addMetal(out, random, 3150, 0.8, t60, 6500, 1.6);
const cymbal = (base, t60) => (out, random) => {
  addMetal(out, random, base, 0.7, t60, 3200, 1.1);
  addMetal(out, random, 2.37 * base, 0.4, 0.6 * t60, 6000, 0.9);
};
const ride = (base, bell) => (out, random) => {
  addMetal(out, random, 2.2 * base, 0.35, 1.9, 6000, 0.7);
  for (const ratio of [1, 1.51, 2.03, 2.74]) addDecayingSine(out, 1.6 * base * ratio, 0.3 * bell, 1.1, 6.28 * random());
  addNoise(out, random, 1.2, 0.03, 4000, 15000);
};
const clap = (out, random) => {
  for (const late of [0, 0.011, 0.022]) addNoise(out, random, 1.2, 0.02, 900, 4500, Math.round(late * RATE));
  addNoise(out, random, 1.1, 0.2, 900, 3600, Math.round(0.03 * RATE));
};
const shaken = (t60, low) => (out, random) => {
  addNoise(out, random, 0.8, 0.6 * t60, low, 15000);
  addNoise(out, random, 1, t60, low, 15000, Math.round(0.02 * RATE));
};
const jingle = (out, random) => {
  addMetal(out, random, 5200, 0.5, 0.28, 7000, 1);
  addNoise(out, random, 0.8, 0.1, 4000, 15000);
};
/** A block, bell or stick: a few tones. */
const tones = (frequency, t60, ratios, click = 0.3) => (out, random) => {
  ratios.forEach((ratio, n) => addDecayingSine(out, frequency * ratio, 1 / (n + 1), t60 / (1 + 0.4 * n), 0));
  addNoise(out, random, click, 0.02, 1200, 9000);
};
const scrape = (t60, teeth) => (out, random) => {
  for (let n = 0; n < teeth; n++) addNoise(out, random, 0.8, 0.012, 1500, 8000, Math.round((n / teeth) * t60 * RATE));
};
const whistle = (t60) => (out, random) => {
  addSkin(out, 2300, 2450, 0.02, 0.8, 4 * t60);
  addNoise(out, random, 0.3, t60, 2000, 6000);
};

// key: [name, seconds, loudness, place from left -1 to right 1, sound]
const DRUM_KIT = {
  35: ["kick", 0.5, 0.85, 0, kick(46)], 36: ["kick", 0.5, 0.85, 0, kick(52)],
  37: ["side stick", 0.2, 0.6, -0.1, tones(1730, 0.07, [1, 1.47, 0.31], 2)],
  38: ["snare", 0.4, 1, -0.05, snare(186, 1)], 40: ["snare", 0.4, 1, -0.05, snare(205, 1.25)],
  39: ["clap", 0.35, 0.8, 0.1, clap],
  41: ["floor tom", 1.1, 0.7, 0.4, tom(74)], 43: ["floor tom", 1.1, 0.7, 0.3, tom(88)],
  45: ["low tom", 1.1, 0.7, 0.15, tom(106)], 47: ["mid tom", 1.1, 0.7, 0, tom(128)],
  48: ["high tom", 1.1, 0.7, -0.15, tom(152)], 50: ["high tom", 1.1, 0.7, -0.3, tom(182)],
  42: ["hi-hat", 0.2, 0.22, 0.25, hat(0.085)], 44: ["pedal hat", 0.2, 0.18, 0.25, hat(0.065)],
  46: ["open hat", 1.1, 0.26, 0.25, hat(1)],
  49: ["crash", 3, 0.55, -0.35, cymbal(560, 2.8)], 57: ["crash", 2.8, 0.55, 0.35, cymbal(640, 2.1)],
  52: ["china", 2, 0.7, -0.3, cymbal(430, 1.5)], 55: ["splash", 1.2, 0.6, 0.2, cymbal(820, 0.9)],
  51: ["ride", 2, 0.34, 0.35, ride(680, 0.5)], 59: ["ride", 2, 0.34, 0.4, ride(610, 0.5)],
  53: ["ride bell", 1.6, 0.4, 0.35, ride(640, 1.8)],
  54: ["tambourine", 0.4, 0.5, 0.3, jingle], 56: ["cowbell", 0.4, 0.6, 0.2, tones(562, 0.28, [1, 1.503, 2.6], 0.4)],
  58: ["vibraslap", 1, 0.5, -0.3, scrape(0.7, 26)],
  60: ["bongo", 0.3, 0.7, 0.3, tom(330)], 61: ["bongo", 0.4, 0.7, 0.3, tom(250)],
  62: ["mute conga", 0.2, 0.7, -0.2, tom(290)], 63: ["conga", 0.5, 0.75, -0.2, tom(220)],
  64: ["low conga", 0.5, 0.75, -0.2, tom(165)],
  65: ["timbale", 0.5, 0.75, 0.2, snare(340, 0.2)], 66: ["timbale", 0.5, 0.75, 0.2, snare(250, 0.2)],
  67: ["agogo", 0.5, 0.5, -0.3, tones(920, 0.4, [1, 1.58, 2.9])], 68: ["agogo", 0.5, 0.5, -0.3, tones(690, 0.4, [1, 1.58, 2.9])],
  69: ["cabasa", 0.2, 0.45, 0.3, shaken(0.1, 5000)], 70: ["shaker", 0.15, 0.45, 0.3, shaken(0.08, 4200)],
  71: ["whistle", 0.2, 0.45, 0, whistle(0.12)], 72: ["whistle", 0.6, 0.45, 0, whistle(0.5)],
  73: ["guiro", 0.2, 0.45, 0.2, scrape(0.09, 9)], 74: ["guiro", 0.6, 0.45, 0.2, scrape(0.4, 30)],
  75: ["claves", 0.2, 0.55, -0.2, tones(2480, 0.09, [1, 1.02])],
  76: ["wood block", 0.2, 0.6, 0.2, tones(1050, 0.1, [1, 1.51])], 77: ["wood block", 0.2, 0.6, 0.2, tones(760, 0.1, [1, 1.51])],
  78: ["cuica", 0.3, 0.5, -0.2, tones(640, 0.2, [1, 1.5])], 79: ["cuica", 0.4, 0.5, -0.2, tones(420, 0.3, [1, 1.5])],
  80: ["triangle", 0.3, 0.4, 0.3, tones(4600, 0.18, [1, 1.64, 0.57], 0.1)],
  81: ["triangle", 1.8, 0.4, 0.3, tones(4600, 1.6, [1, 1.64, 0.57], 0.1)],
};

/** [name, seconds, loudness, place, sound] of a key; keys outside the kit click. */
function drumOf(key) {
  return DRUM_KIT[key] || [`drum ${key}`, 0.2, 0.5, 0, tones(400 + 12 * key, 0.08, [1, 1.48])];
}

/** What cuts off what: the hi-hat closes, the mute triangle stops the open one. */
const CHOKED_BY = { 46: [42, 44, 46], 81: [80], 74: [73], 72: [71] };
