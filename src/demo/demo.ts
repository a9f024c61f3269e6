/**
 * `weir demo`: a registry, one real node, a cold and a warm pull through its mirror, every digest checked, and
 * what came from the registry. What it starts and writes is gone at its end, however that comes about.
 */
import { rmSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createPullDisplay, type TerminalOutput } from '../client/display.ts';
import { formatSeconds } from '../client/format.ts';
import { paint } from '../client/progress.ts';
import { pullImage } from '../client/pull-image.ts';
import { formatImageReference } from '../oci/reference.ts';
import { ChildNode } from './child.ts';
import { findProblems, renderTable, type PullOutcome } from './report.ts';
import { embeddedUpstream, realUpstream, type DemoUpstream } from './upstream.ts';

export interface DemoOptions {
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
 * @returns whether all was as it should be
 * @throws WeirError `digest_mismatch` and others of a pull that fails
 */
export async function runDemo(options: DemoOptions): Promise<boolean> {
  const { output, color, signal } = options;
  const say = (line = ''): void => void output.write(`${line}\n`);
  await using stack = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), 'weir-demo-'));
  const onExit = (): void => rmSync(directory, { recursive: true, force: true }); // a second Ctrl-C does not wait
  process.once('exit', onExit);
  stack.defer(async () => {
    await rm(directory, { recursive: true, force: true });
    process.off('exit', onExit);
  });

  if (options.image === undefined) say('Preparing an image of 6 layers …');
  const upstream = stack.use(
    options.image === undefined ? await embeddedUpstream(directory, { signal }) : realUpstream(options.image),
  );
  const node = stack.use(await startNode(directory, upstream, options));
  say(`Upstream: ${upstream.description}`);
  say(`One node: mirror at ${node.mirror.host}, process ${node.pid}`);
  say(`Image:    ${formatImageReference(upstream.image)}`);

  const both = async (): Promise<readonly [PullOutcome, PullOutcome]> => [
    await pull('Cold pull, nothing is stored yet', upstream, node, options),
    await pull('Warm pull, the same again', upstream, node, options),
  ];
  const [cold, warm] = await both().catch((error: unknown) => {
    if (!signal.aborted) say(`\n${mark('✘', 'red', `the pull failed; ${node.describe()}`, color)}`);
    throw error;
  });
  const outcome = { cold, warm, isNodeRunning: node.isRunning };
  say();
  for (const line of renderTable(outcome, { color })) say(line);
  say();
  const problems = [...findProblems(outcome)];
  const ended = await node.stop();
  if (ended !== 0 && outcome.isNodeRunning) problems.push(`the node ended with ${ended}${node.log()}`);
  for (const problem of problems) say(mark('✘', 'red', problem, color));
  if (problems.length === 0) say(mark('✔', 'green', verdict(cold, warm), color));
  return problems.length === 0;
}

function verdict(cold: PullOutcome, warm: PullOutcome): string {
  const [first, second] = [formatSeconds(cold.pulled.seconds), formatSeconds(warm.pulled.seconds)];
  return `every digest is right; ${first} cold, ${second} warm, nothing fetched twice`;
}

function mark(sign: string, tone: 'red' | 'green', text: string, color: boolean): string {
  return `${color ? paint(tone, sign) : sign} ${text}`;
}

async function startNode(
  directory: string,
  upstream: DemoUpstream,
  options: DemoOptions,
): Promise<ChildNode> {
  const flags = [
    ['--data-dir', join(directory, 'data')],
    ['--mirror-listen', '127.0.0.1:0'],
    ['--admin-listen', '127.0.0.1:0'],
    // The runtime of this machine may hold the image already: then nothing would be shown.
    ['--store-runtime-content', 'none'],
    ['--log-format', 'json'],
    ['--log-level', 'info'],
  ];
  let { env } = options;
  if (upstream.isEmbedded) {
    // The machine's own configuration must not matter: its settings, its proxies.
    const file = join(directory, 'config.yaml');
    await writeFile(file, '');
    flags.push(['--config', file]);
    env = Object.fromEntries(Object.entries(env).filter(([name]) => !/^WEIR_|_proxy$/i.test(name)));
  } else if (options.dockerConfig !== undefined && !env['WEIR_UPSTREAM_DOCKER_CONFIG']) {
    flags.push(['--upstream-docker-config', options.dockerConfig]);
  }
  return await ChildNode.start({ arguments: flags.flat(), env, signal: options.signal });
}

async function pull(
  title: string,
  upstream: DemoUpstream,
  node: ChildNode,
  options: DemoOptions,
): Promise<PullOutcome> {
  const { output, color, signal, dockerConfig } = options;
  output.write(`\n${color ? paint('bold', title) : title}\n`);
  const before = await upstream.count(node);
  const pulled = await (async () => {
    using display = await createPullDisplay(output, { color });
    return await pullImage({
      image: upstream.image,
      mirror: node.mirror,
      dockerConfig: upstream.isEmbedded ? undefined : dockerConfig,
      onProgress: display.onProgress,
      signal,
    });
  })();
  const after = await upstream.count(node);
  const counted = {
    requests: after.requests - before.requests,
    blobBytes: after.blobBytes - before.blobBytes,
  };
  return { pulled, upstream: counted };
}
