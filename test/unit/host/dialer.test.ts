import assert from 'node:assert/strict';
import type { Connection } from '@libp2p/interface';
import { systemClock } from '../../../src/clock.ts';
import { Dialer } from '../../../src/host/dialer.ts';
import { DIALS_AT_ONCE } from '../../../src/host/limits.ts';
import type { Node } from '../../../src/host/node.ts';
import type { MembershipTable } from '../../../src/membership/table.ts';
import { settled } from '../routing/virtual-clock.ts';

interface Dial {
  readonly signal: AbortSignal;
  readonly ends: PromiseWithResolvers<Connection>;
}

/** A dialer whose node dials until it is told how that came out. */
function dialer(): { readonly dialer: Dialer; readonly dials: Dial[] } {
  const dials: Dial[] = [];
  const node = {
    getConnections: () => [],
    dial: (_: unknown, { signal }: { readonly signal: AbortSignal }) => {
      const ends = Promise.withResolvers<Connection>();
      dials.push({ signal, ends });
      return ends.promise;
    },
  } as Partial<Node> as Node;
  return { dialer: new Dialer(node, {} as MembershipTable, systemClock), dials };
}

const ADDRESS = '/ip4/127.0.0.1/tcp/1';
const connection = {} as Connection;

describe('host/dialer', () => {
  it('dials a few at a time; one that fails makes room, too', async () => {
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

  it('does not dial for who has gone while it waited, and tells that one its own reason', async () => {
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

  it('goes on to the next address of a peer where one fails, in the same turn', async () => {
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
});
