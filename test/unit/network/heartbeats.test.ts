import assert from 'node:assert/strict';
import type { Connection } from '@libp2p/interface';
import { multiaddrConnectionPair } from '@libp2p/utils';
import { yamux } from '@libp2p/yamux';
import { Heartbeats } from '../../../src/network/heartbeats.ts';
import {
  ANSWER_TIMEOUT,
  MAINTENANCE_INTERVAL,
  SILENCE_DIALLED,
  SILENCE_DIALLER,
} from '../../../src/network/limits.ts';
import { ManualClock } from '../cluster/clock.ts';

/** The used parts of a connection, over a muxer of the library. */
interface End {
  readonly connection: Connection;
  readonly muxer: ReturnType<ReturnType<ReturnType<typeof yamux>>['createStreamMuxer']>;
  readonly aborted: Error[];
  /** Frames that this end has sent. */
  readonly sent: () => number;
}

function pair(): readonly [End, End] {
  const create = yamux({ enableKeepAlive: false });
  const [dialler, dialled] = multiaddrConnectionPair();
  return [end(dialler, 'outbound'), end(dialled, 'inbound')];

  function end(wire: typeof dialler, direction: 'inbound' | 'outbound'): End {
    let sent = 0;
    const send = wire.send.bind(wire);
    wire.send = (data) => {
      sent += 1;
      return send(data);
    };
    const muxer = create().createStreamMuxer(wire);
    const aborted: Error[] = [];
    const connection = {
      muxer,
      direction,
      status: 'open',
      rtt: 1,
      abort: (error: Error) => aborted.push(error),
    } as unknown as Connection;
    return { connection, muxer, aborted, sent: () => sent };
  }
}

/** Resolves when everything sent has arrived. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 10; turn += 1) await new Promise(setImmediate);
}

describe('Heartbeats', () => {
  it('pings a silent connection once, and accepts the answer', async () => {
    const clock = new ManualClock();
    const [near, far] = pair();
    const beats = new Heartbeats(clock);
    beats.add(near.connection);
    clock.advance(SILENCE_DIALLER - 1);
    beats.look();
    await settled();
    assert.equal(near.sent(), 0);
    clock.advance(1);
    beats.look();
    beats.look();
    await settled();
    assert.deepEqual([near.sent(), far.sent()], [1, 1]);
    clock.advance(ANSWER_TIMEOUT);
    beats.look();
    assert.deepEqual(near.aborted, []);
  });

  it('leaves the ping to the side that dialled', async () => {
    const clock = new ManualClock();
    const [near, far] = pair();
    const [ours, theirs] = [new Heartbeats(clock), new Heartbeats(clock)];
    ours.add(near.connection);
    theirs.add(far.connection);
    for (let waited = 0; waited < 4 * SILENCE_DIALLED; waited += SILENCE_DIALLED / 4) {
      clock.advance(SILENCE_DIALLED / 4);
      ours.look();
      theirs.look();
      await settled();
    }
    // Only the answers, no ping of its own.
    assert.equal(far.sent(), near.sent());
    assert.ok(near.sent() >= 4, `${near.sent()} pings`);
  });

  it('does not ping while data arrives', async () => {
    const clock = new ManualClock();
    const [near, far] = pair();
    const beats = new Heartbeats(clock);
    beats.add(near.connection);
    for (let turn = 0; turn < 4; turn += 1) {
      clock.advance(SILENCE_DIALLER - 1);
      await far.muxer.ping();
      beats.look();
      await settled();
    }
    assert.equal(near.sent(), 4); // answers
  });

  it('pings a new connection once, to measure its round trip', async () => {
    const [near, far] = pair();
    const beats = new Heartbeats(new ManualClock());
    near.connection.rtt = undefined as unknown as number;
    beats.add(near.connection);
    beats.look();
    await settled();
    assert.equal(typeof near.connection.rtt, 'number');
    beats.look();
    await settled();
    assert.deepEqual([near.sent(), far.sent()], [1, 1]);
  });

  it('cuts a connection whose peer does not answer', async () => {
    const clock = new ManualClock();
    const [near, far] = pair();
    far.muxer.onData = () => undefined; // it is frozen
    const beats = new Heartbeats(clock);
    beats.add(near.connection);
    clock.advance(SILENCE_DIALLER);
    beats.look();
    await settled();
    for (let waited = MAINTENANCE_INTERVAL; waited < ANSWER_TIMEOUT; waited += MAINTENANCE_INTERVAL) {
      clock.advance(MAINTENANCE_INTERVAL);
      beats.look();
    }
    assert.equal(near.aborted.length, 0);
    clock.advance(MAINTENANCE_INTERVAL);
    beats.look();
    assert.deepEqual(
      near.aborted.map(({ message }) => message),
      [`nothing came for ${SILENCE_DIALLER + ANSWER_TIMEOUT} ms`],
    );
  });

  it('keeps a connection whose answer this node had no time to read', async () => {
    const clock = new ManualClock();
    const [near, far] = pair();
    const beats = new Heartbeats(clock);
    beats.add(near.connection);
    const asked: Parameters<typeof far.muxer.onData>[0][] = [];
    const onData = far.muxer.onData.bind(far.muxer);
    far.muxer.onData = (data) => void asked.push(data);
    clock.advance(SILENCE_DIALLER);
    beats.look();
    await settled();
    clock.advance(2 * ANSWER_TIMEOUT); // it got no CPU
    beats.look();
    assert.deepEqual(near.aborted, []);
    for (const data of asked) onData(data);
    await settled();
    for (let look = 0; look < ANSWER_TIMEOUT / MAINTENANCE_INTERVAL; look += 1) beats.look();
    assert.deepEqual(near.aborted, []);
    assert.equal(near.sent(), 1);
  });

  it('cuts a connection that can no longer send', async () => {
    const clock = new ManualClock();
    const [near] = pair();
    const beats = new Heartbeats(clock);
    beats.add(near.connection);
    await near.muxer.close();
    clock.advance(SILENCE_DIALLER);
    beats.look();
    await settled();
    assert.equal(near.aborted.length, 1);
  });

  it('ignores connections that were closed', async () => {
    const clock = new ManualClock();
    const [near] = pair();
    const beats = new Heartbeats(clock);
    beats.add(near.connection);
    beats.remove(near.connection);
    clock.advance(SILENCE_DIALLER);
    beats.look();
    await settled();
    assert.equal(near.sent(), 0);
  });
});
