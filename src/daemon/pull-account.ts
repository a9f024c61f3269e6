/**
 * The account of pulls: for each image and each blob that the mirror served, one line of log; the metrics by source; and the
 * reports of the last pulls. It is told of requests when they begin and when they end, and of nothing between.
 */
import type { MirrorRequest } from '../mirror/mirror-request.ts';
import type { RequestReport } from '../mirror/mirror.ts';
import type { Route } from '../mirror/route.ts';
import type { ByteSource } from '../pull/blob-reader.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import type {
  BlobPullReport,
  ImageReport,
  PullOutcome,
  PullReport,
  PullsReport,
  SourcesReport,
} from '../status/pull-report.ts';
import { SECOND, type Clock } from '../util/clock.ts';
import { isWeirError, type WeirError } from '../util/errors.ts';
import type { RequestEnd } from './image-pull.ts';
import { ImagePulls, type Asked } from './image-pulls.ts';
import type { Logger } from './logger.ts';
import { filterPulls, PullRing, type PullsQuery } from './pull-ring.ts';
import { divide, type BytesBySource } from './pull-tally.ts';

/** Images in `/v1/status`: two lines for each must leave room on a screen. */
const STATUS_IMAGES = 5;
/** Characters of a User-Agent that tell clients apart. */
const MAX_AGENT = 200;

export interface PullMeter {
  /** Bytes that a runtime got, and the seconds that it took. */
  pulled(sources: SourcesReport, seconds: number): void;
  ended(kind: 'image' | 'blob', outcome: PullOutcome, seconds: number): void;
}

export interface PullAccountOptions {
  readonly clock: Clock;
  readonly logger: Pick<Logger, 'info'>;
  readonly meter: PullMeter;
  /** The name of a member; empty if it is not known. */
  readonly nameOf: (peer: PeerId) => string;
}

export class PullAccount implements Disposable {
  readonly #options: PullAccountOptions;
  readonly #images: ImagePulls;
  readonly #ring: PullRing = new PullRing();
  readonly #asked: WeakMap<MirrorRequest, Asked> = new WeakMap();

  constructor(options: PullAccountOptions) {
    this.#options = options;
    const { clock, nameOf } = options;
    this.#images = new ImagePulls({
      clock,
      nameOf,
      onBlob: (image, report) => this.#onBlob(image, report),
      onImage: (report) => this.#onImage(report),
    });
  }

  /** A request is admitted. HEAD for a blob brings nothing, and lists belong to no pull. */
  routed(mirrorRequest: MirrorRequest, route: Route): void {
    const { repository, what } = whatOf(mirrorRequest, route) ?? {};
    if (repository === undefined || what === undefined) return;
    this.#asked.set(mirrorRequest, this.#images.begin({ client: clientOf(mirrorRequest), repository, what }));
  }

  ended(report: RequestReport): void {
    const asked = this.#asked.get(report.mirrorRequest);
    if (asked === undefined) return;
    const { served } = report.mirrorRequest;
    const end = endOf(report);
    this.#options.meter.pulled(end.sources, report.seconds);
    this.#images.end(asked, end, served?.kind === 'manifest' ? served : undefined);
  }

  pulls(query: PullsQuery): PullsReport {
    return { pulls: filterPulls([...this.#images.running, ...this.#ring.all], query) };
  }

  /** The last images that brought bytes or failed, running ones first. */
  get images(): readonly ImageReport[] {
    return [...this.#images.running, ...this.#ring.all]
      .filter(({ bytes, state }) => bytes > 0 || state === 'failed')
      .slice(0, STATUS_IMAGES)
      .map(({ image, state, began, seconds, bytes, sources }) => ({
        image,
        state,
        began,
        seconds,
        bytes,
        sources,
      }));
  }

  #onBlob(image: string, report: BlobPullReport): void {
    const { digest, size, requests } = report;
    if (report.state !== 'pulling') this.#options.meter.ended('blob', report.state, report.seconds);
    this.#options.logger.info({ image, digest, size, requests, ...fieldsOf(report) }, 'blob served');
  }

  #onImage(report: PullReport): void {
    const { image, digest, client, manifest_seconds, blobs, more_blobs } = report;
    this.#ring.add(report);
    if (report.state !== 'pulling') this.#options.meter.ended('image', report.state, report.seconds);
    const fields = { image, digest, client, blobs: blobs.length + more_blobs, manifest_seconds };
    this.#options.logger.info({ ...fields, ...fieldsOf(report) }, 'image served');
  }

  /** Ends all pulls: their lines are written. */
  [Symbol.dispose](): void {
    this.#images[Symbol.dispose]();
  }
}

/** The fields that both lines have. */
function fieldsOf(report: BlobPullReport | PullReport): Readonly<Record<string, unknown>> {
  const { state, code, seconds, first_byte_seconds, bytes, sources, peers, waits } = report;
  const waited = Object.entries(waits).filter(([, took]) => took > 0);
  return {
    outcome: state,
    ...(code === undefined ? {} : { code }),
    seconds,
    first_byte_seconds,
    bytes,
    from_store: sources.store,
    from_peers: sources.peers,
    from_registry: sources.registry,
    ...(peers.length === 0 ? {} : { peers }),
    waits: Object.fromEntries(waited),
  };
}

function whatOf(
  { isHead }: MirrorRequest,
  route: Route,
): Pick<Parameters<ImagePulls['begin']>[0], 'repository' | 'what'> | undefined {
  const { kind } = route;
  if (kind === 'manifest')
    return { repository: route.repository, what: { kind, reference: route.reference } };
  if (kind !== 'blob' || isHead) return undefined;
  return { repository: route.repository, what: { kind, digest: route.digest } };
}

function clientOf({ request }: MirrorRequest): string {
  return `${request.remoteAddress} ${(request.headers['user-agent'] ?? '').slice(0, MAX_AGENT)}`;
}

function endOf({ mirrorRequest, seconds, error }: RequestReport): RequestEnd {
  const { served, readyAt, began, waits } = mirrorRequest;
  return {
    ...bytesOf(mirrorRequest),
    ...outcomeOf(error, served?.kind === 'blob' && served.origin.passedThrough),
    waits: waits.seconds,
    seconds,
    size: served?.kind === 'blob' ? served.size : undefined,
    firstByteSeconds: readyAt === undefined ? undefined : (readyAt - began) / SECOND,
  };
}

/** Errors have bodies too, but no bytes of the image. */
function bytesOf({ served, source, bytes }: MirrorRequest): BytesBySource {
  if (served?.kind === 'blob') return divide(bytes, served.origin);
  const got = served === undefined ? 0 : bytes;
  const none = { store: 0, peers: 0, registry: 0 };
  const sources = source === undefined ? none : { ...none, [MANIFEST_SOURCES[source]]: got };
  return { sources, byPeer: new Map() };
}

const MANIFEST_SOURCES: Readonly<Record<ByteSource, keyof SourcesReport>> = {
  store: 'store',
  runtime: 'store',
  upstream: 'registry',
  swarm: 'peers',
  peer: 'peers',
};

export function outcomeOf(
  error: WeirError | undefined,
  passedThrough: boolean,
): { readonly outcome: PullOutcome; readonly code?: string } {
  if (error === undefined) return { outcome: passedThrough ? 'passed_through' : 'complete' };
  if (isWeirError(error, 'aborted')) return { outcome: 'client_left' };
  if (isWeirError(error, 'handed_over')) return { outcome: 'handed_over' };
  return { outcome: 'failed', code: error.code };
}
