/** Catalogues for editors: templates, scripts, translations, subgraphs, replaced classes. */
import * as Schema from "effect/Schema"
import * as Wire from "./Wire.ts"

/** `GET /workflow_templates`: names by pack; the file is `/api/workflow_templates/<pack>/<name>.json`. */
export const WorkflowTemplates = Wire.make("workflow templates", Schema.Record(Schema.String, Wire.strings))
export type WorkflowTemplates = Wire.Type<typeof WorkflowTemplates>

/** `GET /extensions`: paths of the scripts that packs bring, to be loaded without `/api`. */
export const Extensions = Wire.make("extensions", Wire.strings)
export type Extensions = Wire.Type<typeof Extensions>

/** `GET /i18n`: translations by language. */
export const Translations = Wire.make("translations", Schema.Record(Schema.String, Wire.json))
export type Translations = Wire.Type<typeof Translations>

const subgraph = Schema.Struct({
  source: Wire.nullish(Schema.String),
  name: Wire.nullish(Schema.String),
  info: Wire.nullish(Wire.object),
  data: Wire.nullish(Schema.String)
})

/** `GET /global_subgraphs` (0.3.67): blueprints by the hash of their source, without `data`. */
export const Subgraphs = Wire.make("subgraphs", Schema.Record(Schema.String, subgraph))
export type Subgraphs = Wire.Type<typeof Subgraphs>

/** `GET /global_subgraphs/{id}`: `data` is JSON in a string; null for an unknown id. */
export const Subgraph = Wire.make("subgraph", Schema.NullOr(subgraph))
export type Subgraph = Wire.Type<typeof Subgraph>

const replacement = Schema.Struct({
  new_node_id: Schema.String,
  old_node_id: Schema.String,
  old_widget_ids: Wire.nullish(Wire.strings),
  input_mapping: Wire.nullish(
    Schema.Array(
      Schema.Struct({
        new_id: Schema.String,
        old_id: Wire.nullish(Schema.String),
        set_value: Schema.optionalKey(Wire.json)
      })
    )
  ),
  output_mapping: Wire.nullish(Schema.Array(Schema.Struct({ new_idx: Wire.double, old_idx: Wire.double })))
})

/** What an old class becomes; each input of the new one comes from an old input or has a fixed value. */
export type Replacement = typeof replacement.Type

/** `GET /node_replacements` (0.14): by old class; applied only where the server lacks the old one. */
export const Replacements = Wire.make(
  "node replacements",
  Schema.Record(Schema.String, Schema.Array(replacement))
)
export type Replacements = Wire.Type<typeof Replacements>
