// Questions to the broker's gateway.

const TOKEN = "ganger-token";
/** Longest wait for an answer: the gateway gives the broker 10 s. */
const PATIENCE_MS = 15_000;

/** An answer that says no. */
export class Refused extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

let askForToken = async () => false;
let asking = null;
/** Whoever said "not now" is not asked again by itself. */
let isDeclined = false;

/** How a token is got from whoever sits here: resolves to it, or to nothing. */
export function onTokenNeeded(dialog) {
  askForToken = dialog;
}

/** The next request that lacks a token asks for one. */
export function askForTokenAgain() {
  isDeclined = false;
}

/** Reads something. */
export function get(path, options = {}) {
  return ask("GET", path, undefined, options);
}

/** Asks for something to be done. */
export function call(method, path, body) {
  return ask(method, path, body, {});
}

async function ask(method, path, body, options) {
  for (;;) {
    const token = sessionStorage.getItem(TOKEN);
    const answer = await send(method, path, body, token);
    const text = await answer.text();
    if (answer.ok) return text === "" ? null : read(text, options.exact);
    const refused = refusal(answer, text);
    if (isDeclined || !wantsToken(refused, token)) throw refused;
    // Another request may have asked meanwhile: then there is a new token to try.
    if (sessionStorage.getItem(TOKEN) === token && !(await newToken(refused.message))) throw refused;
  }
}

async function send(method, path, body, token) {
  const headers = { Accept: "application/json" };
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  try {
    return await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
  } catch (error) {
    throw new Refused(0, "unreachable", error.name === "TimeoutError" ? "no answer in time" : "nobody answers");
  }
}

/** With `exact`, whole numbers that a double cannot hold keep all their digits. */
function read(text, exact) {
  if (!exact || typeof JSON.rawJSON !== "function") return JSON.parse(text);
  return JSON.parse(text, (_key, value, context) => {
    const isCut = typeof value === "number" && Number.isInteger(value) && !Number.isSafeInteger(value);
    return isCut && /^-?\d+$/.test(context.source) ? JSON.rawJSON(context.source) : value;
  });
}

function refusal(answer, text) {
  try {
    const { code, message } = JSON.parse(text);
    return new Refused(answer.status, String(code), String(message));
  } catch {
    return new Refused(answer.status, "not_understood", `status ${answer.status}`);
  }
}

/** Without a token, a name that is not this machine's own is refused as foreign; a token would do. */
function wantsToken(refused, token) {
  return refused.status === 401 || (refused.status === 403 && refused.code === "foreign" && !token);
}

function newToken(why) {
  asking ??= askForToken(why).then((token) => {
    asking = null;
    isDeclined = !token;
    if (!token) return false;
    // Only for as long as this tab lives.
    sessionStorage.setItem(TOKEN, token);
    return true;
  });
  return asking;
}

let routes = null;

/** Whether the broker has a route, by its description. */
export async function has(method, path) {
  routes ??= get("/v1/openapi.json").then((page) => page.paths ?? {});
  try {
    return Boolean((await routes)[path]?.[method]);
  } catch {
    routes = null;
    return false;
  }
}

/** A path with parts that may hold anything. */
export function path(strings, ...parts) {
  return strings.reduce((whole, text, index) => whole + encodeURIComponent(parts[index - 1]) + text);
}
