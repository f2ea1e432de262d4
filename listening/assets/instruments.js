// The 128 programs of General MIDI: what they are called, and which of a few recipes makes their sound.
//
// A recipe has `make(frequency, seconds, random)`; `step`, how many semitones share one sound; an envelope in seconds
// (`attack`, `decay` to `sustain`, a share, and `release`); `open`, the cut-off of the low-pass at full velocity as
// [Hz, multiples of the note's frequency]; `bite`, how far the cut-off opens further at the attack; `vibrato` in cents;
// `level`; and `wet`, the share that is sent to the room.

const recipe = (make, settings) => ({
  make, step: 3, attack: 0.001, decay: 1, sustain: 1, release: 0.1, open: [9000, 3], bite: 0, vibrato: 0, level: 1,
  wet: 0.2, ...settings,
});

// Struck and plucked: they die away by themselves.
const piano = (options = {}, settings = {}) =>
  recipe((frequency, seconds, random) => {
    const partials = pianoPartials(frequency, options);
    return struck(frequency, seconds, { partials, beat: 0.8, attack: 0.0012, knock: 0.3, knockColour: 2600, ...options }, random);
  }, { release: 0.16, open: [8500, 9], level: 0.62, ...settings });
const mallet = (partials, t60, options = {}, settings = {}) =>
  recipe((frequency, seconds, random) => {
    const ring = t60 * (440 / frequency) ** 0.5;
    const scaled = partials.map(([ratio, level, share]) => [ratio, level, ring * share]);
    return struck(frequency, seconds, { partials: scaled, knock: 0.1, knockColour: 2500, ...options }, random);
  }, { release: 0.5, wet: 0.3, level: 0.65, ...settings });
const string = (options, settings = {}) =>
  recipe((frequency, seconds, random) => plucked(frequency, seconds, options, random),
    { step: 2, release: 0.16, open: [6500, 6], ...settings });

// Sustained: a spectrum that loops.
const held = (options, settings = {}) =>
  recipe((frequency, seconds, random) => sustained(frequency, options, random),
    { step: 5, attack: 0.03, release: 0.12, open: [2500, 8], wet: 0.3, ...settings });
const bump = (hertz, centre, width) => Math.exp(-((Math.log2(hertz / centre) / width) ** 2));
const saw = (slope, top) => (k, hertz) => k ** -slope * Math.exp(-hertz / top);
const odd = (even, slope, top) => (k, hertz) => (k % 2 ? 1 : even) * k ** -slope * Math.exp(-hertz / top);
const listed = (...levels) => (k) => levels[k - 1] || 0;
const bowed = (k, hertz) =>
  (saw(0.95, 5200)(k, hertz)) * (0.35 + bump(hertz, 290, 0.5) + 0.8 * bump(hertz, 560, 0.5) + 0.9 * bump(hertz, 2600, 0.9));
const vowel = (...formants) => (k, hertz) =>
  k ** -0.7 * (0.02 + formants.reduce((sum, [centre, level, width]) => sum + level * bump(hertz, centre, width), 0));
const reed = (even, centre) => (k, hertz) => odd(even, 0.75, 4200)(k, hertz) * (0.25 + bump(hertz, centre, 0.9));
const windy = (level, centre) => (hertz) => 0.16 * level * bump(hertz, centre, 1.3);
const drawbars = (...levels) => (k) => levels[[1, 3, 2, 4, 6, 8, 10, 12, 16].indexOf(k)] || 0;

const TINE = [[1, 1, 1], [2, 0.12, 0.6], [3, 0.05, 0.4], [7.1, 0.12, 0.09], [14, 0.1, 0.05]];
const REEDY = [[1, 1, 1], [2, 0.55, 0.8], [3, 0.4, 0.6], [4, 0.2, 0.5], [5, 0.16, 0.4], [6, 0.08, 0.3]];
const MARIMBA = [[1, 1, 1], [3.93, 0.22, 0.22], [9.6, 0.06, 0.08]];
const XYLOPHONE = [[1, 1, 1], [3, 0.4, 0.4], [6.1, 0.2, 0.2]];
const GLOCKENSPIEL = [[1, 1, 1], [2.76, 0.35, 0.5], [5.4, 0.2, 0.25], [8.9, 0.1, 0.1]];
const BELL = [[0.5, 0.4, 1], [1, 0.8, 0.8], [1.19, 0.5, 0.6], [1.5, 0.3, 0.5], [2, 0.6, 0.5], [2.51, 0.25, 0.3], [3.01, 0.2, 0.25], [4.17, 0.12, 0.2]];
const STEEL_PAN = [[1, 1, 0.8], [2, 0.7, 1], [3, 0.25, 0.5], [4.05, 0.2, 0.4], [5.2, 0.1, 0.2]];
const SKIN = [[1, 1, 1], [1.59, 0.5, 0.7], [2.14, 0.3, 0.5], [2.3, 0.2, 0.4]];
const BOX = [[104, 0.1, 0.18], [196, 0.08, 0.14], [412, 0.04, 0.08]]; // a guitar's air and top

const NYLON = { pick: 0.26, bright: 1500, t60: 5, damp: 0.62, body: BOX };
const STEEL = { pick: 0.17, bright: 3000, t60: 9, damp: 0.36, body: BOX };
const CLEAN = { pick: 0.2, bright: 3400, t60: 9, damp: 0.35 };
const FINGER = { pick: 0.24, bright: 480, t60: 6, damp: 0.6 };

const section = (attack, settings = {}) =>
  held({ harmonic: bowed, width: 13, size: 131072 },
    { attack, release: 0.4, open: [2600, 7], wet: 0.45, level: 1.05, ...settings });
const soloString = (settings = {}) =>
  held({ harmonic: bowed, width: 1, breath: windy(0.012, 2500) },
    { attack: 0.06, release: 0.12, vibrato: 16, wet: 0.4, level: 0.9, ...settings });
const brass = (top, settings = {}) =>
  held({ harmonic: saw(0.55, top), width: 0.8 },
    { attack: 0.035, decay: 0.25, sustain: 0.85, open: [1300, 9], bite: 1.2, vibrato: 7, wet: 0.35, level: 0.9, ...settings });
const reeds = (even, centre, settings = {}) =>
  held({ harmonic: reed(even, centre), width: 0.8, breath: windy(0.006, 3000) },
    { attack: 0.03, vibrato: 10, open: [2600, 8], level: 0.9, ...settings });
const pipe = (harmonic, air, settings = {}) =>
  held({ harmonic, width: 0.8, breath: windy(air, 2600) }, { attack: 0.05, vibrato: 14, open: [5000, 8], wet: 0.4, ...settings });
const lead = (harmonic, settings = {}) =>
  held({ harmonic, width: 0.7 }, { attack: 0.006, decay: 0.35, sustain: 0.85, release: 0.07, vibrato: 9, open: [3200, 10], bite: 0.5, level: 1.1, wet: 0.26, ...settings });
const pad = (harmonic, settings = {}) =>
  held({ harmonic, width: 32, size: 131072 }, { attack: 0.22, release: 0.7, open: [2600, 5], wet: 0.55, level: 0.75, ...settings });
const noise = (breath, settings = {}) =>
  held({ harmonic: () => 0, breath }, { step: 128, attack: 0.3, release: 0.5, open: [12000, 0], level: 0.5, ...settings });

const AH = vowel([750, 1, 0.35], [1150, 0.7, 0.3], [2700, 0.3, 0.3]);
const OO = vowel([340, 1, 0.45], [780, 0.35, 0.35], [2400, 0.08, 0.3]);
const ODD = odd(0.03, 0.97, 8500);

const PROGRAMS = [
  ["grand piano", piano()], ["bright piano", piano({ bright: 1.6 })],
  ["electric grand", piano({ bright: 1.2, beat: 3 })], ["honky-tonk piano", piano({ bright: 1.3, beat: 16 })],
  ["electric piano", mallet(TINE, 6, { beat: 1 }, { release: 0.2 })], ["electric piano 2", mallet(REEDY, 5, { beat: 4 }, { release: 0.2 })],
  ["harpsichord", string({ pick: 0.09, bright: 9000, t60: 3, damp: 0.15 }, { level: 0.8 })], ["clavinet", string({ pick: 0.08, bright: 6000, t60: 2, damp: 0.3 })],

  ["celesta", mallet([[1, 1, 1], [4, 0.2, 0.3], [2, 0.1, 0.7]], 2.2)], ["glockenspiel", mallet(GLOCKENSPIEL, 3, {}, { level: 0.8 })],
  ["music box", mallet([[1, 1, 1], [2.01, 0.3, 0.7], [5.3, 0.25, 0.2]], 2.2)], ["vibraphone", mallet([[1, 1, 1], [4, 0.25, 0.4], [9.9, 0.06, 0.1]], 5)],
  ["marimba", mallet(MARIMBA, 1.1, { knock: 0.25, knockColour: 1500 })], ["xylophone", mallet(XYLOPHONE, 0.7, { knock: 0.3 })],
  ["tubular bells", mallet(BELL, 6)], ["dulcimer", string({ pick: 0.12, bright: 6500, t60: 4, damp: 0.25 })],

  ["drawbar organ", held({ harmonic: drawbars(0.8, 0.5, 1, 0.5, 0.2, 0.3, 0.1, 0.1, 0.15), under: 2, width: 0.6 }, { attack: 0.006, release: 0.05, open: [9000, 8] })],
  ["percussive organ", held({ harmonic: drawbars(0.8, 0.5, 1, 0.2, 0.6), under: 2, width: 0.6 }, { attack: 0.004, decay: 0.2, sustain: 0.75, release: 0.05, open: [7000, 8] })],
  ["rock organ", held({ harmonic: drawbars(1, 0.9, 1, 0.6, 0.5, 0.6, 0.4, 0.4, 0.6), under: 2, width: 1.5 }, { attack: 0.005, release: 0.05, open: [9000, 9] })],
  ["church organ", held({ harmonic: drawbars(0.8, 0.1, 1, 0.8, 0.2, 0.7, 0.2, 0.3, 0.5), under: 2, width: 2.5 }, { attack: 0.05, release: 0.3, open: [9000, 9], wet: 0.6 })],
  ["reed organ", held({ harmonic: saw(0.9, 3000), width: 6 }, { attack: 0.04 })], ["accordion", held({ harmonic: saw(0.7, 3600), width: 12 }, { attack: 0.03 })],
  ["harmonica", reeds(0.7, 1600)], ["bandoneon", held({ harmonic: saw(0.75, 3000), width: 9 }, { attack: 0.03 })],

  ["nylon guitar", string(NYLON)], ["steel guitar", string(STEEL)],
  ["jazz guitar", string({ ...CLEAN, bright: 1600, damp: 0.55 })], ["clean guitar", string(CLEAN)],
  ["muted guitar", string({ ...CLEAN, t60: 0.45, damp: 0.7 })], ["overdriven guitar", string({ ...CLEAN, t60: 12, drive: 3.5 }, { open: [2600, 3], level: 0.8 })],
  ["distorted guitar", string({ ...CLEAN, t60: 16, damp: 0.25, drive: 9 }, { open: [2800, 2], level: 0.75 })], ["guitar harmonics", string({ ...CLEAN, pick: 0.5, bright: 2500 })],

  ["acoustic bass", string({ pick: 0.3, bright: 1000, t60: 3, damp: 0.65, body: [[92, 0.12, 0.2]] }, { level: 1.15 })], ["finger bass", string(FINGER, { open: [1600, 8], level: 1.1 })],
  ["pick bass", string({ ...FINGER, pick: 0.12, bright: 3000 }, { level: 1.1 })], ["fretless bass", string({ ...FINGER, bright: 900, damp: 0.6 }, { level: 1.15 })],
  ["slap bass", string({ ...FINGER, pick: 0.07, bright: 6000, damp: 0.3 })], ["slap bass 2", string({ ...FINGER, pick: 0.09, bright: 5000, damp: 0.3 })],
  ["synth bass", held({ harmonic: saw(1, 2600), width: 3 }, { attack: 0.004, decay: 0.4, sustain: 0.6, open: [500, 6], bite: 2, wet: 0.08, level: 1.1 })],
  ["synth bass 2", held({ harmonic: ODD, width: 3 }, { attack: 0.004, decay: 0.4, sustain: 0.7, open: [500, 5], bite: 1, wet: 0.08, level: 1.1 })],

  ["violin", soloString()], ["viola", soloString()], ["cello", soloString({ attack: 0.05 })],
  ["contrabass", held({ harmonic: (k, hertz) => saw(1.1, 2200)(k, hertz) * (0.5 + bump(hertz, 110, 0.7) + 0.6 * bump(hertz, 800, 0.9)), width: 3, breath: windy(0.01, 1200) },
    { attack: 0.014, decay: 0.5, sustain: 0.78, release: 0.1, open: [900, 9], bite: 0.9, wet: 0.16, level: 0.8 })],
  ["tremolo strings", section(0.06)], ["pizzicato strings", string({ pick: 0.3, bright: 1700, t60: 0.5, damp: 0.6, body: BOX }, { wet: 0.4 })],
  ["harp", string({ pick: 0.35, bright: 2200, t60: 4.5, damp: 0.45 }, { release: 0.6, wet: 0.4 })], ["timpani", mallet(SKIN, 1.1, { attack: 0.003, knock: 0.4, knockColour: 400 }, { level: 1.3 })],

  ["strings", section(0.09)], ["slow strings", section(0.25)],
  ["synth strings", held({ harmonic: saw(1, 6000), width: 28, size: 131072 }, { attack: 0.12, release: 0.4, wet: 0.45, level: 0.8 })],
  ["synth strings 2", held({ harmonic: saw(1.1, 4000), width: 34, size: 131072 }, { attack: 0.2, release: 0.5, wet: 0.5, level: 0.8 })],
  ["choir", held({ harmonic: AH, width: 18, size: 131072 }, { step: 3, attack: 0.12, release: 0.35, open: [5000, 6], wet: 0.55 })],
  ["voice", held({ harmonic: OO, width: 12, size: 131072 }, { step: 3, attack: 0.1, release: 0.3, open: [5000, 6], vibrato: 10, wet: 0.5 })],
  ["synth voice", held({ harmonic: AH, width: 9 }, { step: 3, attack: 0.06, release: 0.25, wet: 0.45 })],
  ["orchestra hit", held({ harmonic: saw(0.7, 5000), width: 30, size: 131072 }, { attack: 0.004, decay: 0.35, sustain: 0.05, release: 0.3, open: [5000, 8], wet: 0.5 })],

  ["trumpet", brass(4200)], ["trombone", brass(2600, { open: [700, 7] })], ["tuba", brass(1300, { open: [500, 6], vibrato: 0 })],
  ["muted trumpet", held({ harmonic: (k, hertz) => k ** -0.5 * bump(hertz, 2300, 0.9), width: 2 }, { attack: 0.02, vibrato: 8 })],
  ["horn", brass(1500, { attack: 0.06, open: [600, 5], wet: 0.5 })], ["brass section", held({ harmonic: saw(0.6, 3600), width: 13, size: 131072 }, { attack: 0.03, decay: 0.3, sustain: 0.85, open: [900, 7], bite: 1.2, wet: 0.4 })],
  ["synth brass", held({ harmonic: saw(0.9, 5000), width: 12 }, { attack: 0.02, decay: 0.4, sustain: 0.7, open: [700, 6], bite: 2 })],
  ["synth brass 2", held({ harmonic: saw(1, 4000), width: 16 }, { attack: 0.04, decay: 0.5, sustain: 0.75, open: [700, 5], bite: 1.5 })],

  ["soprano sax", reeds(0.8, 1500)], ["alto sax", reeds(0.85, 1100)], ["tenor sax", reeds(0.9, 800)], ["baritone sax", reeds(0.9, 550)],
  ["oboe", reeds(0.9, 1400, { vibrato: 12 })], ["English horn", reeds(0.9, 950)], ["bassoon", reeds(0.9, 480)], ["clarinet", reeds(0.06, 1300, { vibrato: 3 })],

  ["piccolo", pipe(listed(1, 0.2, 0.05), 0.01)], ["flute", pipe(listed(1, 0.45, 0.22, 0.07, 0.04), 0.016)],
  ["recorder", pipe(listed(1, 0.06, 0.2, 0.02, 0.04), 0.01, { vibrato: 5 })], ["pan flute", pipe(listed(1, 0.12, 0.18, 0.04), 0.05)],
  ["blown bottle", pipe(listed(1, 0.06, 0.04), 0.06, { vibrato: 0 })], ["shakuhachi", pipe(listed(1, 0.5, 0.25, 0.1), 0.05, { vibrato: 22 })],
  ["whistle", pipe(listed(1, 0.03), 0.015)], ["ocarina", pipe(listed(1, 0.08, 0.03), 0.008)],

  ["square lead", lead(ODD)], ["saw lead", lead(saw(1, 8000))], ["calliope", lead(listed(1, 0.4, 0.2, 0.1), { open: [5000, 8] })],
  ["chiff lead", lead(odd(0.3, 1.2, 4000), { bite: 2 })], ["charang", lead(saw(0.7, 5000))], ["voice lead", lead(AH, { attack: 0.04 })],
  ["fifths", lead((k, hertz) => (k % 2 === 0 || k % 3 === 0 ? saw(1, 6000)(k, hertz) : 0), { open: [2600, 6] })], ["bass and lead", lead(saw(0.9, 4500))],

  ["new age pad", pad(listed(1, 0.5, 0.3, 0.25, 0.1, 0.1, 0.05, 0.1))], ["warm pad", pad(saw(1.3, 2200))], ["polysynth", pad(saw(1, 6000), { attack: 0.02, release: 0.3 })],
  ["choir pad", pad(AH, { step: 3 })], ["bowed pad", pad(bowed)], ["metallic pad", pad(odd(0.2, 0.8, 5000))], ["halo pad", pad(OO, { step: 3 })], ["sweep pad", pad(saw(1, 5000), { attack: 0.5, bite: 1 })],

  ["rain", pad(listed(1, 0.3, 0, 0.4, 0, 0, 0, 0.3), { attack: 0.02 })], ["soundtrack", pad((k, hertz) => (k === 3 ? 0.8 : saw(1.2, 3000)(k, hertz)))],
  ["crystal", mallet(GLOCKENSPIEL, 4, { beat: 6 })], ["atmosphere", string({ ...NYLON, t60: 6 }, { wet: 0.6, release: 0.5 })],
  ["brightness", pad(saw(0.7, 7000), { attack: 0.02 })], ["goblins", pad(OO, { vibrato: 30 })], ["echoes", pad(listed(1, 0.4, 0.3, 0.2), { attack: 0.05 })], ["science fiction", pad(odd(0.4, 0.9, 4000), { attack: 0.05 })],

  ["sitar", string({ pick: 0.06, bright: 7500, t60: 6, damp: 0.18, drive: 1.5 })], ["banjo", string({ pick: 0.1, bright: 6500, t60: 0.9, damp: 0.35, body: [[330, 0.1, 0.08]] })],
  ["shamisen", string({ pick: 0.08, bright: 5000, t60: 0.8, damp: 0.4 })], ["koto", string({ pick: 0.12, bright: 4500, t60: 2.6, damp: 0.35 })],
  ["kalimba", mallet([[1, 1, 1], [5.4, 0.2, 0.15], [2.9, 0.06, 0.2]], 1.4, { knock: 0.3 })], ["bagpipe", held({ harmonic: saw(0.5, 3600), width: 4 }, { attack: 0.03 })],
  ["fiddle", soloString({ attack: 0.03 })], ["shehnai", reeds(0.9, 1900)],

  ["tinkle bell", mallet(BELL, 1.6)], ["agogo", mallet([[1, 1, 1], [1.58, 0.6, 0.7], [2.9, 0.3, 0.4]], 0.5)], ["steel drums", mallet(STEEL_PAN, 1.4)], ["wood block", mallet([[1, 1, 1], [1.51, 0.5, 0.6]], 0.14, { knock: 0.5 })],
  ["taiko", mallet(SKIN, 0.7, { attack: 0.002, knock: 0.6, knockColour: 300 }, { level: 1.3 })], ["melodic tom", mallet(SKIN, 0.5, { knock: 0.4, knockColour: 700 })],
  ["synth drum", mallet([[1, 1, 1], [1.5, 0.4, 0.5]], 0.4)], ["reverse cymbal", noise((hertz) => (hertz > 3000 ? 1 : 0.05), { attack: 1.2, release: 0.1 })],

  ["fret noise", noise(windy(1, 2500), { attack: 0.02, decay: 0.2, sustain: 0 })], ["breath", noise(windy(1, 1500), { attack: 0.1, decay: 0.4, sustain: 0 })],
  ["seashore", noise(windy(1, 500), { attack: 0.8, release: 1.2 })], ["bird", pipe(listed(1), 0, { vibrato: 90, attack: 0.01 })],
  ["telephone", held({ harmonic: listed(1, 0.6, 0.2), width: 20 }, { attack: 0.01 })], ["helicopter", noise(windy(1, 160))],
  ["applause", noise(windy(1, 1800))], ["gunshot", noise(() => 1, { attack: 0.001, decay: 0.25, sustain: 0 })],
];
