import type { Lent, SharedPull } from '../../src/pull/download-target.ts';

/** A pull in a swarm that brings nothing by itself, and ends when it is told. */
export class QuietPull implements SharedPull {
  readonly size: number;
  readonly hasCompany: boolean;
  readonly began: PromiseWithResolvers<Lent> = Promise.withResolvers();
  readonly ends: PromiseWithResolvers<void> = Promise.withResolvers();

  constructor(size: number, hasCompany: boolean) {
    this.size = size;
    this.hasCompany = hasCompany;
  }

  async fetchInto(lent: Lent): Promise<void> {
    lent.signal.addEventListener('abort', () => this.ends.reject(lent.signal.reason), { once: true });
    this.began.resolve(lent);
    await this.ends.promise;
  }

  abandon(): void {}

  judge(): void {}

  settle(): void {}
}
