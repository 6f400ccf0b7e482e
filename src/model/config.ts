// Settings of a config.json, read one by one.
export class ConfigReader {}
