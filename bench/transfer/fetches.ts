/** The compared ways to receive a chunk. */
import { hash } from 'node:crypto';
import { get as httpGet, Agent as HttpAgent, type IncomingMessage } from 'node:http';
import { get as httpsGet, Agent as HttpsAgent } from 'node:https';
import { Pool } from 'undici';
import { ByteWorkers } from '../../src/bytes/byte-workers.ts';
import type { Address } from '../../src/protocol/member.ts';
import { openWire } from '../support/member-wire.ts';
import { memberOf, requestFor } from './members.ts';
import type { Setup } from './protocol.ts';

type Fetch = (index: number) => Promise<void>;

export async function makeFetch(setup: Setup, from: Address): Promise<Fetch> {
  if (setup.receiverKind === 'undici') return withUndici(setup, from);
  if (setup.receiverKind === 'node:http') return withNode(setup, from);
  return withWeir(setup, from);
}

async function withWeir({ secure, asker, sender, piece: chunk }: Setup, from: Address): Promise<Fetch> {
  const member = memberOf(sender, secure, [from]);
  const client = await openWire({
    workers: new ByteWorkers({ count: 1 }),
    self: memberOf(asker, secure, []),
    tls: secure ? asker : undefined,
    others: [member],
  });
  return (index) => {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    client.fetch(member, requestFor(index, chunk), {
      connecting: () => {},
      sent: () => {},
      acknowledged: () => {},
      progressed: () => {},
      answered: (answer) => {
        if (answer.kind !== 'chunk' || answer.bytes.length !== chunk) return reject(new Error(answer.kind));
        answer.release?.();
        resolve();
      },
      failed: reject,
    });
    return promise;
  };
}

/** The least work that is needed: the bytes end in one buffer, and are hashed there. */
class Sink {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(length: number) {
    this.#bytes = Buffer.allocUnsafeSlow(length);
  }

  add(bytes: Buffer): void {
    this.#bytes.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  /** Whether all bytes are here, and hashed. */
  end(): boolean {
    return this.#at === this.#bytes.length && hash('sha256', this.#bytes, 'buffer').length > 0;
  }
}

function withUndici({ secure, asker, connections, piece: chunk }: Setup, { host, port }: Address): Fetch {
  const tls = { cert: asker.cert, key: asker.key, rejectUnauthorized: false };
  const origin = `${secure ? 'https' : 'http'}://${host}:${port}`;
  const pool = new Pool(origin, { connections, allowH2: false, connect: tls });
  return () => {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const sink = new Sink(chunk);
    pool.dispatch(
      { path: '/', method: 'GET' },
      {
        onRequestStart: () => {},
        onResponseStart: () => {},
        onResponseData: (_controller, bytes) => sink.add(bytes),
        onResponseEnd: () => (sink.end() ? resolve() : reject(new Error('short'))),
        onResponseError: (_controller, error) => reject(error),
      },
    );
    return promise;
  };
}

function withNode({ secure, asker, connections, piece: chunk }: Setup, { host, port }: Address): Fetch {
  const tls = { cert: asker.cert, key: asker.key, rejectUnauthorized: false };
  const options = { keepAlive: true, maxSockets: connections };
  const agent = secure ? new HttpsAgent({ ...options, ...tls }) : new HttpAgent(options);
  return () => {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const onResponse = (response: IncomingMessage): void => {
      const sink = new Sink(chunk);
      response.on('data', (bytes: Buffer) => sink.add(bytes));
      response.on('end', () => (sink.end() ? resolve() : reject(new Error('short'))));
    };
    const what = { host, port, path: '/', agent };
    (secure ? httpsGet(what, onResponse) : httpGet(what, onResponse)).on('error', reject);
    return promise;
  };
}
