// From notes to loudspeakers: computed sounds are kept, each note is a source, a filter and an envelope.

const DRUM_PROGRAM = 128;
const LOUDNESS = 0.1; // of one note at full velocity, as levelTo measures it

/** Sounds that were computed, for all songs of the page. */
class SoundBank {
  constructor() {
    this.sounds = new Map();
  }

  /** The sound nearest to a note of a program that lasts `seconds`: { buffer, root, loops }. */
  sound(program, pitch, seconds) {
    const key = this.key(program, pitch);
    const wanted = this.lengthOf(program, pitch, seconds);
    const kept = this.sounds.get(key);
    if (kept && kept.seconds >= wanted) return kept;
    const made = program === DRUM_PROGRAM ? this.drum(pitch) : this.tone(program, pitch, wanted);
    this.sounds.set(key, made);
    return made;
  }

  has(program, pitch, seconds) {
    const kept = this.sounds.get(this.key(program, pitch));
    return Boolean(kept) && kept.seconds >= this.lengthOf(program, pitch, seconds);
  }

  key(program, pitch) {
    if (program === DRUM_PROGRAM) return `drum ${pitch}`;
    return `${program} ${Math.round(pitch / PROGRAMS[program][1].step)}`;
  }

  /** Lengths are powers of two, so that few are computed; 8 seconds of what dies away are enough. */
  lengthOf(program, pitch, seconds) {
    return program === DRUM_PROGRAM ? 0 : Math.min(8, 2 ** Math.ceil(Math.log2(Math.max(1, seconds))));
  }

  tone(program, pitch, seconds) {
    const recipe = PROGRAMS[program][1];
    const centre = Math.round(pitch / recipe.step) * recipe.step;
    const made = recipe.make(frequencyOf(centre), seconds + 0.5, randomNumbers(1000 * program + centre));
    levelTo(made.channels, LOUDNESS * recipe.level);
    if (!made.loops) fadeOut(made.channels);
    return { buffer: bufferOf(made.channels), root: made.root, loops: Boolean(made.loops), seconds };
  }

  drum(key) {
    const [, length, loudness, , add] = drumOf(key);
    const samples = new Float32Array(Math.ceil(length * RATE));
    add(samples, randomNumbers(key));
    levelTo([samples], LOUDNESS * loudness);
    fadeOut([samples]);
    return { buffer: bufferOf([samples]), root: 1, loops: false, seconds: 0 };
  }
}

function fadeOut(channels) {
  const length = Math.round(0.05 * RATE);
  for (const samples of channels) {
    for (let n = 1; n <= Math.min(length, samples.length); n++) samples[samples.length - n] *= (n - 1) / length;
  }
}

function bufferOf(channels) {
  const buffer = new AudioBuffer({ numberOfChannels: channels.length, length: channels[0].length, sampleRate: RATE });
  channels.forEach((samples, n) => buffer.copyToChannel(samples, n));
  return buffer;
}

/** What all notes go through: a small room and a limiter. `context` may be one that writes to memory. */
class Room {
  constructor(context) {
    this.context = context;
    this.dry = new GainNode(context, { gain: 0.9 });
    this.wet = new GainNode(context, { gain: 0.55 });
    const limiter = new DynamicsCompressorNode(context, { threshold: -9, knee: 9, ratio: 12, attack: 0.003, release: 0.2 });
    const echo = new ConvolverNode(context, { buffer: roomEcho() });
    this.dry.connect(limiter);
    this.wet.connect(echo).connect(limiter).connect(context.destination);
  }
}

/** What a room answers to a click: noise that grows duller and dies in 1.7 seconds, both ears apart. */
function roomEcho() {
  const length = Math.round(1.7 * RATE);
  const random = randomNumbers(5);
  const sides = [0, 1].map(() => {
    const side = new Float32Array(length);
    let soft = 0;
    for (let n = Math.round(0.012 * RATE); n < length; n++) {
      const time = n / RATE;
      soft += (0.12 + 0.5 * Math.exp(-4 * time)) * (random() * 2 - 1 - soft);
      side[n] = soft * Math.exp(-4.1 * time);
    }
    return side;
  });
  return bufferOf(sides);
}

/** One track as it sounds now: silence it or throw it away, and its notes go with it. */
class Channel {
  constructor(room, bank, program, place) {
    this.room = room;
    this.bank = bank;
    this.program = program;
    this.voices = new Set();
    const context = room.context;
    this.out = new GainNode(context);
    const wet = program === DRUM_PROGRAM ? 0.12 : PROGRAMS[program][1].wet;
    const panner = new StereoPannerNode(context, { pan: place });
    this.nodes = [this.out, panner, new GainNode(context, { gain: wet })];
    this.out.connect(panner).connect(room.dry);
    panner.connect(this.nodes[2]).connect(room.wet);
  }

  /** Let a note sound at `when` on the context's clock, from `into` seconds after its start on. */
  play(note, when, into = 0) {
    if (this.program === DRUM_PROGRAM) this.strike(note, when, into);
    else this.sing(note, when, into);
  }

  strike(note, when, into) {
    const sound = this.bank.sound(DRUM_PROGRAM, note.pitch, 0);
    if (into > 0.03) return; // a stroke is not heard from its middle on
    const [, , , place] = drumOf(note.pitch);
    const context = this.room.context;
    const source = new AudioBufferSourceNode(context, { buffer: sound.buffer });
    const envelope = new GainNode(context, { gain: strength(note.velocity) });
    const panner = new StereoPannerNode(context, { pan: 0.6 * place });
    source.connect(envelope).connect(panner).connect(this.out);
    source.start(when);
    if (note.choked < Infinity) {
      envelope.gain.setTargetAtTime(0, when + note.choked, 0.02);
      source.stop(when + note.choked + 0.2);
    }
    this.keep(source, [source, envelope, panner]);
  }

  sing(note, when, into) {
    const recipe = PROGRAMS[this.program][1];
    const sound = this.bank.sound(this.program, note.pitch, note.seconds + recipe.release);
    const context = this.room.context;
    const frequency = frequencyOf(note.pitch);
    const rate = frequency / sound.root;
    const source = new AudioBufferSourceNode(context, { buffer: sound.buffer, loop: sound.loops, playbackRate: rate });
    const left = Math.max(0.03, note.seconds - into);
    const filter = this.filter(recipe, note, frequency, when);
    const envelope = new GainNode(context, { gain: 0 });
    const end = this.shape(envelope.gain, recipe, strength(note.velocity), when, left, into > 0);
    source.connect(filter).connect(envelope).connect(this.out);
    const nodes = [source, filter, envelope];
    if (recipe.vibrato && left > 0.35) nodes.push(...this.vibrato(source, recipe.vibrato, when, end));
    // A loop begins anywhere in it, so that the notes of a chord do not move together.
    const begin = sound.loops ? (0.618 * (note.pitch * 7 + Math.floor(when * 10))) % sound.buffer.duration : into * rate;
    source.start(when, begin);
    source.stop(end);
    this.keep(source, nodes);
  }

  /** Softer notes are duller, and some instruments begin brighter than they go on. */
  filter(recipe, note, frequency, when) {
    const force = note.velocity / 127;
    const cutoff = Math.min(18000, (recipe.open[0] + recipe.open[1] * frequency) * (0.3 + 0.9 * force * force));
    const filter = new BiquadFilterNode(this.room.context, { type: "lowpass", frequency: cutoff, Q: 0 });
    if (recipe.bite) {
      filter.frequency.setValueAtTime(Math.min(20000, cutoff * (1 + recipe.bite)), when);
      filter.frequency.setTargetAtTime(cutoff, when + recipe.attack, 0.12);
    }
    return filter;
  }

  /** The envelope; returns when the note has died away. */
  shape(gain, recipe, peak, when, seconds, late) {
    const attack = late ? 0.02 : Math.max(0.001, Math.min(recipe.attack, 0.7 * seconds));
    gain.setValueAtTime(0, when);
    gain.linearRampToValueAtTime(peak, when + attack);
    if (recipe.sustain < 1) gain.setTargetAtTime(peak * recipe.sustain, when + attack, recipe.decay / 3);
    const off = Math.max(when + seconds, when + attack + 0.001);
    gain.setTargetAtTime(0, off, recipe.release / 4);
    return off + 2 * recipe.release;
  }

  vibrato(source, cents, when, end) {
    const context = this.room.context;
    const wave = new OscillatorNode(context, { frequency: 5.2 });
    const depth = new GainNode(context, { gain: 0 });
    depth.gain.setValueAtTime(0, when + 0.18);
    depth.gain.linearRampToValueAtTime(cents, when + 0.6);
    wave.connect(depth).connect(source.detune);
    wave.start(when);
    wave.stop(end);
    return [wave, depth];
  }

  keep(source, nodes) {
    this.voices.add(source);
    source.onended = () => {
      this.voices.delete(source);
      for (const node of nodes) node.disconnect();
    };
  }

  /** Silence without a click; the channel is not used again. */
  close() {
    const now = this.room.context.currentTime;
    this.out.gain.setTargetAtTime(0, now, 0.012);
    for (const source of this.voices) source.stop(now + 0.1);
    setTimeout(() => this.nodes.forEach((node) => node.disconnect()), 300);
  }
}

/** Gain of a velocity: 127 is 1, 64 a third. */
const strength = (velocity) => (velocity / 127) ** 1.6;
