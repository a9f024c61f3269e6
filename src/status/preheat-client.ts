/** Gives a node an order to preheat, and asks how far it is: `/v1/preheats` (docs/admin-api.md). */
import type { ErrorCode } from '../util/errors.ts';
import type { AdminClient } from './admin-client.ts';
import { preheatSchema, type PreheatReport } from './preheat-report.ts';

const PREHEATS = '/v1/preheats';

/** What a refusal of the node means; its text follows. */
const REFUSALS: Readonly<Partial<Record<number, ErrorCode>>> = {
  400: 'bad_request',
  401: 'upstream_unauthorized',
  413: 'bad_request',
  503: 'too_many_requests',
};

export interface PreheatAskOptions {
  /** Undefined: none is presented. */
  readonly token: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Has images pulled beforehand.
 * @param body of `POST /v1/preheats`
 * @throws WeirError as {@link AdminClient.status}; `upstream_unauthorized` for a wrong token, `bad_request`,
 *   `too_many_requests`
 */
export async function orderPreheat(
  client: AdminClient,
  body: Readonly<Record<string, unknown>>,
  options: PreheatAskOptions,
): Promise<PreheatReport> {
  return await client.ask(PREHEATS, preheatSchema, {
    method: 'POST',
    body: JSON.stringify(body),
    refusals: REFUSALS,
    ...options,
  });
}

/** The progress of an order that was given at this node. @throws WeirError as {@link orderPreheat}; `not_found` */
export async function preheatProgress(
  client: AdminClient,
  id: string,
  options: PreheatAskOptions,
): Promise<PreheatReport> {
  const refusals = { ...REFUSALS, 404: 'not_found' } as const;
  return await client.ask(`${PREHEATS}/${id}`, preheatSchema, { refusals, ...options });
}
