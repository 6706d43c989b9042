// The tables of .ci/imports.ts held against every import.
import { deepOnly, directions, nodeModule, nodePackages, reserved } from "../imports.ts"
import { isBuiltin, type Module, packageOf, resolve } from "../lib/modules.ts"
import type { Package } from "../lib/packages.ts"
import type { Outcome } from "../lib/schedule.ts"

const needsNode = (specifier: string): boolean => isBuiltin(specifier) || nodePackages.includes(packageOf(specifier))

const ownProblem = (from: Module, target: string): string | undefined => {
  const [owner = "", ...path] = target.split("/")
  if (owner === from.package) return undefined
  if (target.startsWith("..") || !(owner in directions)) return "is outside every src"
  if (!directions[from.package]?.includes(owner)) return `${from.package} may not import ${owner}`
  if (path[0] === "internal") return "is internal to another package"
  const rule = reserved[from.package]
  if (rule?.packages.includes(owner) && !rule.modules.test(from.path)) return `only ${rule.modules} may import ${owner}`
  return undefined
}

const problem = (from: Module, specifier: string): string | undefined => {
  if (deepOnly.test(specifier)) return "is a barrel: import the module itself"
  if (needsNode(specifier) && !nodeModule.test(from.path)) return "needs Node: only in *Node.ts"
  const target = resolve(from, specifier)
  return target === undefined ? undefined : ownProblem(from, target)
}

/** The way from a barrel to the first thing that must not be reachable from one. */
const leak = (
  barrel: Module,
  modules: ReadonlyMap<string, Module>,
  optional: ReadonlySet<string>
): string | undefined => {
  const paths = [[barrel.id]]
  const seen = new Set<string>()
  for (const path of paths) {
    const module = modules.get(path.at(-1) ?? "")
    if (module === undefined) continue
    if (nodeModule.test(module.path)) return path.join(" → ")
    for (const { specifier } of module.imports) {
      if (isBuiltin(specifier) || optional.has(packageOf(specifier))) return [...path, specifier].join(" → ")
      const target = resolve(module, specifier)
      if (target === undefined || seen.has(target)) continue
      seen.add(target)
      paths.push([...path, target])
    }
  }
  return undefined
}

const optionalPeers = (owners: ReadonlyArray<Package>): ReadonlySet<string> =>
  new Set([
    ...nodePackages,
    ...owners.flatMap(({ manifest }) =>
      Object.entries(manifest.peerDependenciesMeta ?? {}).flatMap(([name, { optional }]) => optional ? [name] : [])
    )
  ])

export const direction = (owners: ReadonlyArray<Package>, modules: ReadonlyArray<Module>): Outcome => {
  const byId = new Map(modules.map((module) => [module.id, module]))
  const optional = optionalPeers(owners)
  return {
    problems: [
      ...owners.filter(({ name }) => !(name in directions)).map(({ name }) => `${name} is not in .ci/imports.ts`),
      ...modules.flatMap((module) =>
        module.imports.flatMap(({ specifier }) => {
          const found = problem(module, specifier)
          return found === undefined ? [] : [`${module.id}: "${specifier}" ${found}`]
        })
      ),
      ...modules.filter(({ path }) => path === "index.ts").flatMap((barrel) => {
        const path = leak(barrel, byId, optional)
        return path === undefined ? [] : [`a barrel reaches what needs Node or an optional peer: ${path}`]
      })
    ]
  }
}
