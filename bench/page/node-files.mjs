// What peers ask of Node's `fs` and `url`, for a page: files are fetched from the server.

/** @param {URL} url */
export async function readFile(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url.pathname}: status ${response.status}`);
  return response.text();
}

/** @param {URL} url */
export const fileURLToPath = (url) => url.href;
