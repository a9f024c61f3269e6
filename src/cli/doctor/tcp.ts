/** Tries whether a TCP port accepts connections. */
import { connect } from 'node:net';
import { SECOND } from '../../util/clock.ts';
import { systemCode } from '../../util/errors.ts';
import { hostPortOf } from '../../util/ip-address.ts';

/** Milliseconds for one address: within a cluster it takes a few, and a lost packet is sent again after 1 s. */
const CONNECT_TIMEOUT = 3 * SECOND;

export interface Place {
  /** IP address without brackets. */
  readonly host: string;
  readonly port: number;
}

/** Undefined if one of the places accepts a connection; else why the last one did not. */
export async function problemOf(places: readonly Place[], signal: AbortSignal): Promise<string | undefined> {
  if (places.length === 0) return 'no address';
  const tries = await Promise.all(places.map((place) => tryConnect(place, signal)));
  return tries.includes(undefined) ? undefined : tries.at(-1);
}

function tryConnect({ host, port }: Place, signal: AbortSignal): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  const socket = connect({ host, port });
  const end = (problem: string | undefined): void => {
    socket.destroy();
    resolve(problem);
  };
  const onAbort = (): void => end('no answer');
  signal.addEventListener('abort', onAbort, { once: true });
  socket.setTimeout(CONNECT_TIMEOUT, onAbort);
  socket.on('error', (error) => end(systemCode(error) ?? error.message));
  socket.on('connect', () => end(undefined));
  return promise.finally(() => signal.removeEventListener('abort', onAbort));
}

/** `/ip4/10.0.0.7/tcp/4772`; undefined for another form. */
export function placeOfMultiaddr(multiaddr: string): Place | undefined {
  const found = hostPortOf(multiaddr);
  return found && { host: found.host, port: Number(found.port) };
}

/** `10.0.0.7:4773`, `[fd00::7]:4773`; undefined for another form. */
export function placeOfText(text: string): Place | undefined {
  const [, ipv6, other, port] = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = ipv6 ?? other;
  return host === undefined ? undefined : { host, port: Number(port) };
}
