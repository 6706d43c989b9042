// Rules over single modules and packages: declared dependencies, used internals, length.
import { isBuiltin, type Module, packageOf, resolve } from "../lib/modules.ts"
import type { Package } from "../lib/packages.ts"
import type { Outcome } from "../lib/schedule.ts"

/** Every package that is imported stands in the package.json of its importer. */
export const declared = (owners: ReadonlyArray<Package>, modules: ReadonlyArray<Module>): Outcome => {
  const allowed = new Map(owners.map(({ manifest, name }) => [
    name,
    new Set([manifest.name, ...Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies })])
  ]))
  return {
    problems: modules.flatMap((module) =>
      module.imports
        .filter(({ specifier }) => !specifier.startsWith(".") && !isBuiltin(specifier))
        .filter(({ specifier }) => allowed.get(module.package)?.has(packageOf(specifier)) !== true)
        .map(({ specifier }) => `${module.id}: "${specifier}" is not declared in its package.json`)
    )
  }
}

const isInternal = (module: Module): boolean => module.path.startsWith("internal/")

/** What `internal/` exports is imported by another file of the package. */
export const usedInternals = (modules: ReadonlyArray<Module>): Outcome => {
  const used = new Map<string, Set<string>>()
  for (const module of modules) {
    for (const { names, specifier } of module.imports) {
      const target = resolve(module, specifier)
      if (target === undefined || target === module.id) continue
      used.set(target, new Set([...used.get(target) ?? [], ...names]))
    }
  }
  return {
    problems: modules.filter(isInternal).flatMap((module) => {
      const names = used.get(module.id) ?? new Set()
      return names.has("*")
        ? []
        : module.exports.filter((name) => !names.has(name)).map((name) => `${module.id}: nobody imports ${name}`)
    })
  }
}

const longest = 350

export const length = (modules: ReadonlyArray<Module>): Outcome => ({
  problems: modules
    .filter(({ codeLines }) => codeLines > longest)
    .map(({ codeLines, id }) => `${id}: ${codeLines} lines of code, ${longest} at most`)
})
