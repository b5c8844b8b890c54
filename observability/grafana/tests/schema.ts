// What a dashboard of this folder may hold: Grafana's own types, with options that Grafana fills in itself left out at
// will. `cargo xtask observability` assigns every dashboard to `Provisioned`, so that a wrong name or value is found.
import type { AnnotationQuery, Dashboard, FieldConfigSource, GraphFieldConfig, Panel } from '@grafana/schema';
import type * as barGauge from '@grafana/schema/dist/types/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen.d.ts';
import type * as gauge from '@grafana/schema/dist/types/raw/composable/gauge/panelcfg/x/GaugePanelCfg_types.gen.d.ts';
import type * as heatmap from '@grafana/schema/dist/types/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen.d.ts';
import type * as logs from '@grafana/schema/dist/types/raw/composable/logs/panelcfg/x/LogsPanelCfg_types.gen.d.ts';
import type * as stat from '@grafana/schema/dist/types/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen.d.ts';
import type * as states from '@grafana/schema/dist/types/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen.d.ts';
import type * as table from '@grafana/schema/dist/types/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen.d.ts';
import type * as text from '@grafana/schema/dist/types/raw/composable/text/panelcfg/x/TextPanelCfg_types.gen.d.ts';
import type * as series from '@grafana/schema/dist/types/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen.d.ts';

/** A value as JSON writes it: members of enumerations are their plain values. */
type Json<T> = T extends string
  ? `${T}`
  : T extends number | boolean | null | undefined
    ? T
    : T extends (infer Item)[]
      ? Json<Item>[]
      : T extends object
        ? { [Key in keyof T]: Json<T[Key]> }
        : T;

/** Options, each of which has a default. */
type Options<T> = T extends (infer Item)[] ? Item[] : T extends object ? { [Key in keyof T]?: Options<T[Key]> } : T;

interface Source {
  type: string;
  uid: string;
}

/** A query of Prometheus; Loki's and Tempo's have their own fields. */
interface Query {
  refId: string;
  datasource: Source;
  expr?: string;
  legendFormat?: string;
  instant?: boolean;
  range?: boolean;
  format?: 'time_series' | 'table' | 'heatmap';
  interval?: string;
  exemplar?: boolean;
  hide?: boolean;
  editorMode?: 'code' | 'builder';
  // Loki and Tempo.
  queryType?: string;
  query?: string;
  limit?: number;
  tableType?: string;
  maxLines?: number;
}

type Config<Custom> = Omit<FieldConfigSource, 'defaults'> & {
  defaults: Omit<FieldConfigSource['defaults'], 'custom'> & { custom?: Options<Custom> };
};

type Drawn<Type extends string, Opts, Custom> = Omit<
  Panel,
  'type' | 'options' | 'fieldConfig' | 'targets' | 'id' | 'title' | 'description' | 'gridPos' | 'datasource'
> & {
  id: number;
  type: Type;
  title: string;
  description: string;
  datasource?: Source;
  gridPos: { x: number; y: number; w: number; h: number };
  options?: Options<Opts>;
  fieldConfig?: Config<Custom>;
  targets: Query[];
};

type Nothing = Record<string, never>;

/** Panels that ask nothing of a data source. */
type Silent =
  | Omit<Drawn<'text', text.Options, Nothing>, 'targets'>
  // Grafana publishes no type for this one's options.
  | Omit<Drawn<'alertlist', Record<string, unknown>, Nothing>, 'targets'>;

interface Row {
  id: number;
  type: 'row';
  title: string;
  collapsed: boolean;
  gridPos: { x: number; y: number; w: number; h: number };
  panels: Shown[];
}

type Shown =
  | Drawn<'stat', stat.Options, Nothing>
  | Drawn<'timeseries', series.Options, GraphFieldConfig>
  | Drawn<'table', table.Options, table.FieldConfig>
  | Drawn<'bargauge', barGauge.Options, Nothing>
  | Drawn<'gauge', gauge.Options, Nothing>
  | Drawn<'heatmap', heatmap.Options, heatmap.FieldConfig>
  | Drawn<'state-timeline', states.Options, states.FieldConfig>
  | Drawn<'logs', logs.Options, Nothing>
  | Silent;

/** A mark in time: where it comes from Prometheus, when a query has values. */
type Mark = Omit<AnnotationQuery, 'target' | 'datasource'> & {
  datasource: Source;
  target?: Query | { type: 'dashboard'; limit: number; matchAny: boolean; tags: string[] };
  // What the Prometheus data source makes of the values.
  expr?: string;
  step?: string;
  titleFormat?: string;
  textFormat?: string;
  tagKeys?: string;
  useValueForTime?: boolean | 'on';
};

export type Provisioned = Json<
  Omit<Dashboard, 'panels' | 'annotations' | 'uid' | 'title' | 'description' | 'tags'> & {
    uid: string;
    title: string;
    description: string;
    tags: string[];
    annotations: { list: Mark[] };
    panels: (Shown | Row)[];
  }
>;
