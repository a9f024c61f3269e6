/**
 * The progress of orders to preheat images, as JSON: `POST /v1/preheats`, `GET /v1/preheats` and `GET /v1/preheats/ID`.
 * docs/admin-api.md explains each field, and a test keeps page and schemas equal.
 */
import * as v from 'valibot';
import { PREHEAT_STATES, type PreheatState } from '../protocol/preheat-messages.ts';

/** Of an order. `partial`: it is over, and a chosen node lacks an image. */
export const ORDER_STATES = ['scheduled', 'running', 'done', 'partial'] as const;
export type OrderState = (typeof ORDER_STATES)[number];

/**
 * Of a node. `waiting`: it has not answered yet; `skipped`: it lacks an image only because that has no manifest for its
 * platform.
 */
export const NODE_STATES = ['waiting', 'accepted', 'pulling', 'done', 'skipped', 'failed'] as const;
export type NodeState = (typeof NODE_STATES)[number];

export interface PreheatImageReport {
  readonly state: PreheatState;
  readonly present_bytes: number;
  /** Bytes of config and layers; 0 if they are not known yet. */
  readonly size: number;
  readonly reason?: string | undefined;
}

export interface PreheatNodeReport {
  readonly peer: string;
  readonly name: string;
  readonly zone: string;
  readonly state: NodeState;
  readonly reason?: string | undefined;
  /** In the order of the order's images. */
  readonly images: readonly PreheatImageReport[];
}

export interface PreheatSummary {
  readonly id: string;
  readonly state: OrderState;
  readonly images: readonly string[];
  readonly zone?: string | undefined;
  /** `all`, `2`, `10%`. */
  readonly nodes: string;
  readonly platform?: string | undefined;
  /** RFC 3339, as {@link expires}. */
  readonly starts: string;
  readonly expires: string;
  readonly keep_seconds: number;
  /** Chosen nodes, and how many of them are over. */
  readonly chosen: number;
  readonly done: number;
  readonly skipped: number;
  readonly failed: number;
}

export interface PreheatReport extends PreheatSummary {
  readonly members: readonly PreheatNodeReport[];
}

export interface PreheatsReport {
  /** The latest first. */
  readonly preheats: readonly PreheatSummary[];
}

const amount = v.pipe(v.number(), v.minValue(0));
const time = v.pipe(v.string(), v.isoTimestamp());

const image = v.object({
  state: v.picklist(PREHEAT_STATES),
  present_bytes: amount,
  size: amount,
  reason: v.optional(v.string()),
});

const summary = {
  id: v.string(),
  state: v.picklist(ORDER_STATES),
  images: v.array(v.string()),
  zone: v.optional(v.string()),
  nodes: v.string(),
  platform: v.optional(v.string()),
  starts: time,
  expires: time,
  keep_seconds: amount,
  chosen: amount,
  done: amount,
  skipped: amount,
  failed: amount,
};

export const preheatSchema: v.GenericSchema<unknown, PreheatReport> = v.object({
  ...summary,
  members: v.array(
    v.object({
      peer: v.string(),
      name: v.string(),
      zone: v.string(),
      state: v.picklist(NODE_STATES),
      reason: v.optional(v.string()),
      images: v.array(image),
    }),
  ),
});

export const preheatsSchema: v.GenericSchema<unknown, PreheatsReport> = v.object({
  preheats: v.array(v.object(summary)),
});

/** Whether no chosen node changes any more. */
export function isOver({ state }: Pick<PreheatSummary, 'state'>): boolean {
  return state === 'done' || state === 'partial';
}
