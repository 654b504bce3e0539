/** Tag -> hue and strength of its colour. The tag's text always stands beside it, so colours may come close. */

/** Hue in degrees (OKLCH) and chroma as a fraction of the full one. @typedef {{ hue: number, strength: number }} Colour */

const NEUTRAL = { hue: 260, strength: 0.12 };

/** Kindred tags are neighbours: names are blue to violet, verbs red, modifiers green. @type {Record<string, Colour>} */
const KNOWN = {
  NOUN: { hue: 250, strength: 1 },
  PROPN: { hue: 290, strength: 1 },
  PRON: { hue: 222, strength: 0.9 },
  VERB: { hue: 28, strength: 1 },
  AUX: { hue: 48, strength: 0.9 },
  ADJ: { hue: 150, strength: 1 },
  ADV: { hue: 128, strength: 1 },
  ADP: { hue: 90, strength: 0.8 },
  DET: { hue: 195, strength: 0.7 },
  NUM: { hue: 325, strength: 0.9 },
  CCONJ: { hue: 72, strength: 0.8 },
  SCONJ: { hue: 66, strength: 1 },
  PART: { hue: 108, strength: 0.6 },
  INTJ: { hue: 350, strength: 1 },
  PUNCT: NEUTRAL,
  SYM: { hue: 310, strength: 0.5 },
  X: { hue: 260, strength: 0.3 },
  PER: { hue: 250, strength: 1 },
  LOC: { hue: 150, strength: 1 },
  ORG: { hue: 48, strength: 1 },
  MISC: { hue: 310, strength: 1 },
  O: NEUTRAL,
};

/** Degrees between one colour and the next: whatever their number, neighbours in the list lie far apart. */
const GOLDEN_ANGLE = 137.508;

/**
 * @param {readonly string[]} labels tags, or types of entities, in the model's order
 * @returns {Map<string, Colour>}
 */
export function colours(labels) {
  const known = labels.every((label) => Object.hasOwn(KNOWN, label));
  return new Map(
    labels.map((label, i) => {
      if (known || label === "O") return [label, KNOWN[label]];
      return [label, { hue: (250 + i * GOLDEN_ANGLE) % 360, strength: 0.9 }];
    }),
  );
}

/**
 * @param {HTMLElement} element
 * @param {Colour | undefined} colour
 */
export function paint(element, colour) {
  const { hue, strength } = colour ?? NEUTRAL;
  element.style.setProperty("--hue", String(Math.round(hue)));
  element.style.setProperty("--strength", String(strength));
}
