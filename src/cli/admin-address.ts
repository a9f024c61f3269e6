/** Which node `weir status` and `weir peers` ask: `--admin`, else where a node with this configuration listens. */
import { loadConfig } from '../config/load.ts';
import { formatListenAddress, type ListenAddress } from '../config/kinds.ts';
import { readFileBounded } from '../config/read-file.ts';
import { isWeirError, WeirError } from '../util/errors.ts';
import type { CliContext } from './context.ts';

/** A name or an IP address (IPv6 in brackets), and a port; a scheme may stand before it, as logs write it. */
const ADDRESS = /^(?:http:\/\/)?(\[[0-9a-fA-F:.]+\]|[^\s:/?#@[\]]+):(\d{1,5})\/?$/;

/** Where one connects to what listens at all addresses of a machine. */
const THIS_MACHINE: Readonly<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '[::]': '[::1]' };
/** As a URL has it. */
const LOOPBACK = /^(?:127\.[0-9.]+|\[::1\]|localhost)$/;

export interface AdminAddress {
  readonly url: URL;
  /** Where it came from, for an error message. */
  readonly origin: string;
}

/** @throws WeirError `bad_request`, `config_invalid` */
export async function adminAddress(
  options: Readonly<Record<string, unknown>>,
  context: CliContext,
): Promise<AdminAddress> {
  const { admin, config: file } = options;
  if (typeof admin === 'string') return { url: parseAdmin(admin), origin: 'flag --admin' };
  const { config, origins } = await loadConfig({
    env: context.env,
    file: typeof file === 'string' ? file : undefined,
    readFile: readFileBounded,
  });
  const origin = origins['admin.listen'];
  const urls = config['admin.listen'].map((address) => urlOf(address, origin));
  // Elsewhere there are no reports.
  const url = urls.find(({ hostname }) => LOOPBACK.test(hostname)) ?? urls[0];
  if (url === undefined) throw new WeirError('bad_request', `admin.listen has no address (${origin})`);
  return { url, origin };
}

function urlOf(address: ListenAddress, origin: string): URL {
  if (address.port !== 0) return parseAdmin(formatListenAddress(address));
  const problem = `admin.listen has port 0 (${origin}): name the port that the node's log tells with --admin`;
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

/** What to look at where nobody answers. */
export function explainSilence(error: unknown, { url, origin }: AdminAddress): unknown {
  if (!isWeirError(error, 'upstream_unreachable')) return error;
  const from = origin === 'default' ? 'the default address' : origin;
  const advice =
    `${from}: is "weir node" running there? its log names the address ("admin listening"); ` +
    'name another one with --admin';
  return new WeirError(error.code, `no node answers at ${url.origin} (${advice})`, { cause: error.cause });
}
