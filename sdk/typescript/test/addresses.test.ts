import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import * as http from "node:http";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { host, PolicyDenied, Sandbox, Server, TransportError } from "../src/index.js";

const mvmctl = process.env["MVM_MVMCTL"] ?? "mvmctl";

/** Runs `mvmctl serve` for as long as a test takes. */
async function serving(options: readonly string[], server: Server, test: () => Promise<void>): Promise<void> {
  const child = spawn(mvmctl, ["serve", ...options], { stdio: ["ignore", "inherit", "pipe"] });
  child.stderr.resume();
  const gone = once(child, "exit");
  try {
    for (let tries = 0; ; tries += 1) {
      try {
        await host({ server });
        break;
      } catch (error) {
        if (tries > 100 || !(error instanceof TransportError)) throw error;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
    await test();
  } finally {
    child.kill("SIGTERM");
    await gone;
  }
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, "close");
  return port;
}

describe("mvmctl serve", { timeout: 120_000 }, () => {
  let directory: string;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "mvm-serve-"));
    await writeFile(join(directory, "token"), "a-token-of-this-test\n", { mode: 0o600 });
  });
  after(async () => {
    await rm(directory, { recursive: true });
  });

  it("is found on a socket, also by MVM_URL", async () => {
    const url = `unix://${join(directory, "mvm.sock")}`;
    await serving(["--socket", join(directory, "mvm.sock")], Server.at(url), async () => {
      await using sandbox = await Sandbox.create({ server: Server.at(url) });
      assert.equal((await sandbox.commands.run("exit 2")).exitCode, 2);
      process.env["MVM_URL"] = url;
      try {
        assert.equal((await (await Sandbox.connect(sandbox.id)).commands.run("exit 3")).exitCode, 3);
      } finally {
        delete process.env["MVM_URL"];
      }
    });
  });

  it("is found on TCP, with its token", async () => {
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    const server = Server.at(url, { token: "a-token-of-this-test" });
    const options = ["--listen", `127.0.0.1:${port}`, "--token-file", join(directory, "token")];
    await serving(options, server, async () => {
      await using sandbox = await Sandbox.create({ server });
      assert.equal((await sandbox.commands.run(["cat"], { stdin: "over TCP" })).stdoutText, "over TCP");
      await assert.rejects(host({ server: Server.at(url) }), PolicyDenied);
      await assert.rejects(host({ server: Server.at(url, { token: "another" }) }), PolicyDenied);
    });
  });

  it("is found on TLS, and refused where its certificate is not trusted", async (context) => {
    const [key, certificate] = [join(directory, "key.pem"), join(directory, "certificate.pem")];
    const made = spawnSync("openssl", [
      ..."req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost".split(" "),
      ..."-addext subjectAltName=DNS:localhost,IP:127.0.0.1".split(" "),
      ...["-keyout", key, "-out", certificate],
    ]);
    if (made.status !== 0) {
      context.skip("there is no openssl to make a certificate with");
      return;
    }
    const port = await freePort();
    const url = `https://127.0.0.1:${port}`;
    const token = "a-token-of-this-test";
    const server = Server.at(url, { token, certificateAuthority: await readFile(certificate) });
    const options = ["--listen", `127.0.0.1:${port}`, "--token-file", join(directory, "token")];
    await serving([...options, "--certificate", certificate, "--key", key], server, async () => {
      await using sandbox = await Sandbox.create({ server });
      assert.equal((await sandbox.commands.run("echo sealed")).stdoutText, "sealed\n");
      await assert.rejects(host({ server: Server.at(url, { token }) }), TransportError);
    });
  });
});

describe("something that is no server of mvm", { timeout: 30_000 }, () => {
  /** Asks a stand-in that answers in its own way. */
  async function answeredBy(listener: http.RequestListener, ask: (server: Server) => Promise<void>): Promise<void> {
    const standIn = http.createServer(listener).listen(0, "127.0.0.1");
    await once(standIn, "listening");
    try {
      await ask(Server.at(`http://127.0.0.1:${(standIn.address() as AddressInfo).port}`));
    } finally {
      standIn.closeAllConnections();
      standIn.close();
    }
  }

  it("is told when it is silent, which ends at the timeout or the signal", async () => {
    const silent = (): void => undefined;
    await answeredBy(silent, async (server) => {
      await assert.rejects(host({ server, requestTimeoutMs: 50 }), (error: unknown) => {
        const { code, retryable, message } = error as { code: string; retryable: boolean; message: string };
        assert.deepEqual([code, retryable], ["Timeout", true]);
        assert.match(message, /GET \/v1\/host was not answered within 50 ms/);
        return true;
      });
      await assert.rejects(host({ server, signal: AbortSignal.timeout(50) }), { name: "TimeoutError" });
    });
  });

  it("is told when it hangs up, says something else, or less than it should", async () => {
    const answers: http.RequestListener[] = [
      (_, response) => response.destroy(),
      (_, response) => response.end("<html>"),
      (_, response) => response.end("[]"),
      (_, response) => response.end("{}"),
      (_, response) => response.writeHead(500).end("<html>"),
      (_, response) => {
        response.writeHead(200, { "content-length": "100" }).write("{");
        setTimeout(() => response.destroy(), 20);
      },
    ];
    for (const answer of answers) {
      await answeredBy(answer, async (server) => {
        await assert.rejects(host({ server }), TransportError);
        await assert.rejects(Sandbox.create({ server }), TransportError);
      });
    }
  });

  it("is told when it refuses a body before it has read it", async () => {
    const refuse: http.RequestListener = (_, response) => {
      response.writeHead(404, { "content-type": "application/problem+json", connection: "close" });
      response.end(JSON.stringify({ code: "NotFound", detail: "no such sandbox" }));
    };
    await answeredBy(refuse, async (server) => {
      for (let tries = 0; tries < 20; tries += 1) {
        await assert.rejects(server.ask("PUT", "/v1/x", { body: new Uint8Array(4_000_000) }), (error: unknown) => {
          const { code } = error as { code: string };
          // A reset may overtake the answer.
          assert.ok(code === "NotFound" || code === "TransportError", code);
          return true;
        });
      }
    });
  });
});
