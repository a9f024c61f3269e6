/**
 * The one error class of Weir.
 *
 * Every failure that a caller may act on carries a `code` from the closed union below. The table says whose fault each
 * code is, and which HTTP status the mirror answers if no byte of the body has been sent yet. docs/errors.md lists the
 * same codes; a test keeps the two equal.
 *
 * Status 404 stands for "not from here": containerd, Docker and podman then go to the upstream registry by
 * themselves. 429 is never used: containerd repeats it six times at once (see docs/architecture.md).
 */

/** The party whose fault a failure is; it decides whether another source is tried. */
export type Fault = 'caller' | 'upstream' | 'local' | 'peer';

interface CodeInfo {
  readonly fault: Fault;
  /** HTTP status of the mirror's answer. */
  readonly status: number;
  /** Error code of the OCI distribution spec, section "Error Codes". */
  readonly oci: string;
}

const info = (fault: Fault, status: number, oci: string): CodeInfo => ({ fault, status, oci });

export const ERROR_CODES = {
  // The caller's request.
  bad_request: info('caller', 400, 'UNSUPPORTED'),
  digest_invalid: info('caller', 400, 'DIGEST_INVALID'),
  name_invalid: info('caller', 400, 'NAME_INVALID'),
  reference_invalid: info('caller', 404, 'MANIFEST_UNKNOWN'),
  method_not_allowed: info('caller', 405, 'UNSUPPORTED'),
  host_not_allowed: info('caller', 403, 'DENIED'),
  cross_site: info('caller', 403, 'DENIED'),
  not_found: info('caller', 404, 'NAME_UNKNOWN'),
  uri_too_long: info('caller', 414, 'UNSUPPORTED'),
  range_unsatisfiable: info('caller', 416, 'UNSUPPORTED'),
  too_many_requests: info('caller', 503, 'UNSUPPORTED'),
  loop: info('caller', 404, 'UNSUPPORTED'),
  aborted: info('caller', 499, 'UNSUPPORTED'),
  archive_invalid: info('caller', 400, 'UNSUPPORTED'),
  import_refused: info('caller', 403, 'DENIED'),
  config_invalid: info('caller', 500, 'UNSUPPORTED'),
  // Upstream's answer, or its lack.
  upstream_unauthorized: info('upstream', 401, 'UNAUTHORIZED'),
  upstream_denied: info('upstream', 403, 'DENIED'),
  blob_unknown: info('upstream', 404, 'BLOB_UNKNOWN'),
  manifest_unknown: info('upstream', 404, 'MANIFEST_UNKNOWN'),
  upstream_unreachable: info('upstream', 404, 'UNSUPPORTED'),
  upstream_tls: info('upstream', 404, 'UNSUPPORTED'),
  upstream_timeout: info('upstream', 404, 'UNSUPPORTED'),
  upstream_stalled: info('upstream', 404, 'UNSUPPORTED'),
  upstream_cut: info('upstream', 404, 'UNSUPPORTED'),
  upstream_status: info('upstream', 404, 'UNSUPPORTED'),
  upstream_throttled: info('upstream', 404, 'UNSUPPORTED'),
  upstream_protocol: info('upstream', 404, 'UNSUPPORTED'),
  address_refused: info('upstream', 404, 'UNSUPPORTED'),
  upstream_too_large: info('upstream', 404, 'UNSUPPORTED'),
  digest_mismatch: info('upstream', 404, 'DIGEST_INVALID'),
  // A peer's failure; the pull goes on with another source, so callers seldom see these.
  peer_unreachable: info('peer', 404, 'UNSUPPORTED'),
  peer_cut: info('peer', 404, 'UNSUPPORTED'),
  peer_stalled: info('peer', 404, 'UNSUPPORTED'),
  peer_protocol: info('peer', 404, 'UNSUPPORTED'),
  peer_refused: info('peer', 404, 'UNSUPPORTED'),
  chunk_mismatch: info('peer', 404, 'DIGEST_INVALID'),
  // A failure of this node.
  handed_over: info('local', 404, 'BLOB_UNKNOWN'),
  store_full: info('local', 404, 'BLOB_UNKNOWN'),
  store_corrupt: info('local', 404, 'BLOB_UNKNOWN'),
  store_locked: info('local', 500, 'UNSUPPORTED'),
  store_unusable: info('local', 500, 'UNSUPPORTED'),
  runtime_config: info('local', 500, 'UNSUPPORTED'),
  address_in_use: info('local', 500, 'UNSUPPORTED'),
  worker_lost: info('local', 404, 'BLOB_UNKNOWN'),
  draining: info('local', 503, 'UNSUPPORTED'),
  internal: info('local', 500, 'UNSUPPORTED'),
} as const satisfies Record<string, CodeInfo>;

export type ErrorCode = keyof typeof ERROR_CODES;

export interface WeirErrorOptions {
  readonly cause?: unknown;
  /** Facts for the log, never a credential. */
  readonly detail?: Readonly<Record<string, string | number>>;
}

/** A failure with a code that callers can branch on. */
export class WeirError extends Error {
  readonly code: ErrorCode;
  readonly detail: Readonly<Record<string, string | number>>;

  constructor(code: ErrorCode, message: string, options: WeirErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'WeirError';
    this.code = code;
    this.detail = options.detail ?? {};
  }

  get fault(): Fault {
    return ERROR_CODES[this.code].fault;
  }

  get status(): number {
    return ERROR_CODES[this.code].status;
  }
}

/** Whether `error` is a {@link WeirError} with one of the codes, or with any code if none is given. */
export function isWeirError<C extends ErrorCode>(
  error: unknown,
  ...codes: readonly C[]
): error is WeirError & { readonly code: C } {
  return error instanceof WeirError && (codes.length === 0 || codes.some((code) => code === error.code));
}

/** `error` itself if it is a {@link WeirError}, else an `internal` one with `error` as its cause. */
export function toWeirError(error: unknown): WeirError {
  if (error instanceof WeirError) return error;
  return new WeirError('internal', errorMessage(error), { cause: error });
}

/** The thrown value, wrapped in an Error if it is none. */
export function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

/** The message of a thrown value. */
export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The `code` of a Node.js system error (`ENOSPC`, `ECONNREFUSED`); undefined if it has none. */
export function systemCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** Upstream has not decided: such a failure says nothing about the caller, nor about what was asked for. */
export const UNANSWERED: readonly ErrorCode[] = [
  'upstream_unreachable',
  'upstream_timeout',
  'upstream_stalled',
  'upstream_cut',
  'upstream_throttled',
];

/** What the kernel says if there is no way from this machine, at once and to all behind it. */
const NO_ROUTE: ReadonlySet<unknown> = new Set(['EHOSTUNREACH', 'ENETUNREACH', 'ENETDOWN']);

/** Whether a request failed because this machine has no way to its target, so that nobody else here has one. */
export function hasNoRoute(error: WeirError): boolean {
  return NO_ROUTE.has(error.detail['reason']);
}

/**
 * Ends a dispatcher: a kind that no branch handles does not compile.
 * @throws TypeError if a value reaches it all the same
 */
export function assertNever(value: never): never {
  throw new TypeError(`no branch handles ${JSON.stringify(value)}`);
}
