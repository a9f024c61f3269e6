import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import type { Connection } from '@libp2p/interface';
import { SECOND, systemClock, type Clock } from '../../../src/util/clock.ts';
import { Dialer } from '../../../src/network/dialer.ts';
import { DIAL_TIMEOUT, DIALS_AT_ONCE, HANDSHAKE_TIMEOUT } from '../../../src/network/limits.ts';
import type { Libp2pNode } from '../../../src/network/libp2p-node.ts';
import type { MemberTable } from '../../../src/cluster/member-table.ts';
import { Identity } from '../../../src/protocol/identity.ts';
import { settled, VirtualClock } from './virtual-clock.ts';
import { startBareNode } from '../../support/bare-node.ts';
import { KEY } from '../../support/test-network.ts';

interface DialOptions {
  readonly signal: AbortSignal;
  readonly onProgress: (event: { readonly type: string }) => void;
}

interface Dial extends DialOptions {
  readonly ends: PromiseWithResolvers<Connection>;
}

/** A dialer over a libp2p node whose dials end when the test says so. */
function dialer(clock: Clock = systemClock): { readonly dialer: Dialer; readonly dials: Dial[] } {
  const dials: Dial[] = [];
  const libp2p = {
    getConnections: () => [],
    dial: (_: unknown, options: DialOptions) => {
      const ends = Promise.withResolvers<Connection>();
      dials.push({ ...options, ends });
      return ends.promise;
    },
  } as Partial<Libp2pNode> as Libp2pNode;
  return { dialer: new Dialer(libp2p, {} as MemberTable, clock), dials };
}

const ADDRESS = '/ip4/127.0.0.1/tcp/1';
const connection = {} as Connection;

describe('Dialer', () => {
  it('dials a few at a time; a failed dial makes room, too', async () => {
    const { dialer: ours, dials } = dialer();
    const all = Array.from({ length: DIALS_AT_ONCE + 2 }, () => ours.dial([ADDRESS]));
    await settled();
    assert.equal(dials.length, DIALS_AT_ONCE);
    dials[0]?.ends.resolve(connection);
    dials[1]?.ends.reject(new Error('refused'));
    assert.equal(await all[0], connection);
    await assert.rejects(all[1] as Promise<Connection>, { code: 'peer_unreachable' });
    await settled();
    assert.equal(dials.length, DIALS_AT_ONCE + 2);
    for (const { ends } of dials) ends.resolve(connection);
    await Promise.all(all.slice(2));
  });

  it('does not dial for a caller that left the queue, and rejects with its own reason', async () => {
    const { dialer: ours, dials } = dialer();
    const all = Array.from({ length: DIALS_AT_ONCE }, () => ours.dial([ADDRESS]));
    const gone = new AbortController();
    const waits = ours.dial([ADDRESS], { signal: gone.signal });
    await settled();
    gone.abort(new Error('it does not matter any more'));
    await assert.rejects(waits, /does not matter/);
    for (const { ends } of dials) ends.resolve(connection);
    await Promise.all(all);
    await settled();
    assert.equal(dials.length, DIALS_AT_ONCE);
  });

  it('tries the next address of a peer if one fails, in the same turn', async () => {
    const { dialer: ours, dials } = dialer();
    const both = ours.dial([ADDRESS, '/ip4/127.0.0.1/tcp/2']);
    await settled();
    assert.equal(dials.length, 1);
    dials[0]?.ends.reject(new Error('refused'));
    await settled();
    assert.equal(dials.length, 2);
    dials[1]?.ends.resolve(connection);
    assert.equal(await both, connection);
  });

  it('waits longer for a peer that accepted the connection than for one that is not there', async () => {
    const clock = new VirtualClock();
    const { dialer: ours, dials } = dialer(clock);
    const absent = ours.dial([ADDRESS]);
    const busy = ours.dial(['/ip4/127.0.0.1/tcp/2']);
    const ends = Promise.allSettled([absent, busy]);
    await settled();
    const [first, second] = dials as [Dial, Dial];
    for (const { signal, ends: end } of dials) {
      signal.addEventListener('abort', () => end.reject(signal.reason), { once: true });
    }
    await clock.advance(DIAL_TIMEOUT / 2);
    second.onProgress({ type: 'tcp:open-connection' });
    await clock.advance(DIAL_TIMEOUT / 4);
    second.onProgress({ type: 'upgrader:encrypt-outbound-connection' });
    await clock.advance(DIAL_TIMEOUT / 2);
    assert.ok(first.signal.aborted);
    assert.ok(!second.signal.aborted);
    await clock.advance(HANDSHAKE_TIMEOUT);
    const [one, other] = await ends;
    assert.match(
      String(one.status === 'rejected' && one.reason),
      new RegExp(`within ${DIAL_TIMEOUT / SECOND} s`),
    );
    assert.match(
      String(other.status === 'rejected' && other.reason),
      new RegExp(`within ${HANDSHAKE_TIMEOUT / SECOND} s`),
    );
  });

  it('learns from libp2p that the connection was accepted', async () => {
    const taken = Promise.withResolvers<void>();
    const silent = createServer((socket) => {
      socket.on('error', () => undefined).resume();
      taken.resolve();
    }).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const { port } = silent.address() as AddressInfo;
    const libp2p = await startBareNode(Identity.generate(), KEY);
    try {
      const clock = new VirtualClock();
      const ours = new Dialer(libp2p, {} as MemberTable, clock);
      const dial = assert.rejects(ours.dial([`/ip4/127.0.0.1/tcp/${port}`]), {
        code: 'peer_unreachable',
        message: new RegExp(`within ${HANDSHAKE_TIMEOUT / SECOND} s`),
      });
      await taken.promise;
      // Ours has heard of it as soon as its own socket is connected, a turn or two later.
      await clock.advance(DIAL_TIMEOUT / 10);
      await clock.advance(HANDSHAKE_TIMEOUT + DIAL_TIMEOUT);
      await dial;
    } finally {
      await libp2p.stop();
      silent.close();
    }
  });
});
