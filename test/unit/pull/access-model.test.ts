/**
 * The three rules of access against a model of upstream's answers and deliveries, in every order: access is granted if
 * and only if the model grants it.
 */
import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { HOUR, MINUTE } from '../../../src/util/clock.ts';
import { isWeirError, WeirError } from '../../../src/util/errors.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { parseRegistryHost, parseRepository, repositoryKey } from '../../../src/oci/repository.ts';
import { Access, type PullRequest } from '../../../src/pull/access.ts';
import { Catalog } from '../../../src/store/catalog.ts';
import { callerOf, remoteCallerOf, type Caller } from '../../../src/upstream/caller.ts';
import type { Upstream } from '../../../src/upstream/upstream.ts';
import { TempDir } from '../../support/temp.ts';
import { ManualClock } from '../cluster/clock.ts';

const TTL = 10 * MINUTE;
const OFFLINE_TTL = 24 * HOUR;
const RUNS = 400;
const SEED = 20_261_130;

const DIGESTS = ['one', 'two'].map((text) => digestOf(Buffer.from(text)));
/** One with a configured credential, one without. */
const REGISTRIES = ['private.test', 'evil.test'].map(parseRegistryHost);
const [CONFIGURED] = REGISTRIES;
const REPOSITORIES = REGISTRIES.flatMap((host) =>
  ['a/app', 'b/app'].map((name) => parseRepository(host, name)),
).slice(1);
const CALLERS = ['configured', 'anonymous', 'alice', 'mallory', 'alice at another node'] as const;
type Who = (typeof CALLERS)[number];

const repository = fc.nat({ max: REPOSITORIES.length - 1 });
const digest = fc.nat({ max: DIGESTS.length - 1 });
const who = fc.constantFrom(...CALLERS);
const kindOf = <K extends string>(kind: K): fc.Arbitrary<K> => fc.constant(kind);
const anyStep = fc.oneof(
  { weight: 2, arbitrary: fc.record({ kind: kindOf('permit'), repository, who, may: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ kind: kindOf('content'), repository, digest, is: fc.boolean() }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: kindOf('upstream'), state: fc.constantFrom('up', 'down', 'throttles') }),
  },
  { weight: 1, arbitrary: fc.record({ kind: kindOf('listed'), repository, digest }) },
  { weight: 2, arbitrary: fc.record({ kind: kindOf('delivered'), repository, who, digest }) },
  { weight: 1, arbitrary: fc.record({ kind: kindOf('proven'), repository, digest }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: kindOf('time'), ms: fc.constantFrom(MINUTE, TTL + 1, OFFLINE_TTL + 1) }),
  },
  { weight: 5, arbitrary: fc.record({ kind: kindOf('authorize'), repository, who, digest }) },
);
type Step = typeof anyStep extends fc.Arbitrary<infer T> ? T : never;

describe('access mode verify, against its model', () => {
  it("grants exactly the access that follows from upstream's answers and deliveries", async () => {
    await using temp = await TempDir.create('access-model');
    let run = 0;
    const told = { granted: 0, unproven: 0, refused: 0 };
    await fc.assert(
      fc.asyncProperty(fc.array(anyStep, { minLength: 20, maxLength: 100, size: 'max' }), async (steps) => {
        using catalog = Catalog.open(temp.join(`catalog-${run++}.db`));
        const model = new Model(catalog);
        for (const step of steps) {
          const outcome = await model.perform(step);
          if (outcome !== undefined) told[outcome]++;
        }
      }),
      { numRuns: RUNS, seed: SEED },
    );
    for (const [what, count] of Object.entries(told)) assert.ok(count > RUNS / 10, `only ${count} ${what}`);
  }).timeout(60_000);
});

class Model {
  readonly #clock: ManualClock = new ManualClock();
  readonly #access: Access;
  // Upstream's present state.
  #state = 'up';
  readonly #permits: Set<string> = new Set();
  readonly #contents: Set<string> = new Set();
  // Upstream's answers and deliveries so far.
  readonly #acceptedAt: Map<string, number> = new Map();
  readonly #listed: Set<string> = new Set();
  readonly #served: Set<string> = new Set();
  readonly #proofs: Set<string> = new Set();

  constructor(catalog: Catalog) {
    // At first, upstream lets everybody have everything.
    for (const repo of REPOSITORIES) {
      for (const name of CALLERS) this.#permits.add(this.#callerId(repo, name));
      for (const each of DIGESTS) this.#contents.add(`${repositoryKey(repo)} ${each}`);
    }
    const head = async (repo: PullRequest['repository'], wanted: string, caller: Caller): Promise<void> => {
      if (this.#state === 'down') throw new WeirError('upstream_unreachable', 'down');
      if (this.#state === 'throttles') throw new WeirError('upstream_throttled', 'busy');
      const name = nameOf(caller);
      if (!this.#permits.has(this.#callerId(repo, name))) throw new WeirError('upstream_unauthorized', 'no');
      if (!this.#contents.has(`${repositoryKey(repo)} ${wanted}`))
        throw new WeirError('blob_unknown', 'not here');
    };
    const upstream: Pick<Upstream, 'headBlob' | 'headManifest' | 'speaksFor'> = {
      headBlob: async (repo, wanted, options) => {
        await head(repo, wanted, options?.caller ?? 'anonymous');
        return { size: 1 };
      },
      headManifest: () => Promise.reject(new Error('blobs alone are asked for')),
      speaksFor: ({ registry }) => registry === CONFIGURED,
    };
    this.#access = new Access({
      mode: 'verify',
      ttl: TTL,
      offlineTtl: OFFLINE_TTL,
      catalog,
      upstream,
      clock: this.#clock,
    });
  }

  async perform(step: Step): Promise<'granted' | 'unproven' | 'refused' | undefined> {
    const repo = REPOSITORIES['repository' in step ? step.repository : 0];
    const wanted = DIGESTS['digest' in step ? step.digest : 0];
    assert.ok(repo !== undefined && wanted !== undefined);
    const content = `${repositoryKey(repo)} ${wanted}`;
    switch (step.kind) {
      case 'permit':
        toggle(this.#permits, this.#callerId(repo, step.who), step.may);
        return undefined;
      case 'content':
        toggle(this.#contents, content, step.is);
        return undefined;
      case 'upstream':
        this.#state = step.state;
        return undefined;
      case 'time':
        this.#clock.advance(step.ms);
        return undefined;
      case 'listed':
        this.#access.listed(repo, 'blob', [{ digest: wanted, size: 1 }]);
        this.#listed.add(content);
        return undefined;
      case 'proven':
        this.#access.proven(repo, wanted);
        this.#bytesCame(repo, wanted, content);
        return undefined;
      case 'delivered':
        this.#access.delivered(requestOf(repo, step.who), wanted);
        this.#bytesCame(repo, wanted, content);
        this.#acceptedAt.set(this.#callerId(repo, step.who), this.#clock.now());
        return undefined;
      case 'authorize':
        return this.#authorize(requestOf(repo, step.who), this.#callerId(repo, step.who), wanted, content);
      default:
        return step satisfies never;
    }
  }

  async #authorize(
    request: PullRequest,
    caller: string,
    wanted: (typeof DIGESTS)[number],
    content: string,
  ): Promise<'granted' | 'unproven' | 'refused'> {
    const expected = this.#expected(caller, wanted, request, content);
    const outcome = await this.#access.authorize(request, wanted, 'blob').catch((error: unknown) => {
      assert.ok(isWeirError(error), String(error));
      return 'refused' as const;
    });
    assert.equal(outcome, expected, `${caller} for ${content}, upstream ${this.#state}`);
    return outcome;
  }

  /** The answer by the rules, and the model after it. */
  #expected(
    caller: string,
    wanted: string,
    { repository: { registry } }: PullRequest,
    content: string,
  ): 'granted' | 'unproven' | 'refused' {
    if (!this.#proofs.has(`${registry} ${wanted}`)) return 'unproven';
    const age = this.#clock.now() - (this.#acceptedAt.get(caller) ?? -Infinity);
    const isIn = this.#listed.has(content) || this.#served.has(content);
    if (isIn && age <= TTL) return 'granted';
    if (this.#state === 'up') {
      if (!this.#permits.has(caller)) {
        this.#acceptedAt.delete(caller);
        return 'refused';
      }
      if (!this.#contents.has(content)) {
        if (age !== Infinity) for (const known of [this.#served, this.#listed]) known.delete(content);
        return 'refused';
      }
      this.#acceptedAt.set(caller, this.#clock.now());
      this.#served.add(content);
      return 'granted';
    }
    return isIn && this.#state === 'down' && age <= OFFLINE_TTL ? 'granted' : 'refused';
  }

  #bytesCame(repo: PullRequest['repository'], wanted: string, content: string): void {
    this.#served.add(content);
    this.#proofs.add(`${repo.registry} ${wanted}`);
  }

  /** The identity towards upstream: without a configured credential, this node's caller is anonymous. */
  #callerId(repo: PullRequest['repository'], name: Who): string {
    const speaks = name === 'configured' && repo.registry !== CONFIGURED ? 'anonymous' : name;
    return `${repositoryKey(repo)} ${speaks.replace(' at another node', '')}`;
  }
}

function requestOf(repo: PullRequest['repository'], name: Who): PullRequest {
  return { repository: repo, caller: asCaller(repo, name) };
}

function asCaller({ registry }: PullRequest['repository'], name: Who): Caller {
  if (name === 'configured' || name === 'anonymous') return name;
  if (name === 'alice at another node') return remoteCallerOf(registry, 'alice');
  return callerOf(registry, { kind: 'bearer', token: name });
}

function nameOf(caller: Caller): Who {
  if (typeof caller === 'string') return caller;
  return caller.named((text) => text.replace('Bearer ', '')) as Who;
}

function toggle(set: Set<string>, member: string, is: boolean): void {
  if (is) set.add(member);
  else set.delete(member);
}
