/**
 * Chooses the proxy of a request from HTTP_PROXY, HTTPS_PROXY and NO_PROXY, like the Go programs that pull images
 * (golang.org/x/net/http/httpproxy). Lower case wins, this machine is never behind a proxy, a proxy for `http` is not
 * one for `https`, and NO_PROXY may contain address ranges.
 */
import { BlockList, isIP } from 'node:net';
import { WeirError } from '../util/errors.ts';
import { isThisMachine } from './endpoint.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

export interface ProxySettings {
  readonly httpProxy: string;
  readonly httpsProxy: string;
  readonly noProxy: string;
}

/**
 * The settings of undici's EnvHttpProxyAgent for `origin`; undefined for no proxy. @throws WeirError `config_invalid`
 */
export function proxyFor(origin: URL, environment: Environment): ProxySettings | undefined {
  const variable = origin.protocol === 'https:' ? 'https_proxy' : 'http_proxy';
  const proxy = read(environment, variable);
  if (proxy === '' || isThisMachine(origin.hostname)) return undefined;
  const noProxy = read(environment, 'no_proxy');
  if (isInRanges(origin.hostname, noProxy)) return undefined;
  const url = URL.parse(proxy.includes('://') ? proxy : `http://${proxy}`);
  if (url === null) throw new WeirError('config_invalid', `${variable} holds no URL`);
  return { httpProxy: url.href, httpsProxy: url.href, noProxy };
}

/** The variables that {@link proxyFor} reads. */
export function proxyVariables(environment: Environment): Environment {
  const names = ['http_proxy', 'https_proxy', 'no_proxy'];
  return Object.fromEntries(
    names.flatMap((name) => [name, name.toUpperCase()]).map((name) => [name, environment[name]]),
  );
}

function read(environment: Environment, name: string): string {
  return environment[name] ?? environment[name.toUpperCase()] ?? '';
}

/** EnvHttpProxyAgent handles names, but not `10.0.0.0/8`, which clusters use. */
function isInRanges(hostname: string, noProxy: string): boolean {
  const address = hostname.replace(/^\[(.+)\]$/, '$1');
  const family = isIP(address);
  if (family === 0) return false;
  const ranges = new BlockList();
  for (const entry of noProxy.split(/[,\s]+/)) {
    const [network = '', prefix = ''] = entry.split('/');
    const of = isIP(network);
    const bits = /^[0-9]{1,3}$/.test(prefix) ? Number(prefix) : Number.NaN;
    if (of !== 0 && bits <= (of === 4 ? 32 : 128))
      ranges.addSubnet(network, bits, of === 4 ? 'ipv4' : 'ipv6');
  }
  return ranges.check(address, family === 4 ? 'ipv4' : 'ipv6');
}
