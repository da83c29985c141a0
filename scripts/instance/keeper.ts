/** What keeps a daemon running: systemd where it runs, else our supervisor. */

export type Service = {
  readonly name: "controller" | "agent";
  readonly summary: string;
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  /** Changes with the code or the settings; a service of another version is started anew. */
  readonly version: string;
};

export type Keeper = {
  /** Idempotent. Resolves when the program was started, not when it is ready. */
  readonly start: (service: Service) => Promise<"started" | "restarted" | "running">;
  /** Idempotent. Resolves when the program has ended. */
  readonly stop: (name: Service["name"]) => Promise<"stopped" | "absent">;
  /** Idempotent. Forgets a stopped service, with all files that `start` made. */
  readonly remove: (name: Service["name"]) => Promise<void>;
  /** True when it ended by itself since `start`. */
  readonly hasFailed: (name: Service["name"]) => Promise<boolean>;
  /** The end of what it wrote, for an error message. */
  readonly readLog: (name: Service["name"]) => Promise<string>;
  /** The command that shows it to a person. */
  readonly logCommand: (name: Service["name"]) => string;
};
