/** Talking to the server: the key, errors that people can read, and server-sent events. */

const KEY = "lamps-jax-key";

export const key = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (value) => value ? sessionStorage.setItem(KEY, value) : sessionStorage.removeItem(KEY),
};

/** An answer that is none; `status` is 0 where the server was not reached. */
export class ApiError extends Error {
  constructor(message, { status = 0, code = null } = {}) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** The response to a request that went well; anything else is thrown as an `ApiError`, but for an abort. */
export async function request(path, { headers = {}, ...options } = {}) {
  const authorization = key.get() ? { Authorization: `Bearer ${key.get()}` } : {};
  let response;
  try {
    response = await fetch(path, { cache: "no-store", ...options, headers: { ...headers, ...authorization } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The server does not answer.");
  }
  if (!response.ok) throw await errorOf(response);
  return response;
}

/** The JSON of each event of a stream. */
export async function* events(response) {
  const reader = response.body.getReader(), decoder = new TextDecoder();
  try {
    for (let held = "";;) {
      const { done, value } = await reader.read();
      if (done) return;
      const parts = (held + decoder.decode(value, { stream: true })).split("\n\n");
      held = parts.pop();
      for (const part of parts) {
        const lines = part.split("\n").filter((line) => line.startsWith("data:"));
        const data = lines.map((line) => line.slice(5).trimStart()).join("\n");
        if (data === "[DONE]") return;
        if (data) yield JSON.parse(data);
      }
    }
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The connection broke off.");
  } finally {
    reader.cancel().catch(() => {});
  }
}

async function errorOf(response) {
  let message = `The server answered ${response.status}.`, code = null;
  try {
    ({ message, code } = (await response.json()).error);
  } catch { /* not in the form of the API: the status has to do */ }
  const seconds = response.headers.get("Retry-After");
  if (seconds) message += ` Try again in ${seconds} s.`;
  return new ApiError(message, { status: response.status, code });
}
