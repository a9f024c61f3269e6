/** Sends a part of a body, and ends that when the byte that it waits for does not come in time. */
import type { Content } from '../util/content.ts';
import type { BodyTarget } from './blob-reader.ts';

/** The reason with which a part of a body is ended. Made once: a reason costs a stack. */
export const OVER: Error = new Error('it is over');

export interface WatchedSend {
  /** The part of the body, from `start` to `end`. */
  readonly content: Content;
  readonly start: number;
  readonly end: number;
  /** Ends it for another reason. */
  readonly stop: AbortController;
  /** Resolves with whether the byte at `position` does not come in time, and soon once `over` is aborted; never rejects. */
  readonly untilStalled: (position: number, over: AbortSignal) => Promise<boolean>;
}

/**
 * @returns the position behind the last byte, and that of a byte that did not come in time, if there was one: a byte may have
 *   come after all
 * @throws as BodyTarget.send
 */
export async function sendWatched(
  target: BodyTarget,
  { content, start, end, stop, untilStalled }: WatchedSend,
): Promise<{ readonly position: number; readonly stalledAt: number | undefined }> {
  const over = new AbortController();
  let stalledAt: number | undefined;
  const watch = async (at: number): Promise<void> => {
    if (!(await untilStalled(at, over.signal))) return;
    stalledAt = at;
    stop.abort(OVER);
  };
  try {
    const position = await target.send(content, start, end, {
      stop: stop.signal,
      onWaiting: (at) => void watch(at),
    });
    return { position, stalledAt };
  } finally {
    over.abort(OVER);
  }
}
