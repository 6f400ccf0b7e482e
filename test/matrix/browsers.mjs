// The browsers of the matrix, as programs that open an address: the page itself tells what became of it.

import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { run, start } from './processes.mjs';

const firefoxPreferences = [
  ['datareporting.policy.dataSubmissionEnabled', false],
  ['browser.shell.checkDefaultBrowser', false],
  ['browser.aboutwelcome.enabled', false],
  ['app.update.enabled', false],
  ['network.captive-portal-service.enabled', false],
  ['network.connectivity-service.enabled', false],
];

// Where Debian's packages put them; the variables name others.
export const chromium = process.env.CHROMIUM ?? '/usr/bin/chromium';
const firefox = process.env.FIREFOX ?? '/usr/bin/firefox-esr';
const webkit = process.env.WEBKIT ?? '/usr/lib/x86_64-linux-gnu/webkit2gtk-4.1/MiniBrowser';

const chromiumFlags = [
  '--headless=new',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--remote-debugging-port=0',
];

export const browsers = {
  Chromium: {
    programs: [chromium],
    open: (address, home, seconds) =>
      start(chromium, [...chromiumFlags, `--user-data-dir=${home}`, address], limits(home, seconds)),
    version: () => run(chromium, ['--version', '--no-sandbox']),
  },
  Firefox: {
    programs: [firefox],
    async open(address, home, seconds) {
      const lines = firefoxPreferences.map(([name, value]) => `user_pref("${name}", ${value});\n`);
      await writeFile(join(home, 'user.js'), lines.join(''));
      return start(firefox, ['--headless', '--no-remote', '--profile', home, address], limits(home, seconds));
    },
    version: () => run(firefox, ['--version']),
  },
  WebKit: {
    programs: [webkit, 'xvfb-run', 'xauth'],
    open: (address, home, seconds) =>
      start('xvfb-run', ['--auto-servernum', webkit, '--private', address], {
        ...limits(home, seconds),
        env: { HOME: home, LIBGL_ALWAYS_SOFTWARE: '1', WEBKIT_DISABLE_DMABUF_RENDERER: '1' },
      }),
    version: async () =>
      `WebKitGTK ${await run('dpkg-query', ['-W', '-f', '${Version}', 'libwebkit2gtk-4.1-0'])}`,
  },
};

const limits = (home, seconds) => ({ env: { HOME: home }, seconds });

/** Why a browser cannot be run here, or undefined. */
export function whyNot(name) {
  const missing = browsers[name].programs.find((program) => !isInstalled(program));
  return missing && `${missing} is not installed`;
}

/** Whether a program is there: at its path, or on the search path. */
function isInstalled(program) {
  if (program.includes('/')) return existsSync(program);
  return (process.env.PATH ?? '').split(delimiter).some((folder) => existsSync(join(folder, program)));
}

/** Opens a page until its outcome has come. */
export async function visit(name, address, outcome, seconds = 120) {
  const home = await mkdtemp(join(tmpdir(), 'wasm-attention-browser-'));
  await mkdir(home, { recursive: true });
  const browser = await browsers[name].open(address, home, seconds);
  try {
    const ended = browser.done.then(
      () => Promise.reject(new Error('the browser ended')),
      (error) => Promise.reject(error),
    );
    return await Promise.race([outcome, ended]);
  } finally {
    await browser.stop();
    await rm(home, { recursive: true, force: true, maxRetries: 5 });
  }
}
