/**
 * `weir demo`: N clients pull the same image at once in three waves: from the registry alone, through N real nodes that
 * share, and through a node that comes late. Every digest is checked, and the bytes that leave the registry are counted.
 * At its end, however it ends, all processes and files of the demo are gone.
 */
import { rmSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatSeconds } from '../client/format.ts';
import { paint, type TerminalOutput } from '../client/terminal.ts';
import { SECOND, systemClock } from '../../util/clock.ts';
import { formatImageReference } from '../../oci/reference.ts';
import { Crowd, type DemoNode } from './crowd.ts';
import { findMerits, findProblems, findShortfalls, renderTable, type DemoOutcome } from './demo-report.ts';
import { embeddedUpstream, realUpstream, type DemoUpstream } from './demo-upstream.ts';
import { runWave, type WaveNode, type WaveOutcome } from './wave.ts';

/** Each node is a process of some 100 MiB, and all share one machine. */
export const MAX_NODES = 64;
export const DEFAULT_NODES = 5;

export interface DemoOptions {
  /** 1 to {@link MAX_NODES}. */
  readonly nodes: number;
  /** An image of a real registry; undefined: a generated one, of an embedded registry. */
  readonly image?: string | undefined;
  /** Path of a docker config.json, for an image that needs a credential. */
  readonly dockerConfig?: string | undefined;
  readonly output: TerminalOutput;
  readonly color: boolean;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
}

/**
 * @returns whether all went well
 * @throws WeirError `internal` if nodes do not start or do not find each other; the errors of a wrong `image`
 */
export async function runDemo(options: DemoOptions): Promise<boolean> {
  const { output, color, signal, nodes } = options;
  const say = (line = ''): void => void output.write(`${line}\n`);
  await using stack = new AsyncDisposableStack();
  const directory = await temporaryFolder(stack);
  if (options.image === undefined) say('Preparing an image of 6 layers …');
  const upstream = stack.use(
    options.image === undefined
      ? await embeddedUpstream(directory, { nodes, signal })
      : realUpstream(options.image),
  );
  say(`Registry: ${upstream.description}`);
  say(`Image:    ${formatImageReference(upstream.image)}`);
  say();

  const waves = new Waves(upstream, options);
  const direct = await waves.run(`Registry only: ${counted(nodes, 'client')}, no node`, nodes);
  const crowd = stack.use(await createCrowd(directory, upstream, options));
  const all = await startNodes(crowd, nameNodes(nodes), say);
  const swarm = await waves.run(nodes === 1 ? 'Cold: one node' : `Swarm: ${nodes} nodes that share`, all);
  const last = await lastWave(crowd, waves, nodes, say);

  const failed = describeFailed([swarm, last], crowd);
  const endings = await crowd.stop();
  const outcome: DemoOutcome = { direct, swarm, last, nodes, endings };
  say();
  for (const line of renderTable(outcome, { color })) say(line);
  say();
  const problems = findProblems(outcome);
  for (const problem of problems) say(`${color ? paint('red', '✘') : '✘'} ${problem}`);
  for (const line of failed) say(`  ${line}`);
  if (problems.length > 0) return false;
  for (const merit of findMerits(outcome)) say(`${color ? paint('green', '✔') : '✔'} ${merit}`);
  for (const shortfall of findShortfalls(outcome)) say(`- ${shortfall}`);
  return true;
}

/** The warnings of nodes through which a pull failed. */
function describeFailed(waves: readonly WaveOutcome[], crowd: Crowd): readonly string[] {
  const failed = new Set(
    waves.flatMap(({ pulls }) => pulls.flatMap(({ name, error }) => (error === undefined ? [] : name))),
  );
  return crowd.nodes
    .filter(({ name }) => failed.has(name))
    .map(({ name, child }) => `${name}: ${child.describe()}`);
}

class Waves {
  readonly #upstream: DemoUpstream;
  readonly #options: DemoOptions;

  constructor(upstream: DemoUpstream, options: DemoOptions) {
    this.#upstream = upstream;
    this.#options = options;
  }

  async run(title: string, pullers: readonly WaveNode[] | number): Promise<WaveOutcome> {
    const { image, isEmbedded, link, count } = this.#upstream;
    const { dockerConfig, output, color, signal } = this.#options;
    return await runWave({
      title,
      image,
      dockerConfig: isEmbedded ? undefined : dockerConfig,
      pullers,
      link,
      registry: count,
      output,
      color,
      signal,
    });
  }
}

/** One more node that comes when all others are done; a lone node pulls again instead, from its store. */
async function lastWave(
  crowd: Crowd,
  waves: Waves,
  nodes: number,
  say: (line?: string) => void,
): Promise<WaveOutcome> {
  if (nodes === 1) {
    say();
    return await waves.run('Warm: the same node again', crowd.nodes);
  }
  const joiner = await startNodes(crowd, ['joiner'], say);
  return await waves.run('Late joiner: one more node, when all others are done', joiner);
}

async function startNodes(
  crowd: Crowd,
  names: readonly string[],
  say: (line?: string) => void,
): Promise<readonly DemoNode[]> {
  const started = systemClock.monotonic();
  say(`\nStarting ${counted(names.length, crowd.nodes.length === 0 ? 'node' : 'more node')} …`);
  const nodes = await crowd.start(names);
  await crowd.untilAcquainted();
  const seconds = (systemClock.monotonic() - started) / SECOND;
  const met = crowd.nodes.length === 1 ? '' : ', all know each other';
  say(`Ready in ${formatSeconds(seconds)}${met}\n`);
  return nodes;
}

function nameNodes(count: number): readonly string[] {
  return Array.from({ length: count }, (_, index) => `node-${index + 1}`);
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}

async function createCrowd(directory: string, upstream: DemoUpstream, options: DemoOptions): Promise<Crowd> {
  const more: string[] = [];
  let { env } = options;
  if (upstream.isEmbedded) {
    // The machine's own settings and proxies must not matter. The registry is on loopback, which members may name to each
    // other only if it is configured.
    const file = join(directory, 'config.yaml');
    await writeFile(file, JSON.stringify({ registries: { [upstream.image.repository.registry]: {} } })); // is YAML
    more.push('--config', file);
    env = Object.fromEntries(Object.entries(env).filter(([name]) => !/^WEIR_|_proxy$/i.test(name)));
  } else if (options.dockerConfig !== undefined && !env['WEIR_UPSTREAM_DOCKER_CONFIG']) {
    more.push('--upstream-docker-config', options.dockerConfig);
  }
  return await Crowd.create({ directory, env, arguments: more, link: upstream.link, signal: options.signal });
}

async function temporaryFolder(stack: AsyncDisposableStack): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'weir-demo-'));
  // A second Ctrl-C does not wait. Retries are needed as nodes that are being killed may still write.
  const onExit = (): void => rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
  process.once('exit', onExit);
  stack.defer(async () => {
    await rm(directory, { recursive: true, force: true });
    process.off('exit', onExit);
  });
  return directory;
}
