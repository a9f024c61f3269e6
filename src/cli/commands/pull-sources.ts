/** Where the bytes of a pull came from, as the node tells at its admin address. The pull itself sees the mirror alone. */
import { AdminClient } from '../../status/admin-client.ts';
import type { PullReport } from '../../status/pull-report.ts';
import { SECOND, systemClock } from '../../util/clock.ts';
import { CLIENT_NAME } from '../client/registry-session.ts';

/** Milliseconds for which the node is asked: it has counted the last bytes a moment after they were read. */
const PATIENCE = 1.5 * SECOND;
const LOOK_EVERY = 50;
/** Milliseconds by which the clocks of this command and of the node, on one machine, may differ. */
const SKEW = 1 * SECOND;

export interface OwnPull {
  readonly image: string;
  /** Milliseconds since the epoch. */
  readonly began: number;
}

/** Undefined if the node does not tell: another node may listen there, or none. Never rejects. */
export async function sourcesOf(admin: URL, { image, began }: OwnPull): Promise<PullReport | undefined> {
  const signal = AbortSignal.timeout(PATIENCE);
  await using client = new AdminClient(admin);
  for (;;) {
    try {
      const { pulls } = await client.pulls({ image }, { signal });
      const own = pulls.find(
        (pull) =>
          pull.image === image && pull.client === CLIENT_NAME && Date.parse(pull.began) >= began - SKEW,
      );
      if (own !== undefined && own.state !== 'pulling') return own;
      await systemClock.sleep(LOOK_EVERY, { signal });
    } catch {
      return undefined; // the pull is done; what is missing is a remark
    }
  }
}
