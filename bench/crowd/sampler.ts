/** Samples figures that exist only during the pulls: bytes that leave the registry, open connections. */
import { setTimeout as delay } from 'node:timers/promises';
import { SECOND } from '../../src/util/clock.ts';
import { cpuSeconds } from '../support/process-usage.ts';
import { mainThreadSeconds } from '../support/threads.ts';
import type { Member, Scene } from './scene.ts';
import type { RunningSystem } from './systems/system.ts';

/** Milliseconds between two samples of the registry's link; each reads one small file. */
const LOOK = 250;
/** Samples of the link for one of the nodes: that reads a file for each node. */
const NODES_EVERY = 8;

export class Sampler implements AsyncDisposable {
  readonly curve: (readonly [seconds: number, bytes: number])[] = [];
  /** The most TCP connections of each node. */
  readonly connections: number[];
  /** The most TCP connections of the registry; null if they cannot be told from others. */
  registryConnections: number | null = null;
  /** CPU seconds of the processes of a node when they were last seen. */
  readonly cpu: number[];
  /** Part of it: their main threads. */
  readonly mainCpu: number[];
  readonly #scene: Scene;
  readonly #members: readonly Member[];
  readonly #system: RunningSystem;
  readonly #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #before = 0;
  #begin = 0;

  private constructor(scene: Scene, system: RunningSystem, members: readonly Member[]) {
    this.#scene = scene;
    this.#system = system;
    this.#members = members;
    this.connections = members.map(() => 0);
    this.cpu = members.map(() => 0);
    this.mainCpu = members.map(() => 0);
  }

  static async create(scene: Scene, system: RunningSystem, members: readonly Member[]): Promise<Sampler> {
    const sampler = new Sampler(scene, system, members);
    sampler.#before = await sampler.#sent();
    await sampler.#lookAtNodes();
    return sampler;
  }

  /** Samples from now on. @param begin the common start of all pulls, by performance.now() */
  run(begin: number): void {
    this.#begin = begin;
    this.#running = this.#run();
  }

  /** Takes the last sample. */
  async end(): Promise<void> {
    await this[Symbol.asyncDispose]();
    await this.#lookAtNodes();
  }

  /** Bytes that have left the registry since the start. */
  async leftRegistry(): Promise<number> {
    return (await this.#sent()) - this.#before;
  }

  async #lookAtNodes(): Promise<void> {
    for (const [index, { place }] of this.#members.entries()) {
      const open = (await place.connections()) ?? 0;
      this.connections[index] = Math.max(this.connections[index] ?? 0, open);
      for (const pid of this.#system.pids(index)) {
        // A node that has just died keeps its last figures.
        const seconds = await cpuSeconds(pid).catch(() => undefined);
        if (seconds !== undefined) this.cpu[index] = seconds;
        const main = await mainThreadSeconds(pid).catch(() => undefined);
        if (main !== undefined) this.mainCpu[index] = main;
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    this.curve.push([0, 0]);
    for (let look = 1; !this.#stop.signal.aborted; look++) {
      await delay(LOOK, undefined, { signal: this.#stop.signal }).catch(() => undefined);
      await this.#lookAtRegistry();
      if (look % NODES_EVERY === 0) await this.#lookAtNodes();
    }
  }

  async #lookAtRegistry(): Promise<void> {
    this.curve.push([(performance.now() - this.#begin) / SECOND, await this.leftRegistry()]);
    const open = await this.#scene.registryPlace.connections();
    if (open !== undefined) this.registryConnections = Math.max(this.registryConnections ?? 0, open);
  }

  /** Bytes on its link; on loopback, those of its log. */
  async #sent(): Promise<number> {
    return (await this.#scene.registryPlace.sent()) ?? this.#scene.registry.accessLog.bytes('/v2/');
  }
}
