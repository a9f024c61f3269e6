/** The report of `/v1/log-level`, for both of its ends. */
import * as v from 'valibot';

/** Least severe level that is logged, the most talkative first. */
export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevelName = (typeof LOG_LEVELS)[number];

export interface LogLevelReport {
  readonly level: LogLevelName;
  /** The setting `log.level`: the node begins with it when it starts. */
  readonly configured: LogLevelName;
}

const level = v.picklist(LOG_LEVELS);

export const logLevelSchema: v.GenericSchema<unknown, LogLevelReport> = v.object({
  level,
  configured: level,
});

/** The body of `PUT /v1/log-level`. */
export const logLevelChangeSchema: v.GenericSchema<unknown, Pick<LogLevelReport, 'level'>> = v.strictObject({
  level,
});
