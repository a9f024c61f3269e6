/** The hash of an arriving blob. A byte worker computes it behind the prefix; if that worker ends, another one begins anew. */
import { isWeirError } from '../util/errors.ts';
import type { ByteFiles, FollowedBlob, Following } from './byte-files.ts';

/** Times that it is computed. */
const MAX_TRIES = 3;

export class WholeHash {
  readonly #files: ByteFiles;
  readonly #blob: FollowedBlob;
  #following: Following;

  constructor(files: ByteFiles, blob: FollowedBlob) {
    this.#files = files;
    this.#blob = blob;
    this.#following = files.follow(blob);
  }

  /** The follower that computes it now. */
  get following(): Following {
    return this.#following;
  }

  /** Hexadecimal; resolves once all of the blob is there. @throws WeirError `store_corrupt`, `worker_lost`, `aborted` */
  async hex(): Promise<string> {
    for (let tries = 1; ; tries++) {
      try {
        return await this.#following.hash;
      } catch (error) {
        if (!isWeirError(error, 'worker_lost') || tries === MAX_TRIES) throw error;
        this.#following = this.#files.follow(this.#blob);
      }
    }
  }

  /** All bytes are forgotten. */
  restart(): void {
    this.stop();
    this.#following = this.#files.follow(this.#blob);
  }

  stop(): void {
    this.#following.stop();
  }
}
