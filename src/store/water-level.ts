/**
 * Room that is shared fairly by those that want more than there is: each gets what it wants, up to a level that is the
 * same for all (max-min fairness). Pure.
 */

/** What each may have at most so that all together have no more than `room`; undefined where all fit as they are. */
export function waterLevel(wanted: readonly number[], room: number): number | undefined {
  let left = room;
  const ascending = wanted.toSorted((a, b) => a - b);
  for (const [at, want] of ascending.entries()) {
    const share = Math.floor(left / (ascending.length - at));
    if (want > share) return share;
    left -= want;
  }
  return undefined;
}
