/** Time to the first byte of a hit, and to the 404 of a miss. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { parseDigest, type Digest } from '../../src/oci/digest.ts';
import { percentiles, type Percentiles } from '../../test/simulator/stats.ts';
import type { Scene } from './scene.ts';
import type { WarmScene } from './warm-scene.ts';

const REQUESTS = 200;
/** Requests that are not counted: code that runs for the first time is slow. */
const WARM_UP = 20;

const END_OF_HEADER = '\r\n\r\n';

/** Milliseconds, each. */
export interface LatencyFigures {
  readonly hitSmall: Sides;
  readonly hitLarge: Sides;
  readonly miss: Sides;
}

export interface Sides {
  readonly reference: Percentiles;
  readonly weir: Percentiles;
}

export async function measureLatency({ say, signal }: Scene, warm: WarmScene): Promise<LatencyFigures> {
  const hit = (digest: Digest): Promise<Sides> =>
    compare(() => [warm.nginxUrl(digest), warm.weirUrl(digest)], 200, signal);
  const hitSmall = await hit(warm.small);
  const hitLarge = await hit(warm.large);
  // Each digest is new, so no answer can be cached.
  const miss = await compare(
    () => {
      const unknown = parseDigest(`sha256:${randomBytes(32).toString('hex')}`);
      return [warm.registryUrl(unknown), warm.weirUrl(unknown)];
    },
    404,
    signal,
  );
  const medians = [hitSmall, hitLarge, miss].map(({ weir }) => weir.p50.toFixed(2)).join(', ');
  say(`first byte: ${medians} ms (1 KiB hit, 1 GiB hit, miss)`);
  return { hitSmall, hitLarge, miss };
}

/** Asks both sides in turns. */
async function compare(
  urls: () => readonly [reference: string, weir: string],
  status: number,
  signal: AbortSignal,
): Promise<Sides> {
  const reference: number[] = [];
  const weir: number[] = [];
  for (let count = -WARM_UP; count < REQUESTS; count++) {
    signal.throwIfAborted();
    const [referenceUrl, weirUrl] = urls();
    const times = [await firstByte(referenceUrl, status), await firstByte(weirUrl, status)] as const;
    if (count < 0) continue;
    reference.push(times[0]);
    weir.push(times[1]);
  }
  return { reference: percentiles(reference), weir: percentiles(weir) };
}

/**
 * Milliseconds from sending a request, on an open connection, to the first byte of the answer's body.
 * The rest is not read: the connection is closed, as by a client that goes away.
 */
async function firstByte(url: string, status: number): Promise<number> {
  const { hostname, port, host, pathname, search } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port), noDelay: true });
  try {
    await once(socket, 'connect');
    const sent = performance.now();
    socket.write(`GET ${pathname}${search} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
    let received = Buffer.alloc(0);
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      received = Buffer.concat([received, chunk]);
      const end = received.indexOf(END_OF_HEADER);
      if (end === -1 || received.length === end + END_OF_HEADER.length) continue;
      const time = performance.now() - sent;
      if (received.toString('latin1', 0, 13) === `HTTP/1.1 ${status} `) return time;
      break;
    }
    throw new Error(`${url}: ${status} was expected: ${received.toString('latin1', 0, 300)}`);
  } finally {
    socket.destroy();
  }
}
