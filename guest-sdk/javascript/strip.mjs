// Replaces the types in the TypeScript modules of a folder by blanks, so that each line and column
// stays where it is: `node strip.mjs AMARO FOLDER`. AMARO is the folder of the package amaro, with
// which Node.js strips types.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import process from 'node:process';

const [amaro, folder] = process.argv.slice(2);
const { transformSync } = createRequire(import.meta.url)(amaro);

for (const name of readdirSync(folder, { recursive: true })) {
  if (!/(?<!\.d)\.m?ts$/.test(name)) continue;
  const path = join(folder, name);
  const text = readFileSync(path, 'utf8');
  try {
    writeFileSync(path, transformSync(text, { mode: 'strip-only', filename: name }).code);
  } catch (error) {
    const { startLine = 1, startColumn = 0, message, snippet = '' } = error;
    console.error(`${name}:${startLine}:${startColumn + 1}: ${message}\n${snippet}`);
    process.exitCode = 1;
  }
}
