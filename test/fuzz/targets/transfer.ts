/** Heads on the data plane: requests and answers as they arrive. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { peerIdOf } from '../../../src/protocol/peer-id.ts';
import { ChunkPlaces } from '../../../src/bytes/chunk-places.ts';
import type { ChunkFetch } from '../../../src/transfer/chunk-exchange.ts';
import {
  ChunkReceiver,
  type ReceivedAnswer,
  type ReceiverEvents,
} from '../../../src/transfer/chunk-receiver.ts';
import { formatRequest, parseRequest } from '../../../src/transfer/chunk-requests.ts';
import { formatAttestation, LIMITS, parseAttestation } from '../../../src/transfer/wire-format.ts';
import { isWeirError } from '../../../src/util/errors.ts';
import { pure } from '../harness/target.ts';
import { DIGEST, DIGEST_512 } from './samples.ts';

const PEER = peerIdOf(new Uint8Array(32).fill(5));
const ATTESTATION = formatAttestation({
  index: 3,
  hash: new Uint8Array(32).fill(1),
  by: PEER,
  signature: new Uint8Array(64).fill(2),
  verified: true,
});

export const dataRequest = pure({
  name: 'data-request',
  seeds: [
    `GET /weir/1/blobs/${DIGEST}?registry=ghcr.io\nhost: a\nrange: bytes=0-1048575\n`,
    `GET /weir/1/blobs/${DIGEST_512}?registry=%5B%3A%3A1%5D%3A5000\nhost: a\nweir-home: org/app\nweir-size: 2000000\nauthorization: Bearer abc==\n`,
    `POST /weir/1/blobs/x\nhost: a\ncontent-length: 5\ntransfer-encoding: chunked\nexpect: 100-continue\n`,
  ],
  words: [
    'host: a\n',
    'range: bytes=',
    'weir-home: ',
    'weir-size: ',
    'authorization: Bearer ',
    '?registry=',
    '%3A',
    DIGEST,
  ],
  run: (input) => {
    const [first = '', ...lines] = input.toString('latin1').split('\n');
    const [method = '', url = ''] = first.split(' ');
    const read = parseRequest({ method, url, headers: headersOf(lines) });
    if ('refused' in read) return;
    const { target, headers } = formatRequest(read.request);
    assert.match(target, /^[\x21-\x7e]+$/);
    assert.match(headers, /^(?:[A-Za-z-]+: [\x20-\x7e]*\r\n)*$/);
    const again = parseRequest({
      method: 'GET',
      url: target,
      headers: headersOf(['host: a', ...headers.split('\r\n')]),
    });
    assert.deepEqual(again, read);
  },
});

function headersOf(lines: readonly string[]): IncomingHttpHeaders {
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const colon = line.indexOf(':');
    if (colon > 0) headers[line.slice(0, colon).toLowerCase()] ??= line.slice(colon + 1).trim();
  }
  return headers;
}

const REQUESTS: readonly ChunkFetch[] = [
  { swarm: { registry: 'ghcr.io' as never, digest: DIGEST }, range: { start: 0, end: 10 }, owner: undefined },
  {
    swarm: { registry: 'ghcr.io' as never, digest: DIGEST },
    range: undefined,
    owner: { repository: 'org/app' as never, token: undefined },
  },
];

export const dataAnswer = pure({
  name: 'data-answer',
  seeds: [
    `HTTP/1.1 206 Partial Content\r\ncontent-length: 10\r\ncontent-range: bytes 0-9/100\r\nweir-statement: ${ATTESTATION}\r\n\r\n0123456789`,
    'HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nweir-load: 5\r\n\r\n',
    `HTTP/1.1 307 Temporary Redirect\r\ncontent-length: 0\r\nweir-holders: ${PEER},${PEER}\r\n\r\n`,
    'HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: close\r\n\r\nabc',
    'HTTP/1.1 503 X\r\ncontent-length: 0\r\nweir-retry-in: 250\r\n\r\n',
    'HTTP/1.1 403 X\r\ncontent-length: 0\r\nweir-unable: 1\r\n\r\n',
  ],
  words: [
    'HTTP/1.1 206 P\r\n',
    'content-length: 10\r\n',
    'content-range: bytes 0-9/100\r\n',
    '\r\n\r\n',
    'transfer-encoding: chunked\r\n',
    'weir-holders: ',
  ],
  run: (input, chance) => {
    for (const request of REQUESTS) {
      const whole = received(request, [input]);
      assert.deepEqual(received(request, [...chance.parts(input)]), whole);
    }
  },
});

/** The result of an answer that arrives in these parts. */
function received(request: ChunkFetch, parts: readonly Buffer[]): unknown {
  const places = new ChunkPlaces();
  let answer: ReceivedAnswer | undefined;
  const nothing = (): void => undefined;
  const events: ReceiverEvents = {
    connecting: nothing,
    sent: nothing,
    acknowledged: nothing,
    progressed: nothing,
    answered: (given) => (answer = given),
    failed: nothing,
  };
  const receiver = new ChunkReceiver(request, events, places);
  try {
    for (const [index, part] of parts.entries()) {
      if (!receiver.receive(part)) continue;
      // Nothing may follow a whole answer: a connection carries one request at a time.
      if (index < parts.length - 1) return 'more bytes than announced';
      receiver.deliver();
    }
  } catch (error) {
    if (!isWeirError(error, 'peer_protocol', 'peer_cut')) throw error;
    return error.message;
  } finally {
    receiver.cancel();
  }
  if (answer?.kind !== 'chunk') return answer ?? 'nothing yet';
  assert.ok(answer.bytes.length <= LIMITS.chunk && answer.size <= LIMITS.size);
  const { kind, bytes: given, size, attestation } = answer;
  if (given instanceof Uint8Array) return { kind, bytes: Buffer.from(given), size, attestation };
  const bytes = Buffer.from(places.at(given.place));
  assert.equal(bytes.length, given.length);
  assert.ok(createHash('sha256').update(bytes).digest().equals(given.hash));
  return { kind, bytes, size, attestation };
}

export const attestationHeader = pure({
  name: 'attestation',
  seeds: [ATTESTATION, 'A'.repeat(178), ATTESTATION.replace('A', '-')],
  words: ['=', '-', '_', '+', '/'],
  run: (input) => {
    const text = input.toString('latin1');
    const read = parseAttestation(text);
    if (read !== undefined) assert.equal(formatAttestation(read), text);
  },
});
