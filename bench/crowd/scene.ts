/** Parts that all turns of a run share. */
import type { TestImage } from '../../test/support/images.ts';
import type { Registry } from '../../test/support/registry.ts';
import type { Network, Place } from './network.ts';
import type { CrowdSettings } from './options.ts';
import type { NodePlan } from './plan.ts';

export interface Scene {
  readonly settings: CrowdSettings;
  readonly network: Network;
  readonly registry: Registry;
  readonly registryPlace: Place;
  readonly wares: Wares;
  /** Bytes of its config and layers. */
  readonly imageBytes: number;
  /** Images for the warm-up: a small one, and `--pulled` large ones. */
  readonly warmUp: readonly [small: Wares, ...large: Wares[]];
  /** Folder of the report. */
  readonly out: string;
  /** Tells how far the run is. */
  readonly say: (message: string) => void;
  readonly signal: AbortSignal;
}

/** An image in the registry. */
export interface Wares {
  readonly image: TestImage;
  /** `repository:tag`. */
  readonly path: string;
}

/** A node of a turn: its host, and its plan. */
export interface Member {
  readonly place: Place;
  readonly plan: NodePlan;
}
