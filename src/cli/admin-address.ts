/** The node that `weir status`, `weir peers` and `weir store` ask: `--admin`, else the admin address of this configuration. */
import { loadConfig, type LoadedConfig } from '../config/load.ts';
import { formatListenAddress, type ListenAddress } from '../config/kinds.ts';
import { readFileBounded } from '../config/read-file.ts';
import { isWeirError, WeirError } from '../util/errors.ts';
import { AdminClient } from '../status/admin-client.ts';
import { withSignals, type CliContext } from './context.ts';

/** A name or an IP address (IPv6 in brackets) and a port. A scheme may come first, as in the log. */
const ADDRESS = /^(?:http:\/\/)?(\[[0-9a-fA-F:.]+\]|[^\s:/?#@[\]]+):(\d{1,5})\/?$/;

/** The host to connect to, if the node listens on all addresses of the machine. */
const THIS_MACHINE: Readonly<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '[::]': '[::1]' };
/** As a URL has it. */
const LOOPBACK = /^(?:127\.[0-9.]+|\[::1\]|localhost)$/;

export interface AdminAddress {
  readonly url: URL;
  /** The source of the address, for an error message. */
  readonly origin: string;
}

/** Whether it is on this machine. */
export function isLoopbackUrl({ hostname }: URL): boolean {
  return LOOPBACK.test(hostname);
}

/** @throws WeirError `bad_request`, `config_invalid` */
export async function adminAddress(
  options: Readonly<Record<string, unknown>>,
  context: CliContext,
): Promise<AdminAddress> {
  const { admin, config: file } = options;
  if (typeof admin === 'string') return { url: parseAdmin(admin), origin: 'flag --admin' };
  const loaded = await loadConfig({
    env: context.env,
    file: typeof file === 'string' ? file : undefined,
    readFile: readFileBounded,
  });
  return adminAddressOf(undefined, loaded);
}

/** @param admin the value of `--admin` @throws WeirError `bad_request` */
export function adminAddressOf(
  admin: string | undefined,
  { config, origins }: Pick<LoadedConfig, 'config' | 'origins'>,
): AdminAddress {
  if (admin !== undefined) return { url: parseAdmin(admin), origin: 'flag --admin' };
  const origin = origins['admin.listen'];
  const urls = config['admin.listen'].map((address) => urlOf(address, origin));
  // A node gives reports on loopback only.
  const url = urls.find(isLoopbackUrl) ?? urls[0];
  if (url === undefined) throw new WeirError('bad_request', `admin.listen has no address (${origin})`);
  return { url, origin };
}

function urlOf(address: ListenAddress, origin: string): URL {
  if (address.port !== 0) return parseAdmin(formatListenAddress(address));
  const problem = `admin.listen has port 0 (${origin}): give the port in the node's log with --admin`;
  throw new WeirError('bad_request', problem);
}

function parseAdmin(text: string): URL {
  const [, host = '', port = ''] = ADDRESS.exec(text) ?? [];
  const url = host === '' ? null : URL.parse(`http://${THIS_MACHINE[host] ?? host}:${port}`);
  if (url === null) {
    const problem = `--admin: ${JSON.stringify(text.slice(0, 80))} is no address (allowed: HOST:PORT, [IPv6]:PORT)`;
    throw new WeirError('bad_request', problem);
  }
  return url;
}

/** Adds advice to the error of a node that does not answer. */
export function explainSilence(error: unknown, { url, origin }: AdminAddress): unknown {
  if (!isWeirError(error, 'upstream_unreachable')) return error;
  const from = origin === 'default' ? 'the default address' : origin;
  const advice =
    `${from}: is "weir node" running there? Its log has the address ("admin listening"); ` +
    'give another one with --admin';
  return new WeirError(error.code, `no node answers at ${url.origin} (${advice})`, { cause: error.cause });
}

/**
 * Asks the node at this address, until a signal ends the program.
 * @throws the error of `ask`, with advice if no node answers
 */
export async function askNode<T>(
  address: AdminAddress,
  ask: (client: AdminClient, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  return withSignals(async (signal) => {
    await using client = new AdminClient(address.url);
    return await ask(client, signal).catch((error: unknown) => {
      throw explainSilence(error, address);
    });
  });
}
