/** Waiting for work without owning it: who gives up goes, and the work goes on for others. */

/**
 * Settles as `work` does, or rejects when the signal is aborted first.
 *
 * `work` is listened to from the first moment on, also where the signal is aborted already. It may reject later, when
 * nobody is left: a rejection that nobody listens to would end the whole process, and with it the pulls of all others.
 * @param reasonOf what it rejects with then; default: the signal's reason
 */
export async function abortable<T>(
  work: Promise<T>,
  signal: AbortSignal | undefined,
  reasonOf: (signal: AbortSignal) => unknown = ({ reason }) => reason,
): Promise<T> {
  if (signal === undefined) return work;
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(reasonOf(signal));
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort(); // the event has passed
  try {
    return await Promise.race([aborted, work]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
