/** The floor plan of src/: a folder may import only folders below it, each for the reason given, and few know a library. */
import assert from 'node:assert/strict';
import { glob, readFile } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';

const SRC = resolve(import.meta.dirname, '../../src');
/** Folders inside of cli/ that are rooms of their own. */
const ROOMS_OF_CLI = new Set(['bugreport', 'client', 'demo', 'doctor', 'kubernetes', 'runtimes']);

/** Top to bottom. What a folder may import, and why not more. `types`: only `import type`. */
const MAY_IMPORT: Readonly<
  Record<string, { from: readonly string[]; types?: readonly string[]; because: string }>
> = {
  cli: {
    from: [
      'cli/bugreport',
      'cli/client',
      'cli/demo',
      'cli/doctor',
      'cli/kubernetes',
      'cli/runtimes',
      'daemon',
      'config',
      'status',
      'archive',
      'oci',
      'util',
    ],
    because: 'it reads the command line and starts the rest',
  },
  'cli/demo': {
    from: ['cli/client', 'status', 'oci', 'util'],
    because: 'it uses a node as a user does, from outside',
  },
  'cli/bugreport': {
    from: ['config', 'util'],
    types: ['cli/doctor', 'upstream'],
    because: 'it packs what others have found out, and lets no secret pass',
  },
  'cli/doctor': {
    from: [
      'host',
      'cli/client',
      'cli/runtimes',
      'daemon',
      'network',
      'config',
      'status',
      'upstream',
      'store',
      'util',
    ],
    types: ['oci'],
    because: 'it looks at a machine with the readers that a node itself uses, and changes nothing',
  },
  'cli/client': {
    from: ['upstream', 'oci', 'util'],
    types: ['status', 'protocol'],
    because: 'it stands for a runtime in the demo and the bench, so it must not know the mirror from within',
  },
  'cli/kubernetes': {
    from: ['util'],
    because: 'it asks the API server for what the chart needs, and knows nothing of images',
  },
  'cli/runtimes': {
    from: ['host', 'util'],
    because: 'it edits the files of other programs on this machine, with no node running',
  },
  daemon: {
    from: [
      'bytes',
      'mirror',
      'preheat',
      'pull',
      'swarm',
      'transfer',
      'network',
      'cluster',
      'status',
      'upstream',
      'store',
      'http',
      'host',
      'protocol',
      'oci',
      'util',
    ],
    types: ['config'],
    because: 'it wires the parts together; nothing is wired anywhere else',
  },
  mirror: {
    from: ['upstream', 'http', 'oci', 'util'],
    types: ['pull'],
    because: 'it speaks to runtimes and passes their credentials on; sources and access are decided below it',
  },
  preheat: {
    from: ['pull', 'cluster', 'status', 'store', 'protocol', 'oci', 'util'],
    types: ['upstream'],
    because:
      'it decides who pulls what beforehand; how bytes come, and who may have them, is decided below it',
  },
  pull: {
    from: ['swarm', 'transfer', 'cluster', 'upstream', 'store', 'archive', 'protocol', 'oci', 'util'],
    types: ['http'],
    because: 'it decides where bytes come from and who may have them; it knows no HTTP server and no libp2p',
  },
  swarm: {
    from: ['cluster', 'protocol', 'oci', 'util'],
    types: ['transfer'],
    because: 'the policy is pure: the simulator runs it without a network, a disk or a clock',
  },
  bytes: {
    from: ['transfer', 'upstream', 'store', 'http', 'protocol', 'oci', 'util'],
    because:
      'it is the only folder that moves content, in threads of their own; what moves where is decided above it',
  },
  transfer: {
    from: ['protocol', 'oci', 'util'],
    types: ['cluster'],
    because: 'it carries chunks between members; which, and to whom, is decided by what it is given',
  },
  network: {
    from: ['cluster', 'protocol', 'util'],
    types: ['oci'],
    because: 'it is the only folder that knows libp2p; the others are given narrow interfaces',
  },
  cluster: {
    from: ['protocol', 'util'],
    because: 'membership and ownership are decided without a network: records are brought to it',
  },
  config: {
    from: ['protocol', 'oci', 'util'],
    types: ['upstream'],
    because: 'it is the edge where text becomes values; parts get values and never read the configuration',
  },
  status: {
    from: ['protocol', 'oci', 'util'],
    because: 'it is the form of reports, for both of their ends',
  },
  upstream: { from: ['oci', 'util'], because: 'it speaks to registries and keeps nothing' },
  store: {
    from: ['protocol', 'oci', 'util'],
    because: 'it keeps bytes and does not know where they come from',
  },
  archive: {
    from: ['oci', 'util'],
    because: 'it reads and writes archives of images, and does not know where their bytes are kept',
  },
  http: { from: ['util'], because: 'it moves bytes into responses and knows nobody who asks for them' },
  host: {
    from: ['util'],
    because: 'it reads the files of the machine for the command and for the node, which share nothing else',
  },
  protocol: { from: ['oci', 'util'], because: 'it is what peers say to each other, and pure' },
  oci: { from: ['util'], because: 'names and formats are pure: no disk, no network' },
  util: { from: [], because: 'everything may fail, wait and count, so everything imports it' },
};

/** Libraries that few folders may know, so that one of them can be replaced in one place. */
const LIBRARIES: readonly { name: RegExp; in: readonly string[]; because: string }[] = [
  {
    name: /^(?:@libp2p\/|libp2p$|@multiformats\/multiaddr|it-)/,
    in: ['network'],
    because: 'the control plane is the network folder alone',
  },
  {
    name: /^undici$/,
    in: ['upstream', 'status', 'cli/kubernetes'],
    because: 'each has a server of its own to ask: a registry, a node, the API server',
  },
  {
    name: /^tar-stream$/,
    in: ['archive', 'cli/bugreport', 'cli/demo'],
    because: 'archives that others wrote are read in one place, with its bounds',
  },
  {
    name: /^node:sqlite$/,
    in: ['store', 'cli/runtimes'],
    because: 'the catalog is a database, and the host files are locked by one',
  },
];

interface Import {
  readonly file: string;
  readonly from: string;
  /** The folder, or the name of the package. */
  readonly to: string;
  readonly isType: boolean;
  readonly isPackage: boolean;
}

function roomOf(path: string): string {
  const [top = '', second = ''] = relative(SRC, path).split('/');
  return top === 'cli' && ROOMS_OF_CLI.has(second) ? `cli/${second}` : top;
}

async function importsOf(file: string): Promise<readonly Import[]> {
  const text = await readFile(file, 'utf8');
  const found = text.matchAll(
    /^\s*(?:import|export)\s+(type\s)?[^;]*?from\s+'([^']+)'|import\('([^']+)'\)|^import\s+'([^']+)'/gm,
  );
  return [...found].map(([, type, plain, dynamic, bare]) => {
    const to = plain ?? dynamic ?? bare ?? '';
    const isPackage = !to.startsWith('.');
    return {
      file: relative(SRC, file),
      from: roomOf(file),
      to: isPackage ? to : roomOf(join(dirname(file), to)),
      isType: type !== undefined,
      isPackage,
    };
  });
}

describe('imports between the folders of src/', () => {
  const imports: Import[] = [];
  const rooms = new Set<string>();

  before(async () => {
    for await (const file of glob(join(SRC, '**/*.ts'))) {
      rooms.add(roomOf(file));
      imports.push(...(await importsOf(file)));
    }
    assert.ok(imports.length > 100, `${imports.length} imports were found`);
  });

  it('point down only', () => {
    const between = imports.filter(({ from, to, isPackage }) => !isPackage && from !== to && to !== '..'); // package.json
    const wrong = between.filter(({ from, to, isType }) => {
      const rule = MAY_IMPORT[from];
      return !(rule?.from.includes(to) === true || (isType && rule?.types?.includes(to) === true));
    });
    const lines = wrong.map(
      ({ file, to, from }) => `src/${file} imports ${to}/, but ${from}/: ${MAY_IMPORT[from]?.because}`,
    );
    assert.deepEqual(lines, []);
    const arrows = new Set(between.map(({ from, to }) => `${from} -> ${to}`));
    console.log(`      ${rooms.size} folders, ${arrows.size} arrows between them`);
  });

  it('have a rule for each folder, and each rule points to folders below its own', () => {
    const floors = Object.keys(MAY_IMPORT);
    assert.deepEqual([...rooms].toSorted(), floors.toSorted());
    const upward = Object.entries(MAY_IMPORT).flatMap(([room, { from, types = [] }]) =>
      [...from, ...types]
        .filter((to) => floors.indexOf(to) <= floors.indexOf(room))
        .map((to) => `${room} -> ${to}`),
    );
    assert.deepEqual(upward, []);
  });

  it('have no rule that nothing needs', () => {
    const needed = new Set(imports.map(({ from, to }) => `${from} -> ${to}`));
    const idle = Object.entries(MAY_IMPORT).flatMap(([room, { from, types = [] }]) =>
      [...from, ...types].map((to) => `${room} -> ${to}`).filter((arrow) => !needed.has(arrow)),
    );
    assert.deepEqual(idle, []);
  });

  it('bring libraries only into the folders that are meant to know them', () => {
    const wrong = LIBRARIES.flatMap(({ name, in: where, because }) =>
      imports
        .filter(({ from, to, isPackage }) => isPackage && name.test(to) && !where.includes(from))
        .map(({ file, to }) => `src/${file} imports ${to}: ${because}`),
    );
    assert.deepEqual(wrong, []);
  });
});
