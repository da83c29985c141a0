/** What the registry says about itself; a pino logger fits. Never given tokens or bodies. */
export type RegistryLogger = {
  readonly warn: (fields: object, message: string) => void;
  readonly error: (fields: object, message: string) => void;
};
