/** Opens one HTTP server for each address of a setting. */
import type { Server } from 'node:http';
import { isIPv6, type AddressInfo } from 'node:net';
import { systemCode, WeirError } from '../util/errors.ts';

export interface ListenAddress {
  /** An IP address without brackets, or `localhost`. */
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
}

export interface ListenOptions {
  readonly addresses: readonly ListenAddress[];
  readonly create: () => Server;
  /** The setting that names the addresses, for errors: `mirror.listen`. */
  readonly setting: string;
  readonly onWarning: (message: string) => void;
}

/**
 * Servers that listen, at least one. An address that does not exist on this machine is skipped with a warning.
 * @throws WeirError `address_in_use`
 */
export async function listen(options: ListenOptions): Promise<readonly Server[]> {
  const { addresses, create, setting, onWarning } = options;
  const servers: Server[] = [];
  try {
    for (const { host, port } of withoutCovered(addresses)) {
      const server = create();
      // With port 0, all addresses get the port that the system gave the first one.
      const given = (servers[0]?.address() as AddressInfo | undefined)?.port ?? 0;
      try {
        await listening(server, host, port === 0 ? given : port);
        servers.push(server);
      } catch (cause) {
        if (!isMissing(cause)) throw inUse({ host, port }, setting, cause);
        onWarning(`cannot listen on ${host}: the address does not exist here`);
      }
    }
    if (servers.length > 0) return servers;
    throw new WeirError('address_in_use', `none of the addresses of ${setting} exists on this machine`);
  } catch (error) {
    for (const server of servers) server.close();
    throw error;
  }
}

/** `http://127.0.0.1:4770` */
export function urlOf(server: Server): string {
  const { address, port } = server.address() as AddressInfo;
  return `http://${isIPv6(address) ? `[${address}]` : address}:${port}`;
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

/** Listens on one address of one family. @throws the system's error, e.g. EADDRINUSE */
export async function listening(server: Server, host: string, port: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  server.listen({ host, port, ipv6Only: true }, resolve);
  await promise;
  server.off('error', reject);
}
