/** How many bytes may be on their way to a peer. */
import assert from 'node:assert/strict';
import { SendWindow } from '../../../src/bytes/send-window.ts';
import { KIB, MIB } from '../../../src/util/clock.ts';
import { WeirError } from '../../../src/util/errors.ts';

/** A link that delivers at a rate, and returns each mark when it has come. */
class Link {
  now = 0;
  readonly window: SendWindow;
  /** Bytes that were sent, and not delivered. */
  waiting = 0;
  /** The most of them, since it was set to 0. */
  most = 0;
  readonly #marks: { id: number; at: number }[] = [];
  /** When the last byte that was sent is there. */
  #freeAt = 0;
  readonly #delivered: { bytes: number; at: number }[] = [];

  constructor() {
    this.window = new SendWindow(
      (id) => this.#marks.push({ id, at: this.#freeAt + 1 }),
      () => this.now,
    );
  }

  /** Sends for so many milliseconds. @param rate bytes per millisecond @returns bytes that were delivered */
  async run(milliseconds: number, rate: number): Promise<number> {
    const end = this.now + milliseconds;
    let sent = 0;
    let next = this.window.take(this.window.step);
    let hasRoom = false;
    void next.then(() => (hasRoom = true));
    while (this.now < end) {
      await Promise.resolve();
      await Promise.resolve();
      if (hasRoom) {
        const { step } = this.window;
        this.#freeAt = Math.max(this.now, this.#freeAt) + step / rate;
        this.waiting += step;
        this.most = Math.max(this.most, this.waiting);
        sent += step;
        this.#delivered.push({ bytes: step, at: this.#freeAt });
        this.window.sent(step);
        hasRoom = false;
        next = this.window.take(this.window.step);
        void next.then(() => (hasRoom = true));
        continue;
      }
      this.now += 1;
      while ((this.#delivered[0]?.at ?? Infinity) <= this.now)
        this.waiting -= this.#delivered.shift()?.bytes ?? 0;
      while ((this.#marks[0]?.at ?? Infinity) <= this.now)
        this.window.returned(this.#marks.shift()?.id ?? -1);
    }
    return sent - this.waiting;
  }
}

describe('the window of bytes on their way', () => {
  it('is small on a slow link, and keeps it busy', async () => {
    const link = new Link();
    const rate = (2 * MIB) / 1000; // 2 MiB/s
    await link.run(1000, rate);
    link.most = 0;
    const delivered = await link.run(5000, rate);
    assert.ok(link.most <= 0.25 * 2 * MIB + 64 * KIB, `${link.most} bytes waited`);
    assert.ok(delivered > 0.95 * 10 * MIB, `${delivered} bytes in 5 s`);
  });

  it('grows on a fast link until it holds nothing up', async () => {
    const link = new Link();
    const rate = (1000 * MIB) / 1000;
    await link.run(200, rate);
    const delivered = await link.run(1000, rate);
    assert.ok(delivered > 0.8 * 1000 * MIB, `${delivered / MIB} MiB in 1 s`);
    assert.equal(link.window.step, 256 * KIB);
  });

  it('shrinks when a fast link becomes slow, down to its least', async () => {
    const link = new Link();
    await link.run(500, 1000 * KIB);
    await link.run(30_000, 200);
    link.most = 0;
    await link.run(5000, 200);
    assert.ok(link.most <= 96 * KIB, `${link.most} bytes waited`);
    assert.equal(link.window.step, 16 * KIB);
  });

  it('lets one frame go whatever its size, and tells for how long the next one waits', async () => {
    const link = new Link();
    await link.window.take(1 * MIB);
    link.window.sent(1 * MIB);
    assert.equal(link.window.waits, 0);
    const next = link.window.take(1);
    await Promise.resolve();
    link.now += 700;
    assert.equal(link.window.waits, 700);
    link.window.close(new WeirError('aborted', 'gone'));
    await assert.rejects(next, /gone/);
    await assert.rejects(link.window.take(1), /gone/);
  });

  it('passes over marks that it does not know', async () => {
    const link = new Link();
    await link.window.take(1 * MIB);
    link.window.sent(1 * MIB);
    link.window.returned(77);
    const next = link.window.take(1);
    link.window.returned(0);
    await next;
    link.window.mark(); // nothing was sent since
    link.window.returned(1);
  });
});
