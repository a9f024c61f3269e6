/** What libp2p throws, as what it means to Weir. */
import { errorMessage, isWeirError, WeirError } from '../util/errors.ts';

/**
 * The error of something done with a peer. `signal` is the caller's: its reason goes through as it is.
 * @param fallback what an error is whose name says nothing
 */
export function peerError(
  error: unknown,
  what: string,
  fallback: 'peer_unreachable' | 'peer_cut',
  signal?: AbortSignal,
): unknown {
  if (signal?.aborted === true) return signal.reason;
  if (isWeirError(error)) return error;
  const message = `${what}: ${errorMessage(error)}`;
  const name = error instanceof Error ? error.name : '';
  if (
    name === 'UnsupportedProtocolError' ||
    name === 'DialDeniedError' ||
    name === 'ConnectionInterceptedError'
  ) {
    return new WeirError('peer_refused', message, { cause: error });
  }
  if (name === 'TimeoutError' && fallback === 'peer_cut') {
    return new WeirError('peer_stalled', message, { cause: error });
  }
  return new WeirError(fallback, message, { cause: error });
}
