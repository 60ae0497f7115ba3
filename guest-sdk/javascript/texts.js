// Texts of bytes, with the encodings of Node.js. QuickJS has no `TextDecoder`.

const REPLACEMENT = 0xfffd;
// The most letters that one call of `String.fromCodePoint` gets.
const PART = 4096;

function join(letters) {
  let text = '';
  for (let start = 0; start < letters.length; start += PART) text += String.fromCodePoint(...letters.slice(start, start + PART));
  return text;
}

// Returns a function that decodes UTF-8 part by part, as the Encoding Standard has it. Without
// bytes it returns what is left.
function utf8() {
  let [needed, letter, lower, upper] = [0, 0, 0x80, 0xbf];
  return (bytes) => {
    const letters = [];
    for (let place = 0; place < bytes.length; place++) {
      const byte = bytes[place];
      if (!needed) {
        if (byte < 0x80) letters.push(byte);
        else if (byte >= 0xc2 && byte <= 0xdf) [needed, letter] = [1, byte & 0x1f];
        else if (byte >= 0xe0 && byte <= 0xef) [needed, letter] = [2, byte & 0xf];
        else if (byte >= 0xf0 && byte <= 0xf4) [needed, letter] = [3, byte & 0x7];
        else letters.push(REPLACEMENT);
        // Longer spellings than needed, surrogates, and what is beyond Unicode.
        [lower, upper] = [{ 0xe0: 0xa0, 0xf0: 0x90 }[byte] ?? 0x80, { 0xed: 0x9f, 0xf4: 0x8f }[byte] ?? 0xbf];
      } else if (byte < lower || byte > upper) {
        letters.push(REPLACEMENT);
        needed = 0;
        place--;
      } else {
        [lower, upper, letter] = [0x80, 0xbf, (letter << 6) | (byte & 0x3f)];
        needed -= 1;
        if (!needed) letters.push(letter);
      }
    }
    if (!bytes.length && needed) {
      letters.push(REPLACEMENT);
      needed = 0;
    }
    return join(letters);
  };
}

const ENCODINGS = {
  utf8,
  latin1: () => join,
  ascii: () => (bytes) => join(bytes.map((byte) => byte & 0x7f)),
  hex: () => (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(''),
};
ENCODINGS['utf-8'] = utf8;
ENCODINGS.binary = ENCODINGS.latin1;

// Returns a function that makes texts of parts of bytes, in this encoding.
export function decoder(encoding) {
  const make = ENCODINGS[String(encoding).toLowerCase()];
  if (!make) throw new TypeError(`the encodings are ${Object.keys(ENCODINGS).join(', ')}; not ${encoding}`);
  return make();
}

// Returns the text of all bytes.
export function decode(bytes, encoding) {
  const part = decoder(encoding);
  return part(bytes) + part(new Uint8Array());
}
