/** `weir store`: ls, rm, pin, unpin, gc */
import { formatBytes, shortDigest } from '../client/format.ts';
import { renderStore } from '../client/store-view.ts';
import { DEFAULT_COLUMNS, type TerminalOutput } from '../client/terminal.ts';
import { loadConfig } from '../../config/load.ts';
import { readFileBounded } from '../../config/read-file.ts';
import { parseDuration, parseSize } from '../../config/units.ts';
import { digestHex, tryParseDigest, type Digest } from '../../oci/digest.ts';
import { formatImageReference, parseImageReference } from '../../oci/reference.ts';
import { StoreClient, type PinTarget } from '../../status/store-client.ts';
import { MAX_LISTED, STORE_ORDERS, type FreedReport, type PinReport } from '../../status/store-report.ts';
import { KIB, systemClock } from '../../util/clock.ts';
import { errorMessage, WeirError } from '../../util/errors.ts';
import { adminAddress, askNode, isLoopbackUrl } from '../admin-address.ts';
import { wantsColor, type CliContext } from '../context.ts';

type Options = Readonly<Record<string, unknown>>;

const MAX_TOKEN_BYTES = 8 * KIB;
/** The start of a digest, as `weir store ls` shows it. */
const START = /^(?:sha(?:256|512):)?([0-9a-f]{12,127})$/;

export async function runStoreList(options: Options, context: CliContext): Promise<void> {
  const order = STORE_ORDERS.find((each) => each === options['sort']) ?? 'last-use';
  const limit = typeof options['limit'] === 'string' ? limitOf(options['limit']) : MAX_LISTED;
  const listing = await withStore(options, context, (store) => store.list(order, limit));
  if (options['json'] === true) {
    context.stdout.write(`${JSON.stringify(listing)}\n`);
    return;
  }
  const output: TerminalOutput = context.stdout;
  const isTerminal = output.isTTY === true;
  const lines = renderStore(listing, {
    columns: isTerminal ? (output.columns ?? DEFAULT_COLUMNS) : undefined,
    color: isTerminal && wantsColor(context),
    now: systemClock.now(),
  });
  output.write(`${lines.join('\n')}\n`);
}

export async function runStoreRemove(blob: string, options: Options, context: CliContext): Promise<void> {
  const report = await withStore(options, context, async (store) => {
    const digest = await resolveDigest(blob, store);
    return store.remove(digest, options['force'] === true);
  });
  show(report, options, context, freedText(report));
}

export async function runStorePin(
  what: 'pin' | 'unpin',
  text: string,
  options: Options,
  context: CliContext,
): Promise<void> {
  const report = await withStore(options, context, async (store) => {
    const target = await targetOf(text, store, options, context);
    return what === 'pin' ? store.pin(target) : store.unpin(target);
  });
  show(report, options, context, pinText(what, report));
}

export async function runStoreCollect(options: Options, context: CliContext): Promise<void> {
  const { to, unused } = options;
  if (typeof to !== 'string' && typeof unused !== 'string')
    throw new WeirError('bad_request', 'give --to SIZE or --unused DURATION');
  const bytes = typeof to === 'string' ? amountOf('--to', to, parseSize) : 0;
  const duration = typeof unused === 'string' ? amountOf('--unused', unused, parseDuration) : 0;
  const report = await withStore(options, context, (store) =>
    typeof to === 'string' ? store.shrinkTo(bytes) : store.evictUnused(duration),
  );
  const held = report.store.bytes + report.store.partial_bytes;
  const rest = typeof to === 'string' && held > bytes ? '\nthe rest is pinned, being read, or arriving' : '';
  show(report, options, context, freedText(report) + rest);
}

async function withStore<T>(
  options: Options,
  context: CliContext,
  work: (store: StoreClient) => Promise<T>,
): Promise<T> {
  const address = await adminAddress(options, context);
  const token = await tokenOf(options, context, address.url);
  return askNode(address, (client, signal) => work(new StoreClient(client, token, signal)));
}

/**
 * The token, if the command takes one and one is set. It never leaves this machine, as the connection is not encrypted.
 * @throws WeirError `config_invalid`, `bad_request`
 */
async function tokenOf(options: Options, context: CliContext, url: URL): Promise<string | undefined> {
  if (!isLoopbackUrl(url)) return undefined;
  const named = options['tokenFile'];
  const path = typeof named === 'string' ? named : (await configOf(options, context))['admin.token-file'];
  if (path === '') return undefined;
  const text = (await readFileBounded(path, MAX_TOKEN_BYTES))?.trim();
  if (text === undefined) throw new WeirError('config_invalid', `${path}: no such file with a token`);
  if (!/^[\x21-\x7e]+$/.test(text)) throw new WeirError('config_invalid', `${path} holds no token`);
  return text;
}

async function configOf(
  { config: file }: Options,
  { env }: CliContext,
): Promise<Awaited<ReturnType<typeof loadConfig>>['config']> {
  const named = typeof file === 'string' ? file : undefined;
  return (await loadConfig({ env, file: named, readFile: readFileBounded })).config;
}

async function targetOf(
  text: string,
  store: StoreClient,
  options: Options,
  context: CliContext,
): Promise<PinTarget> {
  if (tryParseDigest(text) !== undefined || START.test(text))
    return { digest: await resolveDigest(text, store) };
  const { 'mirror.default-registry': registry } = await configOf(options, context);
  return { image: formatImageReference(parseImageReference(text, registry)) };
}

/** @throws WeirError `digest_invalid` if it is no digest, and not the start of exactly one in the store */
async function resolveDigest(text: string, store: StoreClient): Promise<Digest> {
  const digest = tryParseDigest(text);
  if (digest !== undefined) return digest;
  const [, start] = START.exec(text) ?? [];
  if (start === undefined)
    throw new WeirError(
      'digest_invalid',
      `${JSON.stringify(text.slice(0, 80))} is no digest, nor 12 digits or more of one`,
    );
  const { blobs } = await store.list('digest', MAX_LISTED);
  const found = blobs.filter((blob) => digestHex(blob.digest).startsWith(start));
  const [only] = found;
  if (found.length === 1 && only !== undefined) return only.digest;
  const problem = found.length === 0 ? 'no blob in the store has' : `${found.length} blobs in the store have`;
  throw new WeirError('digest_invalid', `${problem} a digest that begins with ${start}`);
}

function limitOf(text: string): number {
  const limit = /^\d{1,6}$/.test(text) ? Number(text) : 0;
  if (limit < 1 || limit > MAX_LISTED)
    throw new WeirError('bad_request', `--limit: allowed: a whole number from 1 to ${MAX_LISTED}`);
  return limit;
}

function amountOf(option: string, text: string, parse: (text: string) => number): number {
  try {
    return parse(text);
  } catch (error) {
    throw new WeirError(
      'bad_request',
      `${option}: ${JSON.stringify(text.slice(0, 80))} ${errorMessage(error)}`,
    );
  }
}

function show(report: object, options: Options, context: CliContext, text: string): void {
  context.stdout.write(`${options['json'] === true ? JSON.stringify(report) : text}\n`);
}

function freedText({ removed, freed_bytes: bytes, store }: FreedReport): string {
  const held = formatBytes(store.bytes + store.partial_bytes);
  return `removed ${blobsText(removed)}, ${formatBytes(bytes)}; the store holds ${held}`;
}

function pinText(what: 'pin' | 'unpin', { digests, bytes, absent }: PinReport): string {
  const [first] = digests;
  const blobs = digests.length === 1 && first !== undefined ? shortDigest(first) : blobsText(digests.length);
  const missing =
    what === 'pin' && absent > 0 ? `; ${blobsText(absent)} of the image are not in the store` : '';
  return `${what}ned ${blobs}${missing}; ${formatBytes(bytes)} are pinned`;
}

function blobsText(count: number): string {
  return count === 1 ? '1 blob' : `${count} blobs`;
}
