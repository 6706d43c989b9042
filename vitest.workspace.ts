import { defineConfig, defineProject, mergeConfig } from "vitest/config"

const conditions = ["@effect-comfyui/source"]

const shared = defineProject({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    include: ["**/*.test.ts"],
    exclude: ["**/node_modules/**", "**/dist/**"],
    typecheck: { enabled: true, checker: "tsc", include: ["**/*.test-d.ts"], tsconfig: "tsconfig.test.json" },
    sequence: { concurrent: true },
    testTimeout: 30_000
  }
})

const project = (name: string, root: string, tsconfig = "tsconfig.test.json") =>
  mergeConfig(shared, defineProject({ root, test: { name, typecheck: { tsconfig } } }))

/** One project per package, and one for what crosses packages. */
export default defineConfig({
  test: {
    projects: [
      project("workflow", "packages/workflow"),
      project("protocol", "packages/protocol"),
      project("execution", "packages/execution"),
      project("profiling", "packages/profiling"),
      project("client", "packages/client"),
      project("pool", "packages/pool"),
      project("runtime", "packages/runtime"),
      project("testing", "packages/testing"),
      project("examples", "examples", "tsconfig.json"),
      project("test", "test", "tsconfig.json")
    ]
  }
})
