/** What the chart carries for Prometheus and Grafana: the alerts, and the dashboard. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { CHART } from '../../deploy/helm.ts';

export const ALERTS_FILE: string = join(CHART, 'files/alerts.yaml');
export const DASHBOARD_FILE: string = join(CHART, 'files/dashboard.json');

export interface Alert {
  readonly alert: string;
  readonly expr: string;
  readonly for: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly fieldConfig?: { readonly defaults: { readonly unit?: string; readonly thresholds?: unknown } };
  readonly datasource?: unknown;
  readonly targets?: readonly { readonly expr: string; readonly datasource: unknown }[];
}

export interface Variable {
  readonly name: string;
  readonly type: string;
  readonly definition?: string;
  readonly allValue?: string;
}

export interface Dashboard {
  readonly panels: readonly Panel[];
  readonly templating: { readonly list: readonly Variable[] };
  readonly annotations: { readonly list: readonly { readonly expr: string }[] };
}

export async function readAlerts(): Promise<readonly Alert[]> {
  const { groups } = parse(await readFile(ALERTS_FILE, 'utf8')) as {
    groups: readonly { rules: readonly Alert[] }[];
  };
  return groups.flatMap(({ rules }) => rules);
}

export async function readDashboard(): Promise<Dashboard> {
  return JSON.parse(await readFile(DASHBOARD_FILE, 'utf8')) as Dashboard;
}
