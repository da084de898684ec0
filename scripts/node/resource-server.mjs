// A resource server as many are written for Node: it posts the token to the provider in a form, with its own id and
// secret in the form as well (client_secret_post), and reads a boolean `active` and a text `scope` (RFC 7662). It knows
// nothing of this project. Listens on a free port of 127.0.0.1 and prints where.
import { createServer } from "node:http";

const { OAUTH2_INTROSPECT_URL, OAUTH2_CLIENT_ID, OAUTH2_CLIENT_SECRET, REQUIRED_SCOPE = "read" } = process.env;

async function introspect(token) {
  const response = await fetch(OAUTH2_INTROSPECT_URL, {
    method: "POST",
    headers: { "Content-Type": "application/x-www-form-urlencoded" },
    body: new URLSearchParams({
      token,
      client_id: OAUTH2_CLIENT_ID,
      client_secret: OAUTH2_CLIENT_SECRET,
    }),
  });
  if (!response.ok) throw new Error(`introspection answered ${response.status}`);
  return response.json();
}

async function admit(authorization = "") {
  if (!authorization.startsWith("Bearer ")) return [401, { error: "missing_token" }];
  const answer = await introspect(authorization.slice("Bearer ".length));
  if (answer.active !== true) return [401, { error: "invalid_token" }];
  const scopes = answer.scope.split(" ");
  if (!scopes.includes(REQUIRED_SCOPE)) return [403, { error: "insufficient_scope" }];
  return [200, { client: answer.client_id, scopes, expires_at: answer.exp }];
}

const server = createServer(async (request, response) => {
  let status, body;
  try {
    [status, body] = await admit(request.headers.authorization);
  } catch (error) {
    console.error(error.message);
    [status, body] = [503, { error: "temporarily_unavailable" }];
  }
  response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(body));
});

server.listen(0, "127.0.0.1", () => {
  console.log(`listens on http://127.0.0.1:${server.address().port}`);
});
