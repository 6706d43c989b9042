// Every source module of the packages: what it imports, what it exports, how long it is.
import { readFileSync } from "node:fs"
import { builtinModules } from "node:module"
import { join, posix } from "node:path"
import { parseSync, Visitor } from "vite"
import { type Package, scope } from "./packages.ts"

export interface Import {
  readonly specifier: string
  /** What is used of it; `*` for all, as far as this module tells. */
  readonly names: ReadonlySet<string>
}

export interface Module {
  /** `client/internal/time.ts` */
  readonly id: string
  readonly package: string
  /** Path below `src`. */
  readonly path: string
  readonly imports: ReadonlyArray<Import>
  readonly exports: ReadonlyArray<string>
  /** Lines that are neither blank nor comment. */
  readonly codeLines: number
}

const read = (owner: Package, path: string): Module => {
  const file = join(owner.folder, "src", path)
  const text = readFileSync(file, "utf8")
  const { comments, errors, module, program } = parseSync(file, text, { lang: "ts" })
  const [error] = errors
  if (error !== undefined) throw new Error(`${file}: ${error.message}`)

  const imports: Array<{ readonly specifier: string; readonly names: Set<string> }> = []
  const namespaces = new Map<string, Set<string>>()
  const all = (specifier: string) => imports.push({ specifier, names: new Set("*") })
  for (const { entries, moduleRequest } of module.staticImports) {
    const names = new Set<string>()
    imports.push({ specifier: moduleRequest.value, names })
    for (const { importName, localName } of entries) {
      if (importName.kind === "NamespaceObject") namespaces.set(localName.value, names)
      else names.add(importName.name ?? "default")
    }
  }
  for (const { importName, moduleRequest } of module.staticExports.flatMap(({ entries }) => entries)) {
    if (moduleRequest === null) continue
    imports.push({ specifier: moduleRequest.value, names: new Set([importName.name ?? "*"]) })
  }
  new Visitor({
    ImportExpression: ({ source }) => {
      if (source.type === "Literal" && typeof source.value === "string") all(source.value)
    },
    TSImportType: ({ source }) => void all(source.value),
    MemberExpression: ({ object, property }) => {
      if (object.type === "Identifier" && property.type === "Identifier") {
        namespaces.get(object.name)?.add(property.name)
      }
    },
    TSQualifiedName: ({ left, right }) => {
      if (left.type === "Identifier") namespaces.get(left.name)?.add(right.name)
    }
  }).visit(program)

  const code = comments.reduce(
    (rest, { end, start }) => rest.slice(0, start) + rest.slice(start, end).replaceAll(/[^\n]/g, " ") + rest.slice(end),
    text
  )
  return {
    id: `${owner.name}/${path}`,
    package: owner.name,
    path,
    imports,
    exports: module.staticExports.flatMap(({ entries }) =>
      entries.map(({ exportName }) => exportName.name ?? "default")
    ),
    codeLines: code.split("\n").filter((line) => line.trim() !== "").length
  }
}

export const readModules = (owners: ReadonlyArray<Package>): ReadonlyArray<Module> =>
  owners.flatMap((owner) => owner.sources.map((path) => read(owner, path)))

export const isBuiltin = (specifier: string): boolean =>
  specifier.startsWith("node:") || builtinModules.includes(specifier)

/** `@effect/platform-node` of `@effect/platform-node/NodeHttpClient`. */
export const packageOf = (specifier: string): string =>
  specifier.split("/", specifier.startsWith("@") ? 2 : 1).join("/")

/** The id of the module meant when it is one of ours, also `execution/../x.ts` outside `src`. */
export const resolve = (from: Module, specifier: string): string | undefined => {
  if (specifier.startsWith(".")) return posix.join(from.package, posix.dirname(from.path), specifier)
  if (!specifier.startsWith(scope)) return undefined
  const [name = "", ...path] = specifier.slice(scope.length).split("/")
  return `${name}/${path.length === 0 ? "index" : path.join("/")}.ts`
}
