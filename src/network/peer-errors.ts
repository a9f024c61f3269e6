/** Turns errors of libp2p into WeirErrors. */
import { errorMessage, isWeirError, WeirError } from '../util/errors.ts';

/**
 * The error of an operation with a peer.
 * @param signal the caller's: if it is aborted, its reason is returned as it is
 * @param fallback the code of errors whose name says nothing
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
