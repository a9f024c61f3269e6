/** The direction of imports: folders of src/ may import only what lies below them, each for the reason given. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { glob } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';

const SRC = resolve(import.meta.dirname, '../../src');

/** What a folder may import, and why not more. `types`: only `import type`. */
const MAY_IMPORT: Readonly<
  Record<string, { from: readonly string[]; types?: readonly string[]; because: string }>
> = {
  errors: { from: [], because: 'everything may fail, so everything imports it' },
  clock: { from: [], because: 'time and chance are handed in everywhere, by everybody' },
  oci: { from: ['errors', 'clock'], because: 'names and formats are pure: no disk, no network' },
  store: {
    from: ['oci', 'errors', 'clock'],
    because: 'it keeps bytes and does not know where they come from',
  },
  upstream: { from: ['oci', 'errors', 'clock'], because: 'it speaks to registries and keeps nothing' },
  pull: {
    from: ['store', 'upstream', 'oci', 'errors', 'clock'],
    because: 'it decides where bytes come from and who may have them; it knows no HTTP server',
  },
  mirror: {
    from: ['pull', 'upstream', 'oci', 'errors', 'clock'],
    because: 'it speaks to runtimes and passes their credentials on; sources and access are decided below it',
  },
  config: {
    from: ['oci', 'errors', 'clock'],
    types: ['upstream'],
    because: 'it is the edge where text becomes values; parts get values and never read the configuration',
  },
  client: {
    from: ['upstream', 'oci', 'errors', 'clock'],
    because: 'it stands for a runtime in the demo and the bench, so it must not know the mirror from within',
  },
  daemon: {
    from: ['config', 'mirror', 'pull', 'store', 'upstream', 'oci', 'errors', 'clock'],
    because: 'it wires the parts together; nothing is wired anywhere else',
  },
  demo: {
    from: ['client', 'config', 'oci', 'errors', 'clock'],
    because: 'it uses a node as a user does, from outside',
  },
  cli: {
    from: ['demo', 'daemon', 'client', 'config', 'upstream', 'oci', 'errors', 'clock'],
    because: 'it reads the command line and starts the rest',
  },
};

interface Import {
  readonly file: string;
  readonly from: string;
  readonly to: string;
  readonly isType: boolean;
}

const partOf = (path: string): string => relative(SRC, path).split('/')[0]?.replace(/\.ts$/, '') ?? '';

async function importsOf(file: string): Promise<readonly Import[]> {
  const text = await readFile(file, 'utf8');
  const found = text.matchAll(
    /^\s*(?:import|export)\s+(type\s)?[^;]*?from\s+'(\.[^']+)'|import\('(\.[^']+)'\)/gm,
  );
  return [...found].map(([, type, plain, dynamic]) => ({
    file: relative(SRC, file),
    from: partOf(file),
    to: partOf(join(dirname(file), plain ?? dynamic ?? '')),
    isType: type !== undefined,
  }));
}

describe('imports between the folders of src/', () => {
  it('point down only', async () => {
    const imports: Import[] = [];
    for await (const file of glob(join(SRC, '**/*.ts'))) imports.push(...(await importsOf(file)));
    assert.ok(imports.length > 100, `${imports.length} imports were found`);
    const wrong = imports.filter(({ from, to, isType }) => {
      if (from === to || to === '..') return false; // package.json, for the version
      const rule = MAY_IMPORT[from];
      return !(rule?.from.includes(to) === true || (isType && rule?.types?.includes(to) === true));
    });
    const lines = wrong.map(
      ({ file, to, from }) => `src/${file} imports ${to}/, but ${from}/: ${MAY_IMPORT[from]?.because}`,
    );
    assert.deepEqual(lines, []);
  });

  it('are ruled for every folder', async () => {
    const parts = new Set<string>();
    for await (const file of glob(join(SRC, '**/*.ts'))) parts.add(partOf(file));
    assert.deepEqual([...parts].toSorted(), Object.keys(MAY_IMPORT).toSorted());
  });
});
