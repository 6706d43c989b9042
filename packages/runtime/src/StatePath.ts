/** Where a user's programs keep what is to outlive them, by the custom of each system. */

/** What decides it. `platform` as Node names it, `home` the user's folder. */
export interface Surroundings {
  readonly platform: string
  readonly home: string
  readonly env: Readonly<Record<string, string | undefined>>
}

const name = "effect-comfyui"

/** The first of them that is an absolute path: the standard wants others to be left alone. */
const absolute = (path: string | undefined, is: RegExp): string | undefined =>
  path !== undefined && is.test(path) ? path : undefined

/**
 * The folder: `$XDG_STATE_HOME/effect-comfyui`, else `~/.local/state/effect-comfyui`; on macOS
 * `~/Library/Application Support/effect-comfyui` in the place of the latter; on Windows `%LOCALAPPDATA%\effect-comfyui`,
 * else `AppData\Local` of the user.
 */
export const folder = ({ env, home, platform }: Surroundings): string => {
  if (platform === "win32") {
    return `${absolute(env["LOCALAPPDATA"], /^([a-z]:[\\/]|\\\\)/i) ?? `${home}\\AppData\\Local`}\\${name}`
  }
  const otherwise = platform === "darwin" ? `${home}/Library/Application Support` : `${home}/.local/state`
  return `${absolute(env["XDG_STATE_HOME"], /^\//) ?? otherwise}/${name}`
}

/** The file of the durable queue. */
export const queue = (surroundings: Surroundings): string =>
  `${folder(surroundings)}${surroundings.platform === "win32" ? "\\" : "/"}queue.db`
