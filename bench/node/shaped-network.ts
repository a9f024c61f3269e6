/**
 * A registry at the far end of a shaped link: in a network namespace of its own, behind a veth pair whose far
 * end sends through a token bucket filter (tc-tbf(8)). Needs root. The link is gone with the namespace.
 */
import { Namespace } from '../../test/support/namespace.ts';
import { runOk } from '../../test/support/program.ts';
import { Registry } from '../../test/support/registry.ts';

export interface Link {
  /** The rate, for people. */
  readonly name: string;
  /** The rate, for tc. */
  readonly rate: string;
  /** Bytes that may leave at once: those of 8 ms. The kernel refills the bucket every 4 ms at worst. */
  readonly burst: string;
  /** What a cold pull over it may take, over a direct pull; undefined: nothing is asked. */
  readonly limits?: Limits;
}

/** Ratios: the target, and the aim beyond. */
export interface Limits {
  readonly target: number;
  readonly aim?: number;
}

/** Links that a pull is measured over: of small machines, and of those that clouds call 5 and 10 Gbit/s. */
export const LINKS: readonly Link[] = [
  { name: '1 Gbit/s', rate: '1gbit', burst: '1mb', limits: { target: 1.03 } },
  { name: '5 Gbit/s', rate: '5gbit', burst: '5mb', limits: { target: 1.15, aim: 1.05 } },
  { name: '10 Gbit/s', rate: '10gbit', burst: '10mb' },
];

/** Time that a packet may wait before the filter drops it: far above a round trip, below TCP's time-out. */
const LATENCY = '50ms';

export class ShapedRegistry implements AsyncDisposable {
  readonly registry: Registry;
  readonly #owned: AsyncDisposableStack;

  private constructor(registry: Registry, owned: AsyncDisposableStack) {
    this.registry = registry;
    this.#owned = owned;
  }

  /** @param storage folder of the registry's content */
  static async start(storage: string, { rate, burst }: Link): Promise<ShapedRegistry> {
    await using stack = new AsyncDisposableStack();
    const namespace = stack.use(await Namespace.create());
    const { near, far } = addresses(process.pid);
    const inside = { within: namespace.enter };
    const here = String(process.pid);
    const device = `weirb${here}`; // Linux takes 15 characters for a name
    const pair = ['type', 'veth', 'peer', 'name', device, 'netns', here];
    await runOk('ip', ['link', 'add', 'link0', ...pair], inside);
    await runOk('ip', ['address', 'add', `${near}/30`, 'dev', device]);
    await runOk('ip', ['link', 'set', device, 'up']);
    await runOk('ip', ['address', 'add', `${far}/30`, 'dev', 'link0'], inside);
    await runOk('ip', ['link', 'set', 'link0', 'up'], inside);
    const filter = ['tbf', 'rate', rate, 'burst', burst, 'latency', LATENCY];
    await runOk('tc', ['qdisc', 'add', 'dev', 'link0', 'root', ...filter], inside);
    const listen = `${far}:0`;
    const registry = stack.use(await Registry.start({ storage, listen, within: namespace.enter }));
    return new ShapedRegistry(registry, stack.move());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#owned.disposeAsync();
  }
}

/** A network of two addresses out of the range for benchmarks (RFC 2544); two runs at once get two of them. */
function addresses(pid: number): { readonly near: string; readonly far: string } {
  const network = `198.18.${(pid >> 6) & 255}`;
  const base = (pid & 63) << 2;
  return { near: `${network}.${base + 1}`, far: `${network}.${base + 2}` };
}
