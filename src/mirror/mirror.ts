/**
 * The mirror: an HTTP server on localhost from which runtimes pull.
 *
 * It owns the listeners (whose sockets are in byte workers) and the life of each request: admission, limits, loop detection, the time limit of the
 * first byte, error answers, the drain. {@link Handlers} decide the answer. docs/architecture.md has the contract with
 * runtimes and its reasons.
 */
import { KIB, SECOND, type Clock } from '../util/clock.ts';
import { isWeirError, toWeirError, WeirError } from '../util/errors.ts';
import type { Exchange, HttpListener, HttpListeners } from '../http/exchange.ts';
import { openAll, urlAt, type ListenAddress } from '../http/listen.ts';
import { WebGuard } from '../http/web-guard.ts';
import type { RegistryBlob } from '../oci/registry-blob.ts';
import type { RegistryHost } from '../oci/repository.ts';
import { sendError } from './responses.ts';
import { MirrorRequest } from './mirror-request.ts';
import {
  firstByteTimeout,
  type Waited,
  RegistryTimeouts,
  type FirstByteLimits,
  type FirstByteTimeoutOptions,
} from './first-byte-timeout.ts';
import { blobOf, Handlers, isBehindFirst, rangeOf, type HandlersOptions } from './handlers.ts';
import { parseRoute, type Route } from './route.ts';

const LIMITS = {
  /** Bytes of all headers of a request; a bearer token of Azure's registry alone can have 8 KiB. */
  maxHeaderSize: 32 * KIB,
  /**
   * By the clock. If all cores of the machine are taken, a request may stay in the kernel for long, as its sender is on the
   * same machine. A runtime that gets 408 goes to the registry. Connections are bounded anyway.
   */
  requestTimeout: 60 * SECOND,
  timeoutCheck: 5 * SECOND,
  keepAlive: 60 * SECOND,
  /** For each listening address: idle ones cost a file descriptor each. */
  maxConnections: 2048,
} as const;

const NO_FIRST_BYTE: DOMException = new DOMException('no first byte', 'TimeoutError');

/** What happened to one request, for logs and metrics. */
export interface RequestReport {
  readonly mirrorRequest: MirrorRequest;
  readonly route: Route | undefined;
  readonly seconds: number;
  readonly error: WeirError | undefined;
}

export interface MirrorObserver {
  began(): void;
  /** The request is admitted, and this is what it asks for. */
  routed?(mirrorRequest: MirrorRequest, route: Route): void;
  ended(report: RequestReport): void;
}

export interface MirrorOptions extends Omit<HandlersOptions, 'onCut'>, FirstByteLimits {
  readonly http: HttpListeners;
  readonly listen: readonly ListenAddress[];
  /** Further names by which runtimes reach it. */
  readonly hosts: readonly string[];
  readonly defaultRegistry: RegistryHost;
  /** Requests that are served at once; more are refused. */
  readonly maxRequests: number;
  /** Milliseconds within which a client must take a buffer. */
  readonly clientTimeout: number;
  /** This node's name in the Weir-Via header. */
  readonly via: string;
  readonly clock: Clock;
  readonly observer: MirrorObserver;
  readonly onWarning: (message: string) => void;
}

export class Mirror implements AsyncDisposable {
  readonly #options: MirrorOptions;
  readonly #handlers: Handlers;
  readonly #timeouts: RegistryTimeouts;
  readonly #guard: WebGuard;
  #listeners: readonly HttpListener[] = [];
  readonly #active: Set<MirrorRequest> = new Set();
  /** The failures of responses that had to be cut, until they are reported. */
  readonly #cuts: WeakMap<MirrorRequest, WeirError> = new WeakMap();
  #drained: PromiseWithResolvers<void> | undefined;

  private constructor(options: MirrorOptions) {
    this.#options = options;
    this.#timeouts = new RegistryTimeouts(options);
    this.#guard = new WebGuard({ ...options, setting: 'mirror.hosts' });
    this.#handlers = new Handlers({
      ...options,
      onCut: (mirrorRequest, _route, error) => this.#cuts.set(mirrorRequest, error),
    });
  }

  /** @throws WeirError `address_in_use` */
  static async start(options: MirrorOptions): Promise<Mirror> {
    const mirror = new Mirror(options);
    const { onWarning, clientTimeout, http } = options;
    mirror.#listeners = await openAll({
      addresses: options.listen,
      open: (address) =>
        http.listen(address, {
          limits: { ...LIMITS, clientTimeout },
          onExchange: (exchange) => void mirror.#serve(exchange),
          onWarning,
        }),
      setting: 'mirror.listen',
      onWarning,
    });
    return mirror;
  }

  /** `http://127.0.0.1:4770`, … */
  get addresses(): readonly string[] {
    return this.#listeners.map(urlAt);
  }

  /** Requests that are being served. */
  get active(): number {
    return this.#active.size;
  }

  /** Never rejects. */
  async #serve(exchange: Exchange): Promise<void> {
    const { observer, clock } = this.#options;
    const mirrorRequest = new MirrorRequest(exchange, () => clock.monotonic());
    const { request, response } = exchange;
    this.#active.add(mirrorRequest);
    observer.began();
    let route: Route | undefined;
    let failure: WeirError | undefined;
    try {
      this.#admit(mirrorRequest);
      route = parseRoute(request.url, this.#options.defaultRegistry);
      observer.routed?.(mirrorRequest, route);
      await this.#handle(mirrorRequest, route);
    } catch (error) {
      failure = toWeirError(error);
      if (response.headersSent || response.gone.aborted) response.closeShort();
      else sendError(mirrorRequest, failure, route);
    } finally {
      this.#active.delete(mirrorRequest);
      if (this.#active.size === 0) this.#drained?.resolve();
      const seconds = (clock.monotonic() - mirrorRequest.began) / SECOND;
      observer.ended({
        mirrorRequest,
        route,
        seconds,
        error: failure ?? this.#cuts.get(mirrorRequest),
      });
    }
  }

  /** @throws WeirError `draining`, `method_not_allowed`, `too_many_requests`, `loop`, or what {@link WebGuard} throws */
  #admit({ request, response }: MirrorRequest): void {
    const { maxRequests, via } = this.#options;
    if (this.#drained !== undefined) throw new WeirError('draining', 'this node is shutting down');
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('Allow', 'GET, HEAD');
      throw new WeirError('method_not_allowed', 'a mirror is for pulling: GET and HEAD only');
    }
    this.#guard.check(request);
    if (this.#active.size > maxRequests) {
      throw new WeirError('too_many_requests', `${maxRequests} requests are being served already`);
    }
    const passed = request.headers['weir-via'];
    if (passed !== undefined && String(passed).split(/,\s*/).includes(via)) {
      throw new WeirError(
        'loop',
        'this request came from this mirror itself: the registry that it names leads back here',
      );
    }
  }

  async #handle(mirrorRequest: MirrorRequest, route: Route): Promise<void> {
    if (route.kind === 'ping') return this.#handlers.handle(mirrorRequest, route, mirrorRequest.gone);
    const { registry } = route.repository;
    const wait = this.#timeouts.for(registry, route.byPath);
    const late = new AbortController();
    const overdue = late.signal;
    const over = new AbortController();
    const blob = route.kind === 'blob' ? blobOf(route) : undefined;
    const isAhead = blob !== undefined && isBehindFirst(rangeOf(mirrorRequest, blob.digest));
    const began = this.#options.clock.monotonic();
    const waited = this.#deadline(blob, { wait, isAhead }, over.signal);
    waited.then(
      () => late.abort(NO_FIRST_BYTE),
      () => undefined, // the answer was given in time
    );
    try {
      await this.#handlers.handle(mirrorRequest, route, AbortSignal.any([mirrorRequest.gone, overdue]));
      if (mirrorRequest.source === 'upstream') this.#timeouts.restored(registry);
    } catch (error) {
      const timedOut = overdue.aborted && !mirrorRequest.gone.aborted && !isWeirError(error);
      // A slow crowd says nothing about the registry, and neither does a node that is short of CPU.
      const isCrowd = blob !== undefined && this.#options.blobs.isShared(blob);
      if (
        (timedOut && !isCrowd && !(await waited).isHeldUp) ||
        isWeirError(error, 'upstream_timeout', 'upstream_unreachable', 'upstream_stalled')
      ) {
        this.#timeouts.lost(registry, blob?.digest);
      }
      if (!timedOut) throw error;
      const took = ((this.#options.clock.monotonic() - began) / SECOND).toFixed(1);
      throw new WeirError('upstream_timeout', `no first byte within ${took} s`, { cause: error });
    } finally {
      over.abort(); // ends the wait; nobody sees the reason
    }
  }

  #deadline(
    blob: RegistryBlob | undefined,
    { wait, isAhead }: Pick<FirstByteTimeoutOptions, 'wait' | 'isAhead'>,
    over: AbortSignal,
  ): Promise<Waited> {
    const { clock, blobs } = this.#options;
    return firstByteTimeout(
      {
        clock,
        wait,
        isAhead,
        hasPeers: () => blob !== undefined && blobs.hasPeers(blob),
        isArriving: (within) => blob !== undefined && blobs.isArriving(blob, within, isAhead),
      },
      over,
    );
  }

  /** Refuses new requests at once, lets running ones end within `deadline` milliseconds, then cuts the rest cleanly. */
  async drain(deadline: number): Promise<void> {
    this.#drained ??= Promise.withResolvers();
    for (const listener of this.#listeners) listener.close();
    if (this.#active.size === 0) return;
    const late = setTimeout(() => {
      for (const mirrorRequest of this.#active) mirrorRequest.cut();
    }, deadline);
    await this.#drained.promise;
    clearTimeout(late);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.drain(0);
    await Promise.all(this.#listeners.map((listener) => listener[Symbol.asyncDispose]()));
  }
}
