import type { DownloadTarget, PeerSource } from '../../src/pull/download-target.ts';

/** A pull in a swarm that brings no bytes by itself, and ends when the test says so. */
export class QuietPull implements PeerSource {
  readonly size: number;
  readonly hasPeers: boolean;
  isCutOff = false;
  readonly byPeer = new Map<never, number>();
  readonly fromUpstream = 0;
  readonly began: PromiseWithResolvers<DownloadTarget> = Promise.withResolvers();
  readonly ends: PromiseWithResolvers<void> = Promise.withResolvers();

  constructor(size: number, hasPeers: boolean) {
    this.size = size;
    this.hasPeers = hasPeers;
  }

  async fetchInto(lent: DownloadTarget): Promise<void> {
    lent.signal.addEventListener('abort', () => this.ends.reject(lent.signal.reason), { once: true });
    this.began.resolve(lent);
    await this.ends.promise;
  }

  abandon(): void {}

  judge(): void {}

  settle(): void {}
}
