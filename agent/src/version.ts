/** Of this agent, as it reports it. The same as in agent/package.json. */
export const AGENT_VERSION = "0.1.0";
