/**
 * One pull with the mirror and one without it, each by a containerd of its own through a faulty proxy of its own; and
 * their comparison: with the mirror a pull must never end worse, nor more than 5 s later.
 */
import assert from 'node:assert/strict';
import { SECOND } from '../../src/util/clock.ts';
import { assertIntact } from './assertions.ts';
import { Containerd } from './containerd.ts';
import type { PullOutcome } from './cri.ts';
import { FaultProxy } from './fault-proxy.ts';
import type { TestImage } from './images.ts';
import { WeirNode, type WeirOptions } from './weir.ts';

/** Milliseconds by which a pull may end later than one without the mirror. */
const GRACE = 5 * SECOND;
/** Milliseconds after which a pull without the mirror hangs: containerd 1.6 has no time-out of its own. */
const HANGS = 15 * SECOND;

/**
 * `succeeds`: Weir can mend a single fault, even if containerd alone cannot.
 * `as without it`: success if containerd alone succeeds, else any end, in time.
 */
export type Expected = 'succeeds' | 'as without it';

interface Parts {
  readonly proxy: FaultProxy;
  readonly containerd: Containerd;
  /** undefined: the pull goes straight to the registry. */
  readonly weir: WeirNode | undefined;
}

export interface PullOptions {
  /** Milliseconds after which a pull without the mirror counts as hung. */
  readonly hangs?: number;
  readonly signal?: AbortSignal;
}

export class PullScene implements AsyncDisposable {
  readonly proxy: FaultProxy;
  readonly containerd: Containerd;
  readonly weir: WeirNode | undefined;
  readonly #stack: AsyncDisposableStack;

  private constructor({ proxy, containerd, weir }: Parts, stack: AsyncDisposableStack) {
    this.proxy = proxy;
    this.containerd = containerd;
    this.weir = weir;
    this.#stack = stack;
  }

  /** `mirror`: options of the node in between; none: straight to the registry. */
  static async create(upstream: string, mirror?: WeirOptions): Promise<PullScene> {
    await using stack = new AsyncDisposableStack();
    const proxy = stack.use(await FaultProxy.start(upstream));
    const containerd = stack.use(await Containerd.start());
    const weir = mirror && stack.use(await WeirNode.start(mirror));
    if (weir !== undefined) {
      await containerd.writeHosts({ registry: proxy.host, server: proxy.url, mirrors: [weir.url] });
    }
    return new PullScene({ proxy, containerd, weir }, stack.move());
  }

  /** `path`: `repository:tag`. */
  async pull(path: string, options: PullOptions = {}): Promise<PullOutcome> {
    const { hangs = HANGS, signal } = options;
    const timeout = this.weir === undefined ? hangs : hangs + GRACE;
    return this.containerd.cri.pull(`${this.proxy.host}/${path}`, { timeout, ...(signal && { signal }) });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

/**
 * Both pulls side by side: [without, through]. Once the one through the mirror has succeeded, the other one cannot be
 * quicker any more, and is ended.
 */
export async function pullBoth(
  direct: PullScene,
  mirrored: PullScene,
  path: string,
  options: Pick<PullOptions, 'hangs'> = {},
): Promise<readonly [PullOutcome, PullOutcome]> {
  const decided = new AbortController();
  const through = mirrored.pull(path, options).then((outcome) => {
    if (outcome.error === undefined) decided.abort();
    return outcome;
  });
  return Promise.all([direct.pull(path, { ...options, signal: decided.signal }), through]);
}

export async function assertNoWorse(
  expected: Expected,
  without: PullOutcome,
  through: PullOutcome,
  scene: PullScene,
  image: TestImage,
): Promise<void> {
  const told = `without: ${tell(without)}\nthrough: ${tell(through)}\n${requestsOf(scene.proxy)}`;
  if (expected === 'succeeds' || without.error === undefined) {
    assert.equal(through.error, undefined, told);
  }
  const limit = without.duration + GRACE;
  const bothHang = without.timedOut && through.timedOut;
  assert.ok(bothHang || through.duration <= limit, `later than ${limit} ms:\n${told}`);
  if (through.error === undefined) await assertIntact(scene.containerd, image);
}

function tell({ error, duration }: PullOutcome): string {
  return `${error ?? 'succeeded'} after ${Math.round(duration)} ms`;
}

function requestsOf(proxy: FaultProxy): string {
  return proxy
    .exchanges()
    .map(({ method, path, range = '', fault = '', status, bytes, userAgent }) =>
      [method, path, range, fault, status, `${bytes} B`, userAgent].join(' '),
    )
    .join('\n');
}
