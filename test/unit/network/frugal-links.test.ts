import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { MessageStream, Stream } from '@libp2p/interface';
import { multiaddrConnectionPair } from '@libp2p/utils';
import { yamux } from '@libp2p/yamux';
import { Uint8ArrayList } from 'uint8arraylist';
import { KIB, MIB } from '../../../src/util/clock.ts';
import { withSingleWrites, withSparseUpdates } from '../../../src/network/libp2p-tweaks.ts';

/** How many frames the receiver of a stream between two muxers has sent when it has all these messages. */
async function answersTo(
  bytes: number,
  times: number,
  create = withSparseUpdates(yamux({ enableKeepAlive: false })),
): Promise<number> {
  const [near, far] = multiaddrConnectionPair();
  let answers = 0;
  const send = far.send.bind(far);
  far.send = (data) => {
    answers++;
    return send(data);
  };
  const [client, server] = [create().createStreamMuxer(near), create().createStreamMuxer(far)];
  const opened = new Promise<Stream>((resolve) => {
    server.addEventListener('stream', ({ detail }) => resolve(detail), { once: true });
  });
  const outbound = await client.createStream();
  const all = received(await opened, times * bytes);
  await sendAll(outbound, new Uint8Array(bytes), times);
  await all;
  const counted = answers;
  for (const muxer of [client, server]) muxer.abort(new Error('the test is over'));
  return counted;
}

/** Resolves when so many bytes have arrived. */
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

describe('withSparseUpdates', () => {
  it('answers small messages only by accepting their stream', async () => {
    assert.equal(await answersTo(200, 100), 1);
  });

  it('is needed: the library alone answers each message', async () => {
    const answers = await answersTo(200, 100, yamux({ enableKeepAlive: false }));
    assert.ok(answers >= 100, `${answers} answers`);
  });

  it('lets far more bytes than a window through', async () => {
    const answers = await answersTo(32 * KIB, (8 * MIB) / (32 * KIB));
    assert.ok(answers < 128, `${answers} answers to 256 messages`);
  });
});

describe('withSingleWrites', () => {
  it('sends all parts of a message as one, in both directions', async () => {
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
