/**
 * Text -> tokens, by rules that are written down in the model (FORMAT.md, section 4).
 *
 * The rules count code points; offsets given out are JavaScript's own, UTF-16 code units.
 */

import { shown } from "./errors.js";
import { classCodes, lower } from "./unicode14.js";

/** Punctuation that may stand inside a word; `split` names those that part it instead. */
const JOINERS = "-'’./_&@:·";
const KINDS = ["whitespace", "words", "characters"];
const LINE_BREAK = /[\n\v\f\r\u0085\u2028\u2029]/;
const ZWJ = 0x200d;
const POINT = codePoint(".");
const COMMA = codePoint(",");
const COLON = codePoint(":");
const SLASH = codePoint("/");
const AT = codePoint("@");
const HYPHEN = codePoint("-");
const MAIL_NAME = new Set([..."._+&-"].map(codePoint));

/** What a code point is to the rules. */
const LETTER = 1;
const NUMBER = 2;
const MARK = 3;
const JOINER = 4;
const SPACE = 5;
const PUNCTUATION = 6;
const ROLE_OF_CLASS = rolesOfClasses();

/**
 * One token of a text: `text.slice(start, end) === token`, but for white space of kind `characters`.
 *
 * @typedef {{ token: string, start: number, end: number }} Span
 */

/**
 * The tokenizer's entry in the metadata.
 *
 * @typedef {object} TokenizerSpec
 * @property {"whitespace" | "words" | "characters"} kind
 * @property {readonly string[]} keep words that stay whole whatever the rules say (`Mr.`, `:)`)
 * @property {readonly string[]} suffixes lower-cased ends that are a token of their own (`n't`, `'s`)
 * @property {string} split those of the characters inside words that part the letters around them
 */

/** Cuts text into tokens as one model's training data was cut. */
export class Tokenizer {
  #kind;
  #keep;
  #suffixes;
  #suffixSet;
  #joiners;
  #longestKept;
  #longestSuffix;

  /**
   * @param {TokenizerSpec} spec
   * @throws {TypeError | RangeError} it is not one
   */
  constructor(spec) {
    if (!KINDS.includes(spec.kind)) {
      throw new RangeError(`tokenizer kind ${shown(spec.kind)} is not known (${KINDS.join(", ")})`);
    }
    for (const list of [spec.keep, spec.suffixes]) {
      if (!Array.isArray(list)) throw new TypeError("keep or suffixes is not a list");
    }
    if (![...spec.keep, ...spec.suffixes, spec.split].every((item) => typeof item === "string")) {
      throw new TypeError("the tokenizer's lists hold something other than strings");
    }
    this.#kind = spec.kind;
    this.#keep = new Set(spec.keep);
    this.#suffixes = spec.suffixes.filter(Boolean).sort((a, b) => b.length - a.length);
    this.#suffixSet = new Set(spec.suffixes);
    this.#joiners = new Set([...JOINERS].filter((char) => !spec.split.includes(char)).map(codePoint));
    this.#longestKept = longest(spec.keep);
    this.#longestSuffix = longest(spec.suffixes);
  }

  /**
   * The tokens of `text`, in order, with UTF-16 offsets; they never overlap, and no character but white space is left
   * out. Of kind `characters` that is a token too: a line feed where a line ends in it, else a space.
   *
   * @param {string} text
   * @returns {Span[]}
   * @throws {TypeError} `text` is not a string
   */
  spans(text) {
    if (typeof text !== "string") throw new TypeError(`a text must be a string, got ${typeof text}: ${shown(text)}`);
    const letters = new Letters(text);
    const { roles, size } = letters;
    /** @type {Span[]} */
    const found = [];
    let start = 0;
    while (start < size) {
      if (this.#kind === "characters") {
        let end = start + 1;
        if (roles[start] === SPACE) while (end < size && roles[end] === SPACE) end++;
        const span = letters.span(start, end);
        if (roles[start] === SPACE) span.token = LINE_BREAK.test(span.token) ? "\n" : " ";
        found.push(span);
        start = end;
        continue;
      }
      if (roles[start] === SPACE) {
        start++;
        continue;
      }
      let end = start + 1;
      while (end < size && roles[end] !== SPACE) end++;
      if (this.#kind === "whitespace") found.push(letters.span(start, end));
      else this.#peel(letters, start, end, found);
      start = end;
    }
    return found;
  }

  /**
   * Peels punctuation off both ends until what is left is whole, then cuts that by the rules.
   *
   * @param {Letters} letters
   * @param {number} start
   * @param {number} end
   * @param {Span[]} found
   */
  #peel(letters, start, end, found) {
    const { roles } = letters;
    /** @type {Span[]} */
    const behind = [];
    const shapes = new Shapes(letters, end);
    while (start < end && !this.#isListed(letters, start, end) && !shapes.hold(start, end)) {
      if (roles[start] === PUNCTUATION) {
        const stop = letters.runEnd(start, end);
        found.push(letters.span(start, stop));
        start = stop;
        continue;
      }
      const stop = roles[end - 1] === PUNCTUATION ? letters.runStart(start, end) : start;
      if (stop > start) {
        behind.push(letters.span(stop, end));
        end = stop;
        continue;
      }
      this.#cut(letters, start, end, found);
      start = end;
    }
    if (start < end) found.push(letters.span(start, end));
    while (behind.length) found.push(/** @type {Span} */ (behind.pop()));
  }

  /**
   * Whether it is among the words kept, or a suffix.
   *
   * @param {Letters} letters
   * @param {number} start
   * @param {number} end
   */
  #isListed(letters, start, end) {
    const units = letters.units(start, end);
    if (units <= this.#longestKept && this.#keep.has(letters.slice(start, end))) return true;
    // Lower case is never shorter, so that a longer piece cannot be a suffix.
    return units <= this.#longestSuffix && this.#suffixSet.has(straightened(letters.slice(start, end)));
  }

  /**
   * Words, runs of punctuation, and marks alone, from left to right.
   *
   * @param {Letters} letters
   * @param {number} start
   * @param {number} end
   * @param {Span[]} found
   */
  #cut(letters, start, end, found) {
    const { roles } = letters;
    for (let at = start, stop; at < end; at = stop) {
      stop = at + 1;
      if (isWordStart(roles[at])) {
        while (stop < end && (roles[stop] !== PUNCTUATION || this.#joins(letters, stop, end))) stop++;
        this.#cutSuffixes(letters.span(at, stop), found);
      } else {
        if (roles[at] === PUNCTUATION) stop = letters.runEnd(at, end);
        else while (stop < end && isTied(roles[stop])) stop++;
        found.push(letters.span(at, stop));
      }
    }
  }

  /**
   * Whether the punctuation at `at` stands inside a word that reaches up to it.
   *
   * @param {Letters} letters
   * @param {number} at
   * @param {number} end
   */
  #joins({ roles, points }, at, end) {
    if (at + 1 >= end || !isWordStart(roles[at + 1])) return false;
    const point = points[at];
    if (this.#joiners.has(point)) return true;
    const parts = point === POINT || point === COMMA || point === COLON;
    return parts && roles[at - 1] === NUMBER && roles[at + 1] === NUMBER;
  }

  /**
   * @param {Span} word
   * @param {Span[]} found
   */
  #cutSuffixes({ token, start }, found) {
    let left = token.length;
    const cuts = [];
    // Each code point by itself, so that what is left of the word has the beginning of this for its lower case.
    const word = straightened(token);
    while (left > this.#longestKept || !this.#keep.has(token.slice(0, left))) {
      // A lower-cased form of another length has no place to cut in the text: it stays whole.
      if (word.length !== token.length) break;
      const suffix = this.#suffixes.find((end) => end.length < left && word.endsWith(end, left));
      if (!suffix) break;
      cuts.push(left);
      left -= suffix.length;
    }
    found.push({ token: token.slice(0, left), start, end: start + left });
    for (let from = left; cuts.length;) {
      const to = /** @type {number} */ (cuts.pop());
      found.push({ token: token.slice(from, to), start: start + from, end: start + to });
      from = to;
    }
  }
}

/** A text as the rules read it: code points, what each is, and where it stands. */
class Letters {
  /** @param {string} text */
  constructor(text) {
    const classes = classCodes();
    /** Code points. */
    this.points = new Int32Array(text.length);
    /** What each is. */
    this.roles = new Uint8Array(text.length);
    /** The code unit at which each begins, and the text's end. */
    this.offsets = new Int32Array(text.length + 1);
    /** How many code points there are. */
    this.size = 0;
    for (let at = 0; at < text.length; this.size++) {
      const point = /** @type {number} */ (text.codePointAt(at));
      this.points[this.size] = point;
      this.roles[this.size] = point === ZWJ ? JOINER : ROLE_OF_CLASS[classes[point]];
      this.offsets[this.size] = at;
      at += point > 0xffff ? 2 : 1;
    }
    this.offsets[this.size] = text.length;
    this.text = text;
  }

  /**
   * @param {number} start
   * @param {number} end
   */
  slice(start, end) {
    return this.text.slice(this.offsets[start], this.offsets[end]);
  }

  /**
   * @param {number} start
   * @param {number} end
   */
  units(start, end) {
    return this.offsets[end] - this.offsets[start];
  }

  /**
   * @param {number} start
   * @param {number} end
   * @returns {Span}
   */
  span(start, end) {
    return { token: this.slice(start, end), start: this.offsets[start], end: this.offsets[end] };
  }

  /**
   * Where the run that begins at `at` ends: one character repeated, and what joiners tie to it.
   *
   * @param {number} at
   * @param {number} end
   */
  runEnd(at, end) {
    const { points, roles } = this;
    let stop = at + 1;
    while (stop < end && points[stop] === points[at]) stop++;
    for (;;) {
      let tied = stop;
      while (tied < end && isTied(roles[tied])) tied++;
      if (tied === end || tied === stop || roles[tied] !== PUNCTUATION || roles[tied - 1] !== JOINER) return tied;
      stop = tied + 1;
    }
  }

  /**
   * Where the characters equal to the chunk's last begin; `start` if a joiner ties them to what stands before.
   *
   * @param {number} start
   * @param {number} end
   */
  runStart(start, end) {
    let stop = end - 1;
    while (stop > start && this.points[stop - 1] === this.points[end - 1]) stop--;
    return stop > start && this.roles[stop - 1] === JOINER ? start : stop;
  }

  /**
   * Where the letters that begin at `at` end.
   *
   * @param {number} at
   * @param {number} end
   */
  lettersEnd(at, end) {
    while (at < end && this.roles[at] === LETTER) at++;
    return at;
  }
}

/**
 * Which parts of a chunk are initials (`U.S.`) or an address, whole: of parts that shrink, in time linear in all.
 *
 * A part ends before the chunk does once something was peeled off its end, and then starts where it did; so each
 * pattern is tried once for a start, and what is asked of an end is reckoned from where it matched.
 */
class Shapes {
  /** Where what is known of begins. */
  #start = -1;
  /** Where letters with a point after each end. */
  #initials = 0;
  /** Where a URL, or something like `www.`, may end at the earliest; 0 for none. */
  #url = 0;
  /** Where what may be a mail address's name ends. */
  #at = -1;
  /** The first point of its domain; -1 for none. */
  #dot = -1;
  /** Where its domain ends at the latest. */
  #stop = 0;

  /**
   * @param {Letters} letters
   * @param {number} end of the chunk
   */
  constructor(letters, end) {
    this.letters = letters;
    this.end = end;
  }

  /**
   * Whether the part is one of them; `start` is no less than the last time.
   *
   * @param {number} start
   * @param {number} end
   */
  hold(start, end) {
    const { points, roles } = this.letters;
    if (this.#start !== start) this.#look(start);
    if (end <= this.#initials && points[end - 1] === POINT) return end - start > 2;
    if (roles[end - 1] === PUNCTUATION) return false;
    return (this.#url > 0 && end >= this.#url) || (this.#dot >= 0 && this.#dot + 1 < end && end <= this.#stop);
  }

  /** @param {number} start */
  #look(start) {
    const { points, roles } = this.letters;
    this.#start = start;
    this.#initials = start;
    while (roles[this.#initials] === LETTER && points[this.#initials + 1] === POINT && this.#initials + 1 < this.end) {
      this.#initials += 2;
    }
    this.#url = this.#leastUrl(start);
    if (start > this.#at) {
      this.#at = start;
      while (this.#at < this.end && (isWordStart(roles[this.#at]) || MAIL_NAME.has(points[this.#at]))) this.#at++;
      this.#readDomain();
    }
    if (start === this.#at) this.#dot = -1;
  }

  /** @param {number} start */
  #leastUrl(start) {
    const { points } = this.letters;
    const letters = this.letters.lettersEnd(start, this.end);
    if (letters === start || letters + 2 > this.end) return 0;
    if (letters + 3 <= this.end && [COLON, SLASH, SLASH].every((point, i) => points[letters + i] === point)) {
      return letters + 4;
    }
    if (letters - start !== 3 || points[letters] !== POINT) return 0;
    const next = this.letters.lettersEnd(letters + 1, this.end);
    return next > letters + 1 && next < this.end && points[next] === POINT ? next + 1 : 0;
  }

  /** The domain behind the sign at which the name ends, if it is one. */
  #readDomain() {
    const { points, roles } = this.letters;
    this.#dot = -1;
    let at = this.#at;
    if (at >= this.end || points[at] !== AT) return;
    for (let label = at + 1; ; label = at + 1) {
      at = label;
      while (at < this.end && (isWordStart(roles[at]) || points[at] === HYPHEN)) at++;
      this.#stop = at;
      if (at === label || at >= this.end || points[at] !== POINT) return;
      if (this.#dot < 0) this.#dot = at;
    }
  }
}

/** @param {number} role */
function isWordStart(role) {
  return role === LETTER || role === NUMBER;
}

/** @param {number} role */
function isTied(role) {
  return role === MARK || role === JOINER;
}

/** @param {string} text */
function straightened(text) {
  return lower(text).replaceAll("’", "'");
}

/** @param {readonly string[]} texts */
function longest(texts) {
  return texts.reduce((most, text) => Math.max(most, text.length), 0);
}

/** @param {string} char */
function codePoint(char) {
  return /** @type {number} */ (char.codePointAt(0));
}

function rolesOfClasses() {
  const roles = new Uint8Array(128).fill(PUNCTUATION);
  const named = { u: LETTER, l: LETTER, o: LETTER, d: NUMBER, n: NUMBER, m: MARK, f: MARK, s: SPACE };
  for (const [letter, role] of Object.entries(named)) roles[codePoint(letter)] = role;
  return roles;
}
