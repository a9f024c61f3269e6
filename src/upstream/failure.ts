/** Turns errors of undici and Node into WeirErrors. */
import { errorMessage, isWeirError, systemCode, WeirError, type ErrorCode } from '../util/errors.ts';

/** Codes of undici (types/errors.d.ts) and Node. Other codes of Node mean that no connection was made. */
const CODES: Readonly<Record<string, ErrorCode>> = {
  UND_ERR_CONNECT_TIMEOUT: 'upstream_timeout',
  UND_ERR_HEADERS_TIMEOUT: 'upstream_timeout',
  ETIMEDOUT: 'upstream_timeout',
  UND_ERR_BODY_TIMEOUT: 'upstream_stalled',
  UND_ERR_SOCKET: 'upstream_cut',
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: 'upstream_cut',
  ECONNRESET: 'upstream_cut',
  EPIPE: 'upstream_cut',
  HPE_INVALID_EOF_STATE: 'upstream_cut',
  UND_ERR_HEADERS_OVERFLOW: 'upstream_protocol',
  UND_ERR_INVALID_ARG: 'bad_request',
};

/** Of OpenSSL's verification, of Node's check of the name, and alerts of the other side (RFC 8446 6.2). */
const TLS_CODE =
  /^(?:ERR_TLS_|ERR_SSL_|CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|INVALID_|HOSTNAME_MISMATCH|PATH_LENGTH_EXCEEDED|CRL_)/;

/** The error for a failed connection, request or body. */
export function transportError(error: unknown, origin: string): WeirError {
  if (error instanceof WeirError) return error;
  const code = systemCode(error) ?? '';
  const isParsing = isOfParser(error, code);
  if (TLS_CODE.test(code)) return tlsError(error, code, origin);
  const known = CODES[code] ?? (isParsing ? 'upstream_protocol' : 'upstream_unreachable');
  return new WeirError(known, `${origin}: ${errorMessage(error) || code}`, {
    cause: error,
    detail: { origin, ...(code !== '' && { reason: code }) },
  });
}

/**
 * Whether the answer's head was none for undici's parser. Of two lengths of one body it says that the body, of which nothing
 * has come, has another one.
 * @param error of a request without a head
 */
export function isOfHead(error: unknown): boolean {
  if (!isWeirError(error, 'upstream_protocol', 'upstream_cut')) return false;
  const code = systemCode(error.cause) ?? '';
  return code === 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH' || isOfParser(error.cause, code);
}

/** undici's parser gives some of its errors no code. */
function isOfParser(error: unknown, code: string): boolean {
  return code.startsWith('HPE_') || (error instanceof Error && error.name === 'HTTPParserError');
}

/** The registry was reached, so it is not asked again, and nothing remembered stands in for its answer. */
function tlsError(error: unknown, code: string, origin: string): WeirError {
  const wantsClient = /ALERT_(?:CERTIFICATE_REQUIRED|BAD_CERTIFICATE|HANDSHAKE_FAILURE)/.test(code);
  const host = new URL(origin).host;
  const cure = wantsClient
    ? `if it wants a client certificate, set registries.${host}.cert-file and key-file`
    : `if its CA is your own, set registries.${host}.ca-file`;
  // Node.js adds advice on its own options, and OpenSSL its files and lines.
  const whole = errorMessage(error).replace(/; if the root CA is installed.*$/s, '');
  const message = /:SSL routines:[^:]*:([^:]+):/.exec(whole)?.[1] ?? whole;
  return new WeirError('upstream_tls', `${origin}: ${message} (${code}); ${cure}`, {
    cause: error,
    detail: { origin, reason: code },
  });
}

/**
 * The error with which an aborted signal ends a call: its reason if that has a code, `upstream_timeout` for
 * `AbortSignal.timeout`, else `aborted`.
 */
export function abortError(signal: AbortSignal): WeirError {
  const reason: unknown = signal.reason;
  if (reason instanceof WeirError) return reason;
  if (reason instanceof DOMException && reason.name === 'TimeoutError') {
    return new WeirError('upstream_timeout', 'no answer in time', { cause: reason });
  }
  return new WeirError('aborted', 'the caller gave up', { cause: reason });
}

/** @throws WeirError see {@link abortError} */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw abortError(signal);
}
