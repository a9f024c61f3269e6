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
  abortable: { from: [], because: 'whoever waits for what others wait for, too, imports it' },
  'own-time': { from: ['errors', 'clock'], because: 'whoever gives up after a time imports it' },
  oci: { from: ['errors', 'clock'], because: 'names and formats are pure: no disk, no network' },
  store: {
    from: ['oci', 'errors', 'clock'],
    because: 'it keeps bytes and does not know where they come from',
  },
  peer: { from: ['errors', 'clock'], because: 'names and keys of peers are pure: no network' },
  http: {
    from: ['errors', 'clock'],
    because: 'it moves bytes into responses and knows nobody who asks for them',
  },
  upstream: {
    from: ['oci', 'abortable', 'errors', 'clock'],
    because: 'it speaks to registries and keeps nothing',
  },
  protocol: {
    from: ['oci', 'peer', 'errors', 'clock'],
    because: 'it is what members say to each other, and pure',
  },
  wire: {
    from: ['protocol', 'oci', 'peer', 'errors', 'clock'],
    types: ['membership'],
    because: 'it turns messages into bytes; what they mean is decided elsewhere',
  },
  membership: {
    from: ['wire', 'peer', 'errors', 'clock'],
    because: 'who is a member is decided without a network: records are brought to it',
  },
  transfer: {
    from: ['http', 'protocol', 'oci', 'peer', 'own-time', 'errors', 'clock'],
    types: ['membership'],
    because: 'it carries pieces between members; which, and to whom, is decided by what it is given',
  },
  routing: {
    from: ['wire', 'oci', 'peer', 'errors', 'clock'],
    because: 'it announces and finds digests over an interface that the host gives',
  },
  swarm: {
    from: ['protocol', 'store', 'oci', 'peer', 'errors', 'clock'],
    types: ['membership', 'transfer'],
    because: 'the policy is pure: the simulator runs it without a network, a disk or a clock',
  },
  host: {
    from: ['membership', 'wire', 'protocol', 'peer', 'oci', 'own-time', 'abortable', 'errors', 'clock'],
    types: ['routing'],
    because: 'it is the only folder that knows libp2p; the others are given narrow interfaces',
  },
  status: {
    from: ['oci', 'peer', 'errors', 'clock'],
    because: 'it is the form of reports, for both of their ends',
  },
  pull: {
    from: [
      'swarm',
      'transfer',
      'wire',
      'protocol',
      'upstream',
      'store',
      'oci',
      'peer',
      'abortable',
      'errors',
      'clock',
    ],
    types: ['membership'],
    because: 'it decides where bytes come from and who may have them; it knows no HTTP server and no libp2p',
  },
  mirror: {
    from: ['pull', 'http', 'upstream', 'oci', 'errors', 'clock'],
    because: 'it speaks to runtimes and passes their credentials on; sources and access are decided below it',
  },
  config: {
    from: ['oci', 'peer', 'errors', 'clock'],
    types: ['upstream'],
    because: 'it is the edge where text becomes values; parts get values and never read the configuration',
  },
  runtimes: {
    from: ['oci', 'errors', 'clock'],
    because: 'it edits the files of other programs on this machine, with no node running',
  },
  client: {
    from: ['upstream', 'status', 'oci', 'peer', 'errors', 'clock'],
    because: 'it stands for a runtime in the demo and the bench, so it must not know the mirror from within',
  },
  daemon: {
    from: [
      'config',
      'mirror',
      'host',
      'pull',
      'swarm',
      'transfer',
      'routing',
      'membership',
      'protocol',
      'status',
      'http',
      'store',
      'upstream',
      'oci',
      'peer',
      'errors',
      'clock',
    ],
    types: ['wire'],
    because: 'it wires the parts together; nothing is wired anywhere else',
  },
  demo: {
    from: ['client', 'config', 'status', 'oci', 'peer', 'errors', 'clock'],
    because: 'it uses a node as a user does, from outside',
  },
  kubernetes: {
    from: ['errors', 'clock'],
    because: 'it asks the API server for what the chart needs, and knows nothing of images',
  },
  cli: {
    from: [
      'demo',
      'daemon',
      'runtimes',
      'client',
      'config',
      'status',
      'kubernetes',
      'upstream',
      'oci',
      'errors',
      'clock',
    ],
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
