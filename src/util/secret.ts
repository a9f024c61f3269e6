/** Secrets that a caller shows. */
import { hash, timingSafeEqual } from 'node:crypto';

/** Whether both are the same, in a time that tells nothing of where they differ, or of their lengths. */
export function isSameSecret(shown: string | Uint8Array, known: string | Uint8Array): boolean {
  return timingSafeEqual(hash('sha256', shown, 'buffer'), hash('sha256', known, 'buffer'));
}
