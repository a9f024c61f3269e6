/**
 * A property over histories of requests to two registries through one mirror, in any order: nothing of one registry
 * reaches the other, or callers that pull from the other. The victim's registry is private and honest; the attacker's
 * registry lies.
 */
import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { KIB } from '../../../src/util/clock.ts';
import type { Digest } from '../../../src/oci/digest.ts';
import { seededBytes } from '../../support/bytes.ts';
import { request, type RequestOptions } from '../../support/client.ts';
import type { Handler } from '../../support/http-server.ts';
import { MirrorFixture, TestRegistry, sendBytes } from '../../support/mirror-fixture.ts';
import { TempDir } from '../../support/temp.ts';

const REPOSITORY = 'private/app';
const CREDENTIAL = 'Bearer the-token-of-the-victim';
/** Bytes of each secret blob: one chunk, some chunks, many. */
const SIZES = [40 * KIB, 700 * KIB, 2500 * KIB] as const;
const RUNS = 30;
const SEED = 20_261_130;
/** Bytes of a sample that shows whose the bytes are, and the distance between two samples. */
const [SAMPLE, STEP] = [24, 16 * KIB];

/** The attacker's answers to any request. */
const LIES = ['missing', 'refuses', 'size without bytes', 'garbage', 'half of it', 'other size'] as const;
type Lie = (typeof LIES)[number];

type Step =
  | { readonly kind: 'victim'; readonly blob: number; readonly from: number; readonly leavesAt: number }
  | { readonly kind: 'victim-manifest' }
  | {
      readonly kind: 'attacker';
      readonly blob: number;
      readonly at: 'own' | 'private';
      readonly manifest: boolean;
      readonly head: boolean;
      readonly from: number;
      readonly credential: string | undefined;
    }
  | { readonly kind: 'lie'; readonly lie: Lie }
  | { readonly kind: 'evict'; readonly blob: number }
  | { readonly kind: 'restart' };

const blob = fc.nat({ max: SIZES.length - 1 });
/** Parts of a blob's size. */
const part = fc.constantFrom(0, 0, 0.3, 0.9);
const anyStep: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('victim' as const),
      blob,
      from: part,
      leavesAt: fc.constantFrom(1, 1, 0, 0.4),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: 'victim-manifest' as const }) },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('attacker' as const),
      blob,
      at: fc.constantFrom('own' as const, 'own' as const, 'private' as const),
      manifest: fc.boolean(),
      head: fc.constantFrom(false, false, true),
      from: part,
      credential: fc.constantFrom(undefined, 'Bearer made-up', 'Basic bWFkZTp1cA=='),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('lie' as const), lie: fc.constantFrom(...LIES) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('evict' as const), blob }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'restart' as const }) },
);
/** Steps of one group run at the same time. */
const history = fc.array(fc.array(anyStep, { minLength: 1, maxLength: 5 }), { minLength: 2, maxLength: 8 });

/** Two registries and a mirror that can be started anew on the same folder. */
class World implements AsyncDisposable {
  readonly secrets: readonly Buffer[] = SIZES.map((size, index) => seededBytes(size, `secret ${index}`));
  readonly digests: readonly Digest[];
  readonly manifest: { readonly digest: Digest; readonly bytes: Buffer };
  lie: Lie = 'missing';
  readonly #private: TestRegistry;
  readonly #evil: TestRegistry;
  readonly #temp: TempDir;
  #fixture: MirrorFixture;

  private constructor(priv: TestRegistry, evil: TestRegistry, temp: TempDir, fixture: MirrorFixture) {
    this.#private = priv;
    this.#evil = evil;
    this.#temp = temp;
    this.#fixture = fixture;
    this.digests = this.secrets.map((bytes) => priv.addBlob(REPOSITORY, bytes));
    const { manifest, bytes } = priv.addImage(REPOSITORY, 'v1', this.secrets[0] ?? Buffer.of());
    this.manifest = { digest: manifest, bytes };
    priv.repository(REPOSITORY).authorization = CREDENTIAL;
    evil.server.handler = this.#lies;
  }

  static async create(): Promise<World> {
    const temp = await TempDir.create('registries-model');
    const fixture = await World.#mirror(temp);
    return new World(await TestRegistry.start(), await TestRegistry.start(), temp, fixture);
  }

  async perform(step: Step): Promise<void> {
    switch (step.kind) {
      case 'victim':
        return this.#victim(step.blob, step.from, step.leavesAt);
      case 'victim-manifest': {
        const answer = await this.#ask(this.#private, 'manifests/v1', { authorization: CREDENTIAL });
        assert.equal(answer.status, 200, "the victim's manifest");
        assert.ok(answer.body.equals(this.manifest.bytes), 'not the manifest of the registry');
        return undefined;
      }
      case 'attacker':
        return this.#attacker(step);
      case 'lie':
        this.lie = step.lie;
        return undefined;
      case 'evict': {
        const digest = this.digests[step.blob];
        if (digest !== undefined) await this.#fixture.store.delete(digest);
        return undefined;
      }
      case 'restart':
        return undefined; // between groups: see `restart`
    }
  }

  /** The mirror ends, and starts again on its data folder. */
  async restart(): Promise<void> {
    await this.#fixture[Symbol.asyncDispose]();
    this.#fixture = await World.#mirror(this.#temp);
  }

  /** The bytes that were sent to the attacker's registry. */
  attackersView(): string {
    return JSON.stringify(this.#evil.server.requests);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#fixture[Symbol.asyncDispose]();
    await this.#private[Symbol.asyncDispose]();
    await this.#evil[Symbol.asyncDispose]();
    await this.#temp[Symbol.asyncDispose]();
  }

  static #mirror(temp: TempDir): Promise<MirrorFixture> {
    // A restart keeps the disk and forgets the memory. There is no linger, so that partial blobs are tried, too.
    return MirrorFixture.start({
      folder: temp.join('data'),
      linger: 0,
      upstreamStallTimeout: 100,
      retries: 0,
    });
  }

  #ask(
    registry: TestRegistry,
    path: string,
    headers: Readonly<Record<string, string>>,
    options: RequestOptions = {},
  ): ReturnType<typeof request> {
    const url = `${this.#fixture.url}/v2/${REPOSITORY}/${path}?ns=${registry.host}`;
    return request(url, { ...options, headers });
  }

  async #victim(index: number, from: number, leavesAt: number): Promise<void> {
    const bytes = this.secrets[index] ?? Buffer.of();
    const start = Math.floor(bytes.length * from);
    const leaving = new AbortController();
    const leaves = leavesAt < 1;
    const onProgress = (count: number): void => {
      if (leaves && count >= (bytes.length - start) * leavesAt) leaving.abort();
    };
    const headers = { authorization: CREDENTIAL, ...(start > 0 && { range: `bytes=${start}-` }) };
    const { status, body, broken } = await this.#ask(this.#private, `blobs/${this.digests[index]}`, headers, {
      signal: leaving.signal,
      onProgress,
    });
    assert.equal(status, start > 0 ? 206 : 200, "the victim's pull");
    assert.ok(body.equals(bytes.subarray(start, start + body.length)), "bytes that are not the registry's");
    if (!leaves) {
      assert.equal(broken, undefined, "the victim's pull broke off");
      assert.equal(body.length, bytes.length - start);
    }
  }

  async #attacker(step: Extract<Step, { kind: 'attacker' }>): Promise<void> {
    const bytes = this.secrets[step.blob] ?? Buffer.of();
    const start = Math.floor(bytes.length * step.from);
    const path = step.manifest ? `manifests/${this.manifest.digest}` : `blobs/${this.digests[step.blob]}`;
    const headers = {
      ...(step.credential !== undefined && { authorization: step.credential }),
      ...(start > 0 && { range: `bytes=${start}-` }),
    };
    const registry = step.at === 'own' ? this.#evil : this.#private;
    const { body } = await this.#ask(registry, path, headers, { method: step.head ? 'HEAD' : 'GET' });
    const stolen = [...this.secrets, this.manifest.bytes].some((secret) => hasOf(secret, body));
    assert.equal(stolen, false, `${body.length} bytes with some of the victim's among them`);
  }

  /** The attacker's registry: it knows the private digests and their sizes, not their bytes. */
  readonly #lies: Handler = (asked, response) => {
    const digest = asked.url?.split('/').at(-1) ?? '';
    const index = this.digests.findIndex((known) => digest.startsWith(known));
    const size = SIZES[index] ?? this.manifest.bytes.length;
    switch (this.lie) {
      case 'missing':
        response.writeHead(404).end();
        return;
      case 'refuses':
        response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
        return;
      case 'size without bytes':
        response.writeHead(200, { 'content-length': size });
        if (asked.method === 'HEAD') response.end();
        else response.flushHeaders();
        return;
      case 'garbage':
        sendBytes(asked, response, Buffer.alloc(size, 'garbage'));
        return;
      case 'half of it':
        response.writeHead(200, { 'content-length': size });
        if (asked.method === 'HEAD') response.end();
        else response.write(Buffer.alloc(size >> 1, 'half'), () => response.destroy());
        return;
      case 'other size':
        sendBytes(asked, response, Buffer.alloc(size * 2, 'longer'));
        return;
    }
  };
}

/** Whether `body` has some bytes of `secret` in it, at any place. */
function hasOf(secret: Buffer, body: Buffer): boolean {
  for (let at = 0; at + SAMPLE <= body.length; at += STEP)
    if (secret.includes(body.subarray(at, at + SAMPLE))) return true;
  return false;
}

describe('two registries behind one mirror', () => {
  it('keep their bytes and credentials apart in every history of pulls, lies and restarts', async () => {
    const told = { pulls: 0, attacks: 0, restarts: 0 };
    await fc.assert(
      fc.asyncProperty(history, async (groups) => {
        await using world = await World.create();
        for (const group of groups) {
          if (group.some(({ kind }) => kind === 'restart')) {
            told.restarts++;
            await world.restart();
          }
          told.pulls += group.filter(({ kind }) => kind === 'victim').length;
          told.attacks += group.filter(({ kind }) => kind === 'attacker').length;
          await Promise.all(group.map((each) => world.perform(each)));
          assert.equal(world.attackersView().includes(CREDENTIAL), false, 'the credential has left');
        }
      }),
      { numRuns: RUNS, seed: SEED },
    );
    // The property would also hold if nothing happened.
    for (const [what, count] of Object.entries(told)) assert.ok(count >= RUNS / 4, `${count} ${what}`);
  }).timeout(180_000);
});
