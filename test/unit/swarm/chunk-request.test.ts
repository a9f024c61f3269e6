/** When a request for a chunk is given up. */
import assert from 'node:assert/strict';
import type { Member } from '../../../src/protocol/member.ts';
import type { PeerId } from '../../../src/protocol/peer-id.ts';
import { ChunkLayout } from '../../../src/protocol/chunk-layout.ts';
import { ChunkRequest } from '../../../src/swarm/chunk-request.ts';
import { RttEstimator } from '../../../src/swarm/rtt-estimator.ts';
import { PARAMETERS } from '../../../src/swarm/parameters.ts';
import type { SwarmState } from '../../../src/swarm/swarm-state.ts';
import type { ChunkFetchEvents } from '../../../src/transfer/chunk-exchange.ts';

const PEER = 'peer' as PeerId;

class Scene {
  now = 1000;
  readonly log: string[] = [];
  readonly contacted = new Set<PeerId>([PEER]);
  readonly ack = new RttEstimator(...PARAMETERS.ackTimeout);
  readonly strikes = new Map<PeerId, number>();
  readonly request: ChunkRequest;
  #events: ChunkFetchEvents | undefined;

  constructor(isKnown: boolean) {
    if (!isKnown) this.contacted.clear();
    for (let i = 0; i < 20; i++) this.ack.observe(10); // acknowledgements come within 10 ms: the limit is the least one
    const ignore = (): void => undefined;
    const state = {
      layout: new ChunkLayout(100),
      options: {},
      environment: {
        client: {
          fetch: (_member: Member, _request: unknown, events: ChunkFetchEvents) => {
            this.#events = events;
            return () => this.log.push('cancelled');
          },
        },
        contacted: this.contacted,
        strikes: this.strikes,
        parameters: PARAMETERS,
        rtt: { ack: this.ack, stall: new RttEstimator(...PARAMETERS.stallTimeout) },
      },
      chunks: { begin: ignore, end: ignore },
      heard: ignore,
      progressed: ignore,
    };
    Object.defineProperty(state, 'now', { get: () => this.now });
    this.request = new ChunkRequest(state as unknown as SwarmState, { peer: PEER } as Member, 0, 'holder', {
      answered: (_asking, { kind }) => this.log.push(kind),
      failed: (_asking, failure) => this.log.push(failure),
    });
  }

  get events(): ChunkFetchEvents {
    if (this.#events === undefined) throw new Error('nothing was asked');
    return this.#events;
  }

  wait(ms: number): readonly string[] {
    this.now += ms;
    this.request.check(this.now);
    return this.log;
  }
}

describe('ChunkRequest', () => {
  it('counts the acknowledgement time from when the request is sent, not from when it was wanted', () => {
    const scene = new Scene(true);
    scene.events.connecting();
    assert.deepEqual(scene.wait(1900), []);
    scene.events.sent();
    assert.deepEqual(scene.wait(250), []);
    assert.deepEqual(scene.wait(1), ['cancelled', 'silent']);
  });

  it('does not blame a peer whose dial waits for other dials', () => {
    const scene = new Scene(true);
    assert.deepEqual(scene.wait(60_000), []); // it has no turn yet
    scene.events.connecting();
    assert.deepEqual(scene.wait(2000), []);
    scene.events.connecting(); // of another request to the same peer
    assert.deepEqual(scene.wait(1), ['cancelled', 'silent']);
  });

  it('waits for a connection only as long as for a first contact', () => {
    const scene = new Scene(true);
    scene.events.connecting();
    assert.deepEqual(scene.wait(2000), []);
    assert.deepEqual(scene.wait(1), ['cancelled', 'silent']);
  });

  it('counts anew if the request is sent once more', () => {
    const scene = new Scene(true);
    scene.events.sent();
    scene.wait(200);
    scene.events.sent();
    assert.deepEqual(scene.wait(250), []);
    assert.deepEqual(scene.wait(1), ['cancelled', 'silent']);
  });

  it('gives a peer longer at the first contact', () => {
    const scene = new Scene(false);
    scene.events.sent();
    assert.deepEqual(scene.wait(2000), []);
    assert.deepEqual(scene.wait(1), ['cancelled', 'silent']);
  });

  it('measures acknowledgements from when the request is sent', () => {
    const scene = new Scene(true);
    scene.events.connecting();
    scene.wait(1500);
    scene.events.sent();
    scene.now += 10;
    scene.events.acknowledged();
    assert.equal(Math.round(scene.ack.usual), 10);
    assert.deepEqual(scene.wait(2000), []); // it waits for a slot
    assert.deepEqual(scene.wait(1), ['cancelled', 'queued']);
  });

  it('measures a silence too, but not of a peer that was silent before and may be dead', () => {
    const scene = new Scene(true);
    const before = scene.ack.limit;
    scene.events.sent();
    assert.deepEqual(scene.wait(2000), ['cancelled', 'silent']);
    assert.ok(scene.ack.limit > before, `${scene.ack.limit}`);

    const again = new Scene(true);
    again.strikes.set(PEER, 1);
    again.events.sent();
    assert.deepEqual(again.wait(2000), ['cancelled', 'silent']);
    assert.equal(again.ack.limit, before);
  });

  it('does not measure dials and first contacts', () => {
    const dialled = new Scene(true);
    const before = dialled.ack.limit;
    dialled.events.connecting();
    assert.deepEqual(dialled.wait(2001), ['cancelled', 'silent']);
    assert.equal(dialled.ack.limit, before);
    const stranger = new Scene(false);
    stranger.events.sent();
    assert.deepEqual(stranger.wait(2001), ['cancelled', 'silent']);
    assert.equal(stranger.ack.limit, before);
  });
});
