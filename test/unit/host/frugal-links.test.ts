import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { MessageStream, Stream, StreamMuxer } from '@libp2p/interface';
import { multiaddrConnectionPair } from '@libp2p/utils';
import { yamux } from '@libp2p/yamux';
import { Uint8ArrayList } from 'uint8arraylist';
import { KIB, MIB } from '../../../src/clock.ts';
import { withSingleWrites } from '../../../src/host/single-writes.ts';
import { withSparseUpdates } from '../../../src/host/window-updates.ts';

/** A stream between two muxers, and how often the receiver's side has sent something. */
async function openStream(create = withSparseUpdates(yamux({ enableKeepAlive: false }))): Promise<{
  readonly outbound: Stream;
  readonly inbound: Stream;
  readonly answers: () => number;
  readonly muxers: readonly StreamMuxer[];
}> {
  const [near, far] = multiaddrConnectionPair();
  let answers = 0;
  const send = far.send.bind(far);
  far.send = (data) => {
    answers++;
    return send(data);
  };
  const client = create().createStreamMuxer(near);
  const server = create().createStreamMuxer(far);
  const opened = new Promise<Stream>((resolve) => {
    server.addEventListener('stream', ({ detail }) => resolve(detail), { once: true });
  });
  const outbound = await client.createStream();
  const inbound = await opened;
  return { outbound, inbound, answers: () => answers, muxers: [client, server] };
}

/** Resolves when so many bytes have come. */
function received(stream: Stream, bytes: number): Promise<void> {
  let missing = bytes;
  return new Promise((resolve) => {
    stream.addEventListener('message', ({ data }) => {
      missing -= data.byteLength;
      if (missing <= 0) resolve();
    });
  });
}

async function sendAll(stream: Stream, message: Uint8Array, times: number): Promise<void> {
  for (let sent = 0; sent < times; sent++) {
    if (!stream.send(message)) await once(stream as unknown as EventTarget, 'drain');
  }
}

describe('host/window-updates', () => {
  it('answers small messages with nothing but the acceptance of their stream', async () => {
    const { outbound, inbound, answers, muxers } = await openStream();
    const all = received(inbound, 100 * 200);
    await sendAll(outbound, new Uint8Array(200), 100);
    await all;
    assert.equal(answers(), 1);
    for (const muxer of muxers) muxer.abort(new Error('the test is over'));
  });

  it('is needed: the library answers each of them', async () => {
    const { outbound, inbound, answers, muxers } = await openStream(yamux({ enableKeepAlive: false }));
    const all = received(inbound, 100 * 200);
    await sendAll(outbound, new Uint8Array(200), 100);
    await all;
    assert.ok(answers() >= 100, `${answers()} answers`);
    for (const muxer of muxers) muxer.abort(new Error('the test is over'));
  });

  it('lets far more than a window through', async () => {
    const { outbound, inbound, answers, muxers } = await openStream();
    const all = received(inbound, 8 * MIB);
    await sendAll(outbound, new Uint8Array(32 * KIB), 256);
    await all;
    assert.ok(answers() < 128, `${answers()} answers to 256 messages`);
    for (const muxer of muxers) muxer.abort(new Error('the test is over'));
  });
});

describe('host/single-writes', () => {
  it('hands all parts of a message over as one, both ways', async () => {
    const parts: (Uint8Array | Uint8ArrayList)[] = [];
    const secure = async (connection: MessageStream): Promise<never> => {
      connection.send(new Uint8ArrayList(Uint8Array.of(0, 3), Uint8Array.of(1, 2, 3)));
      throw new Error('that is all');
    };
    const encrypter = withSingleWrites(() => ({
      protocol: '/x',
      secureInbound: secure,
      secureOutbound: secure,
    }))({});
    for (const method of ['secureInbound', 'secureOutbound'] as const) {
      const [connection] = multiaddrConnectionPair();
      connection.send = (data) => {
        parts.push(data);
        return true;
      };
      await assert.rejects(encrypter[method](connection), /that is all/);
    }
    assert.deepEqual(parts, [Uint8Array.of(0, 3, 1, 2, 3), Uint8Array.of(0, 3, 1, 2, 3)]);
  });
});
