// Bundles the packages of npm that a handler imports, each into a module of JavaScript that the
// compiler of handlers finds: `node packages.mjs ESBUILD HANDLER PROJECT SPECIFIER...`. ESBUILD is the
// folder of the package esbuild. HANDLER has the handler's own modules, and gets the packages in its
// `node_modules`. PROJECT is the folder from which packages are looked up, as Node.js does. The
// handler's own modules stay as they are, so that errors have their lines.

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { builtinModules, createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import process from 'node:process';

const [esbuild, handler, project, ...specifiers] = process.argv.slice(2);
const { build } = createRequire(import.meta.url)(esbuild);
const modules = join(handler, 'node_modules');

// Returns the name of a package, and the path in it as its `exports` have it.
function split(specifier) {
  const parts = specifier.split('/');
  const name = parts.splice(0, specifier.startsWith('@') ? 2 : 1).join('/');
  return [name, ['.', ...parts].join('/')];
}

// Looks a package up as the handler's modules would.
const entries = {
  name: 'entries',
  setup(build) {
    build.onResolve({ filter: /./ }, ({ path, kind }) => {
      if (kind !== 'entry-point') return undefined;
      return build.resolve(path, { resolveDir: project, kind: 'import-statement' });
    });
  },
};

const outputs = specifiers.map((specifier, number) => `${split(specifier)[0]}/module${number}`);
let metafile;
try {
  ({ metafile } = await build({
    entryPoints: specifiers.map((specifier, number) => ({ in: specifier, out: outputs[number] })),
    outdir: modules,
    absWorkingDir: project,
    plugins: [entries],
    bundle: true,
    splitting: true,
    chunkNames: '_shared/[hash]',
    format: 'esm',
    platform: 'neutral',
    mainFields: ['module', 'main'],
    target: 'es2023',
    define: { global: 'globalThis', 'process.env.NODE_ENV': '"production"' },
    external: ['socketserver', 'socketserver/*', 'socketserver:*', 'wasi:*'],
    legalComments: 'none',
    metafile: true,
    logLevel: 'error',
  }));
} catch (error) {
  const missing = (error.errors ?? []).flatMap(({ text }) => /Could not resolve "(.+)"/.exec(text)?.[1] ?? []);
  const nodes = missing.filter((name) => name.startsWith('node:') || builtinModules.includes(name));
  if (nodes.length) {
    const names = [...new Set(nodes)].map((name) => `"${name}"`).join(', ');
    console.error(`A package needs Node.js itself: ${names}. A handler runs in a sandbox without it; take a package that runs in a browser, too.`);
  } else if (!error.errors) {
    console.error(error);
  }
  process.exit(1);
}

// Returns the names that the handler's modules import from a package.
const own = readdirSync(handler, { recursive: true })
  .filter((name) => /\.m?[jt]s$/.test(name) && !name.startsWith('node_modules'))
  .map((name) => readFileSync(join(handler, name), 'utf8'));
function imported(specifier) {
  const names = new Set();
  for (const text of own) {
    for (const [, list, , from] of text.matchAll(/\{([^{}]*)\}\s*from\s*(['"])([^'"\n]+)\2/g)) {
      if (from !== specifier) continue;
      for (const name of list.split(',')) names.add(name.trim().split(/\s/)[0]);
    }
  }
  return [...names].filter((name) => /^[\w$]+$/.test(name) && name !== 'default');
}

// A package of CommonJS exports one object. Its properties are the names that may be imported.
const manifests = new Map();
specifiers.forEach((specifier, number) => {
  const file = `${outputs[number]}.js`;
  const output = Object.entries(metafile.outputs).find(([path]) => join(project, path) === join(modules, file));
  const entry = metafile.inputs[output?.[1].entryPoint];
  const [name, path] = split(specifier);
  let main = `./module${number}.js`;
  if (entry?.format === 'cjs') {
    const names = imported(specifier);
    writeFileSync(
      join(modules, name, `common${number}.js`),
      `import exported from '${main}';\nexport default exported;\nexport const { ${names.join(', ')} } = exported;\n`,
    );
    main = `./common${number}.js`;
  }
  const manifest = manifests.get(name) ?? { name, type: 'module', exports: {} };
  manifest.exports[path] = main;
  manifests.set(name, manifest);
});
for (const [name, manifest] of manifests) {
  const file = join(modules, name, 'package.json');
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, JSON.stringify(manifest));
}
