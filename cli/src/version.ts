/** Of the whole project: its packages carry one version. */
export const VERSION = "0.1.0";
