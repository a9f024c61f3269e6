/** `weir pull` */
import { existsSync } from 'node:fs';
import { userAuthFiles } from '../client/auth-files.ts';
import { createPullDisplay } from '../client/display.ts';
import { formatBytes, formatRate, formatSeconds } from '../client/format.ts';
import { parsePlatform } from '../../oci/platform.ts';
import { describeSources } from '../client/pulls-view.ts';
import { pullImage, type PulledImage } from '../client/pull-image.ts';
import { loadConfig } from '../../config/load.ts';
import { readFileBounded } from '../../config/read-file.ts';
import { isWeirError, WeirError } from '../../util/errors.ts';
import { formatImageReference, parseImageReference } from '../../oci/reference.ts';
import type { PullReport } from '../../status/pull-report.ts';
import { systemClock } from '../../util/clock.ts';
import { adminAddress } from '../admin-address.ts';
import { sourcesOf } from './pull-sources.ts';
import { wantsColor, withSignals, type CliContext } from '../context.ts';

const ELSEWHERE = 'give another one with --mirror, or use --direct';

export async function runPullCommand(
  text: string,
  options: Readonly<Record<string, unknown>>,
  context: CliContext,
): Promise<void> {
  const file = options['config'];
  const { config } = await loadConfig({
    env: context.env,
    file: typeof file === 'string' ? file : undefined,
    readFile: readFileBounded,
  });
  const image = parseImageReference(text, config['mirror.default-registry']);
  const mirror = options['direct'] === true ? undefined : parseMirror(String(options['mirror']));
  const platform = typeof options['platform'] === 'string' ? parsePlatform(options['platform']) : undefined;
  const authFiles = authFilesOf(options['authfile'], config['upstream.docker-config'], context.env);
  const json = options['json'] === true;
  const admin = mirror && (await adminOf(options, context));
  const began = systemClock.now();
  const pulled = await withSignals(async (signal) => {
    using display = json
      ? undefined
      : await createPullDisplay(context.stdout, { color: wantsColor(context) });
    return await pullImage({
      image,
      mirror,
      platform,
      allPlatforms: options['allPlatforms'] === true,
      registries: config.registries,
      caFile: config['upstream.ca-file'] || undefined,
      authFiles,
      environment: context.env,
      warn: (message) => void context.stderr.write(`weir: warning: ${message}\n`),
      onProgress: display?.onProgress,
      signal,
    }).catch((error: unknown) => {
      throw mirror === undefined ? error : explainSilence(error, mirror, ELSEWHERE);
    });
  });
  const name = formatImageReference(image);
  const told = admin && (await sourcesOf(admin, { image: name, began }));
  const { sources, peers } = told ?? {};
  context.stdout.write(
    json
      ? `${JSON.stringify({ image: name, ...pulled, sources, peers })}\n`
      : `${summary(name, pulled, told)}\n`,
  );
}

/** The node's admin address; undefined if it is not known, which matters only if it was given. @throws WeirError `bad_request` */
async function adminOf(
  options: Readonly<Record<string, unknown>>,
  context: CliContext,
): Promise<URL | undefined> {
  try {
    return (await adminAddress(options, context)).url;
  } catch (error) {
    if (options['admin'] !== undefined) throw error;
    return undefined;
  }
}

/** Adds advice to the error of a mirror that does not answer. */
export function explainSilence(error: unknown, mirror: URL, otherwise: string): unknown {
  if (!isWeirError(error, 'upstream_unreachable')) return error;
  const advice = `start one with "weir node", ${otherwise}`;
  return new WeirError(error.code, `no node answers at ${mirror.origin} (${advice})`, { cause: error.cause });
}

function summary(name: string, pulled: PulledImage, told: PullReport | undefined): string {
  const sources = new Map<string, number>();
  for (const { source, size } of pulled.blobs) sources.set(source, (sources.get(source) ?? 0) + size);
  const shares = [...sources].map(([source, bytes]) => `${formatBytes(bytes)} from ${source}`).join(', ');
  const { bytes, seconds, blobs, digest } = pulled;
  return [
    name,
    digest,
    `${formatBytes(bytes)} in ${formatSeconds(seconds)} (${formatRate(bytes, seconds)}), ${blobs.length} digests checked`,
    told === undefined || told.bytes === 0 ? shares : describeSources(told),
  ].join('\n');
}

/** @throws WeirError `bad_request` */
export function authFilesOf(named: unknown, configured: string, env: CliContext['env']): readonly string[] {
  if (typeof named !== 'string') return configured === '' ? userAuthFiles(env) : [configured];
  if (existsSync(named)) return [named];
  throw new WeirError('bad_request', `--authfile: there is no file ${JSON.stringify(named)}`);
}

/** @throws WeirError `bad_request` */
export function parseMirror(text: string): URL {
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol) || url.search !== '' || url.hash !== '') {
    throw new WeirError('bad_request', `--mirror: ${JSON.stringify(text)} is no http or https URL`);
  }
  return url;
}
