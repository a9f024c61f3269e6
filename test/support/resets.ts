/** Clients that go away: each sends a request over a socket of its own, then resets it while the server works. */
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { MILLISECOND } from '../../src/util/clock.ts';

export interface ResetOptions {
  /** `127.0.0.1:PORT`. */
  readonly host: string;
  /** `GET /v2/…`, taken in turn. */
  readonly requests: readonly string[];
  readonly count: number;
  /** Requests side by side. */
  readonly parallel: number;
}

/** Moments at which a client resets its connection, taken in turn. */
type Moment = (asked: Promise<void>, answered: Promise<void>) => Promise<void>;
const LONGEST = 20 * MILLISECOND;
const MOMENTS: readonly Moment[] = [
  () => Promise.resolve(), // with the request still in the kernel
  (asked) => asked,
  (asked) => asked.then(() => new Promise((resolve) => void setImmediate(resolve))),
  (asked) => asked.then(() => delay(Math.random() * LONGEST)),
  (_asked, answered) => Promise.race([answered, delay(5 * LONGEST)]),
];

/** Sends all requests. @throws if the server is not there any more */
export async function resetAll({ host, requests, count, parallel }: ResetOptions): Promise<void> {
  const port = Number(host.slice(host.lastIndexOf(':') + 1));
  let sent = 0;
  const client = async (): Promise<void> => {
    while (sent < count) {
      const at = sent++;
      const request = requests[at % requests.length] ?? '';
      const moment = MOMENTS[Math.floor(at / requests.length) % MOMENTS.length];
      if (moment !== undefined) await reset(port, request, moment);
    }
  };
  await Promise.all(Array.from({ length: parallel }, client));
}

async function reset(port: number, request: string, moment: Moment): Promise<void> {
  const connected = Promise.withResolvers<void>();
  const asked = Promise.withResolvers<void>();
  const answered = Promise.withResolvers<void>();
  const socket = connect({ host: '127.0.0.1', port, noDelay: true });
  socket.on('error', (error) => {
    connected.reject(error);
    for (const each of [asked, answered]) each.resolve(); // it cut us off first
  });
  socket.once('connect', () => connected.resolve());
  socket.once('data', () => answered.resolve());
  socket.once('close', () => answered.resolve());
  await connected.promise;
  socket.write(`${request} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n`, () => asked.resolve());
  await moment(asked.promise, answered.promise);
  socket.resetAndDestroy();
}
