// What QuickJS lacks, on top of the host: `console`, and random numbers that differ in each
// request. `cargo guests` builds this into every handler, before the handler's own code.

import { log } from 'socketserver:handler/log@0.1.0';
import { getRandomBytes } from 'wasi:random/random@0.2.0';

const text = (value) => {
  if (typeof value === 'string') return value;
  if (value instanceof Error) return value.stack ? `${value}\n${value.stack}` : String(value);
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return String(value);
  }
};

const write = (level) => (...values) => {
  for (const line of values.map(text).join(' ').trimEnd().split('\n')) log(level, line);
};

globalThis.console = {
  debug: write('debug'),
  log: write('info'),
  info: write('info'),
  warn: write('warning'),
  error: write('error'),
};

// The generator of QuickJS has its seed from the build: it returns the same numbers in each
// request. This one takes each number from the host, as 53 bits.
Math.random = () => {
  const bytes = getRandomBytes(7);
  bytes[0] &= 0x1f;
  return bytes.reduce((bits, byte) => bits * 256 + byte, 0) / 2 ** 53;
};
