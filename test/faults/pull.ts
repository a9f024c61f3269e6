/**
 * Pulls an image as containerd does, checks every digest, and says as JSON lines how far it is and how it ended.
 *
 * What is containerd's here (core/remotes/docker/{resolver,fetcher,httpreadseeker}.go): for each request the hosts in order,
 * the next one on a failed connection or a status above 299, after five more requests on 408 and 429; a body that ends short
 * is asked for again from there, four times without a byte in between; any other error in mid-body is final; ranges of
 * containerd 2.1 stay with the host of the first one; nothing times out.
 */
import { createHash, type Hash } from 'node:crypto';
import { request, type IncomingMessage } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { MIB, SECOND } from '../../src/util/clock.ts';
import type { PullResult, PullWish } from './wish.ts';

const RANGE_BYTES = 8 * MIB;
const TELL_EVERY = 100;
const ACCEPT = [
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
].join(', ');

class WrongBytes extends Error {}

interface Host {
  readonly isMirror: boolean;
  readonly address: string;
}

interface Answer {
  readonly host: Host;
  readonly response: IncomingMessage;
}

const wish = JSON.parse(process.argv[2] ?? '{}') as PullWish;
const mirror = wish.mirror === undefined ? [] : [{ isMirror: true, address: wish.mirror }];
const registry: Host = { isMirror: false, address: wish.registry };
const hosts: readonly Host[] = wish.dependent === true ? mirror : [...mirror, registry];
const began = performance.now();
let [total, past, gap, lastByte] = [0, 0, 0, began];

function got(bytes: number, { isMirror }: Host): void {
  const now = performance.now();
  gap = Math.max(gap, now - lastByte);
  lastByte = now;
  total += bytes;
  if (!isMirror) past += bytes;
}

function urlOf({ isMirror, address }: Host, path: string): string {
  const { repository, dependent } = wish;
  if (!isMirror) return `http://${address}/v2/${repository}/${path}`;
  if (dependent === true)
    return `http://${address}/v2/${wish.registry.replace(':', '__')}/${repository}/${path}`;
  return `http://${address}/v2/${repository}/${path}?ns=${wish.registry}`;
}

function ask(
  host: Host,
  method: string,
  path: string,
  headers: Record<string, string>,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const asked = request(urlOf(host, path), { method, headers, agent: false }, resolve);
    asked.on('error', reject).end();
  });
}

async function askPatiently(
  host: Host,
  method: string,
  path: string,
  headers: Record<string, string>,
): Promise<IncomingMessage> {
  for (let again = 0; ; again += 1) {
    const response = await ask(host, method, path, headers);
    const { statusCode = 0 } = response;
    if (again === 5 || (statusCode !== 408 && statusCode !== 429)) return response;
    response.resume();
  }
}

async function open(method: string, path: string, headers: Record<string, string> = {}): Promise<Answer> {
  const problems: string[] = [];
  for (const host of hosts) {
    const name = host.isMirror ? 'mirror' : 'registry';
    try {
      const response = await askPatiently(host, method, path, headers);
      const { statusCode = 0 } = response;
      if (statusCode <= 299) return { host, response };
      const body = await textOf(response);
      problems.push(`${name} ${statusCode} ${/"weir":"(\w+)"/.exec(body)?.[1] ?? ''}`);
    } catch (error) {
      problems.push(`${name} ${String(error)}`);
    }
  }
  throw new Error(`${method} ${path.slice(0, 24)} ${headers['range'] ?? ''}: ${problems.join(', ')}`);
}

async function textOf(response: IncomingMessage): Promise<string> {
  let text = '';
  for await (const part of response) text += String(part);
  return text;
}

/** Gives each part of the body to `take`. @returns whether it was whole; false: it ended short */
async function read({ host, response }: Answer, take: (part: Buffer) => boolean): Promise<boolean> {
  try {
    for await (const part of response as AsyncIterable<Buffer>) {
      got(part.length, host);
      if (!take(part)) break;
    }
    return true;
  } catch (error) {
    if (error instanceof Error && error.message === 'aborted') return false; // closed before its Content-Length
    throw error;
  }
}

/** Bytes `[from, to)` of a blob, from the host that has answered, asked for again where they end short. */
async function readRange(
  digest: string,
  from: number,
  to: number,
  first: Answer,
  onlyHost: boolean,
  hash: Hash | Buffer[],
): Promise<void> {
  let at = from;
  let idle = 0;
  let answer: Answer | undefined = first;
  for (;;) {
    if (at >= to) return;
    const headers: Record<string, string> = { range: `bytes=${at}-` };
    answer ??= onlyHost
      ? { host: first.host, response: await askPatiently(first.host, 'GET', `blobs/${digest}`, headers) }
      : await open('GET', `blobs/${digest}`, headers);
    if ((answer.response.statusCode ?? 0) > 299) {
      throw new Error(
        `range at ${at}: status ${answer.response.statusCode} ${await textOf(answer.response)}`,
      );
    }
    // A host that ignores the range sends all from the start.
    let skip = answer.response.headers['content-range'] === undefined ? at : 0;
    const before = at;
    await read(answer, (part) => {
      const skipped = Math.min(skip, part.length);
      skip -= skipped;
      const piece = part.subarray(skipped, skipped + to - at);
      if (Array.isArray(hash)) hash.push(piece);
      else hash.update(piece);
      at += piece.length;
      return at < to;
    });
    answer.response.destroy();
    idle = at > before ? 0 : idle + 1;
    if (idle > 3) throw new Error(`${digest.slice(0, 19)} breaks off at ${at} again and again`);
    answer = undefined;
  }
}

async function pullBlob(digest: string, size: number): Promise<void> {
  const hash = createHash('sha256');
  const { ranges = 0 } = wish;
  if (ranges > 0 && size > RANGE_BYTES) await pullRanges(digest, size, ranges, hash);
  else await readRange(digest, 0, size, await open('GET', `blobs/${digest}`), false, hash);
  if (`sha256:${hash.digest('hex')}` !== digest) throw new WrongBytes(`${digest} of ${size} bytes`);
}

async function pullRanges(digest: string, size: number, ranges: number, hash: Hash): Promise<void> {
  const first = await open('GET', `blobs/${digest}`, { range: 'bytes=0-' });
  const parts = Array.from({ length: Math.ceil(size / RANGE_BYTES) }, (): Buffer[] => []);
  const waiting = parts.map((_, index) => index);
  const work = async (): Promise<void> => {
    for (let index = waiting.shift(); index !== undefined; index = waiting.shift()) {
      const from = index * RANGE_BYTES;
      const answer =
        index === 0
          ? first
          : {
              host: first.host,
              response: await askPatiently(first.host, 'GET', `blobs/${digest}`, { range: `bytes=${from}-` }),
            };
      await readRange(digest, from, Math.min(size, from + RANGE_BYTES), answer, true, parts[index] ?? []);
    }
  };
  await Promise.all(Array.from({ length: ranges }, work));
  for (const part of parts.flat()) hash.update(part);
}

interface Descriptor {
  readonly digest: string;
  readonly size: number;
}

const done = new Set<string>();

async function pullImage(): Promise<void> {
  const head = await open('HEAD', 'manifests/v1', { accept: ACCEPT });
  head.response.resume();
  const digest = String(head.response.headers['docker-content-digest']);
  const answer = await open('GET', `manifests/${digest}`, { accept: ACCEPT });
  const body = await textOf(answer.response);
  got(body.length, answer.host);
  if (`sha256:${createHash('sha256').update(body).digest('hex')}` !== digest)
    throw new WrongBytes(`manifest ${digest}`);
  const { config, layers } = JSON.parse(body) as { config: Descriptor; layers: readonly Descriptor[] };
  const waiting = [config, ...layers].filter((blob) => !done.has(blob.digest));
  const work = async (): Promise<void> => {
    for (let blob = waiting.shift(); blob !== undefined; blob = waiting.shift()) {
      await pullBlob(blob.digest, blob.size);
      done.add(blob.digest);
    }
  };
  await Promise.all(Array.from({ length: wish.parallel }, work));
}

function tell(outcome: PullResult['outcome'], errors: readonly string[]): void {
  gap = Math.max(gap, performance.now() - lastByte);
  const result: PullResult = {
    outcome,
    seconds: (performance.now() - began) / SECOND,
    past,
    gap: gap / SECOND,
    errors,
  };
  process.stdout.write(`${JSON.stringify({ result })}\n`, () => process.exit());
}

const errors: string[] = [];
setInterval(() => process.stdout.write(`${JSON.stringify({ bytes: total })}\n`), TELL_EVERY).unref();
setTimeout(() => tell('hung', errors), wish.deadline).unref();
process.on('uncaughtException', (error) => tell('failed', [...errors, String(error)]));

for (let left = wish.tries ?? 1; ; left -= 1) {
  try {
    await pullImage();
    tell('ok', errors);
    break;
  } catch (error) {
    errors.push(String(error));
    if (error instanceof WrongBytes || left <= 1) {
      tell(error instanceof WrongBytes ? 'wrong bytes' : 'failed', errors);
      break;
    }
    await delay(2 * SECOND);
  }
}
