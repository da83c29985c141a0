/** Of this controller. The same as in controller/package.json. */
export const VERSION = "0.1.0";
