/** Opens one HTTP server for each address of a setting. */
import type { Server } from 'node:http';
import { once } from 'node:events';
import { createServer, isIPv6, type AddressInfo, type Server as NetServer } from 'node:net';
import { systemCode, WeirError } from '../util/errors.ts';

export interface ListenAddress {
  /** An IP address without brackets, or `localhost`. */
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
}

/** A socket that listens. */
export interface Listening {
  /** As the system gave them. */
  readonly host: string;
  readonly port: number;
  /** Takes no more connections. */
  close(): void;
}

interface Places {
  readonly addresses: readonly ListenAddress[];
  /** The setting that names the addresses, for errors: `mirror.listen`. */
  readonly setting: string;
  readonly onWarning: (message: string) => void;
}

export interface ListenOptions extends Places {
  readonly create: () => Server;
}

export interface OpenOptions<Listener> extends Places {
  /** @throws the system's error, e.g. EADDRINUSE */
  readonly open: (address: ListenAddress) => Promise<Listener>;
}

/**
 * Listens on all addresses, and on one at least. An address that does not exist on this machine is skipped with a warning.
 * @throws WeirError `address_in_use`
 */
export async function openAll<Listener extends Listening>(
  options: OpenOptions<Listener>,
): Promise<readonly Listener[]> {
  const { addresses, open, setting, onWarning } = options;
  const listeners: Listener[] = [];
  try {
    for (const { host, port } of withoutCovered(addresses)) {
      // With port 0, all addresses get the port that the system gave the first one.
      const wanted = { host, port: port === 0 ? (listeners[0]?.port ?? 0) : port };
      try {
        listeners.push(await open(wanted));
      } catch (cause) {
        if (!isMissing(cause)) throw inUse({ host, port }, setting, cause);
        onWarning(`cannot listen on ${host}: the address does not exist here`);
      }
    }
    if (listeners.length > 0) return listeners;
    throw new WeirError('address_in_use', `none of the addresses of ${setting} exists on this machine`);
  } catch (error) {
    for (const listener of listeners) listener.close();
    throw error;
  }
}

/** Servers of this thread that listen, at least one. @throws WeirError `address_in_use` */
export async function listen({ create, ...places }: ListenOptions): Promise<readonly Server[]> {
  const opened = await openAll({
    ...places,
    open: async ({ host, port }) => {
      const server = create();
      await listening(server, host, port);
      return { server, host, port: (server.address() as AddressInfo).port, close: () => server.close() };
    },
  });
  return opened.map(({ server }) => server);
}

/** `http://127.0.0.1:4770` */
export function urlOf(server: Server): string {
  const { address, port } = server.address() as AddressInfo;
  return urlAt({ host: address, port });
}

/** The same of an address. */
export function urlAt({ host, port }: ListenAddress): string {
  return `http://${isIPv6(host) ? `[${host}]` : host}:${port}`;
}

/** Drops addresses that a wildcard of their family covers: two sockets cannot listen on the same port there. */
function withoutCovered(addresses: readonly ListenAddress[]): readonly ListenAddress[] {
  return addresses.filter(({ host, port }) => {
    const wildcard = isIPv6(host) ? '::' : '0.0.0.0';
    return host === wildcard || !addresses.some((other) => other.host === wildcard && other.port === port);
  });
}

function isMissing(cause: unknown): boolean {
  const code = systemCode(cause);
  return code === 'EADDRNOTAVAIL' || code === 'EAFNOSUPPORT';
}

function inUse({ host, port }: ListenAddress, setting: string, cause: unknown): WeirError {
  const code = systemCode(cause);
  const problem = code === 'EADDRINUSE' ? 'is in use by another program' : `cannot be listened on (${code})`;
  const flag = `--${setting.replace('.', '-')}`;
  return new WeirError('address_in_use', `${host} port ${port} ${problem}: choose another with ${flag}`, {
    cause,
  });
}

/**
 * Listens on one address of one family. @throws the system's error, e.g. EADDRINUSE
 * @param reusePort other threads listen on the same port, if they all say so
 */
export async function listening(
  server: NetServer,
  host: string,
  port: number,
  { reusePort = false }: { readonly reusePort?: boolean } = {},
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  server.listen({ host, port, ipv6Only: true, reusePort }, resolve);
  await promise;
  server.off('error', reject);
}

/**
 * Whether the port is free, for servers that share a port: the system would let them share it with those of another
 * process, too. @throws the system's error, e.g. EADDRINUSE
 */
export async function probe({ host, port }: ListenAddress): Promise<void> {
  const server = createServer();
  await listening(server, host, port);
  const closed = once(server, 'close');
  server.close();
  await closed;
}
