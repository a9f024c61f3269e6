/** Waiting for the streams of tar-stream. */

interface Drainable {
  readonly destroyed: boolean;
  once(event: 'drain' | 'close', listener: () => void): unknown;
  off(event: 'drain' | 'close', listener: () => void): unknown;
}

/** Settles when the stream takes bytes again, or is closed: then nobody would drain it. */
export async function drained(stream: Drainable): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const go = (): void => resolve();
  stream.once('drain', go);
  stream.once('close', go);
  if (stream.destroyed) go();
  await promise;
  stream.off('drain', go);
  stream.off('close', go);
}
