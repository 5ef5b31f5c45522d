import assert from "node:assert/strict";
import { once } from "node:events";
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import { describe, it } from "node:test";

import { AdmissionFailed, Sandbox, Server, TransportError } from "../src/index.js";

/** What no real server can be made to do at will. */
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

function sandbox(id: string): Record<string, unknown> {
  const resources = { vcpus: 1, memory_mib: 256, disk_mib: 4096 };
  return { id, state: "running", image: "i", resources, created_at_ms: 1, ownership: "leased", origin: "spare" };
}

/** Answers a lease with events, in pieces of a few bytes, and tells when the client hangs up. */
function leasing(events: readonly unknown[], hungUp: () => void): http.RequestListener {
  return (_, response) => {
    response.on("close", hungUp);
    response.writeHead(200, { "content-type": "application/x-ndjson" });
    const bytes = Buffer.from(events.map((event) => `${JSON.stringify(event)}\n`).join(""));
    const send = (at: number): void => {
      if (at >= bytes.length || response.destroyed) return;
      response.write(bytes.subarray(at, at + 7));
      setImmediate(send, at + 7);
    };
    send(0);
  };
}

describe("a lease", { timeout: 30_000 }, () => {
  const made = (index: number): unknown => ({ event: "sandbox", index, sandbox: sandbox(`sb-${index}`) });

  it("is read whatever its pieces are, and held", async () => {
    let over = false;
    const events = [{ event: "progress", stage: "gehört ✓" }, { event: "later-version" }, made(1), made(0), { event: "ready" }];
    const listener = leasing(events, () => (over = true));
    await answeredBy(listener, async (server) => {
      const stages: string[] = [];
      const forks = await Sandbox.forkSnapshot("s", 2, { server, onProgress: (stage) => stages.push(stage) });
      assert.deepEqual([stages, forks.map(({ id }) => id)], [["gehört ✓"], ["sb-0", "sb-1"]]);
      await new Promise((resolve) => setTimeout(resolve, 100));
      assert.equal(over, false);
    });
  });

  it("is given up as a whole where one sandbox fails, or a callback does", async () => {
    const problem = { code: "AdmissionFailed", detail: "no", hint: "ask" };
    const events = [{ event: "progress", stage: "x" }, made(0), { event: "failed", index: 1, problem }, { event: "ready" }];
    let hangUps = 0;
    const listener = leasing(events, () => (hangUps += 1));
    await answeredBy(listener, async (server) => {
      await assert.rejects(Sandbox.forkSnapshot("s", 2, { server }), AdmissionFailed);
      const mine = new Error("mine");
      const throwing = (): never => {
        throw mine;
      };
      await assert.rejects(Sandbox.create({ server, onProgress: throwing }), mine);
      for (let tries = 0; hangUps < 2; tries += 1) {
        assert.ok(tries < 100, "the connection is still there");
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    });
  });

  it("that ends too early made nothing", async () => {
    const listener: http.RequestListener = (_, response) => response.end(`${JSON.stringify(made(0))}\n`);
    await answeredBy(listener, async (server) => {
      await assert.rejects(Sandbox.create({ server }), TransportError);
    });
  });
});

describe("answers", { timeout: 30_000 }, () => {
  it("in pages are all read", async () => {
    const listener: http.RequestListener = (request, response) => {
      const cursor = new URL(request.url ?? "", "http://x").searchParams.get("cursor");
      const items = [sandbox(`sb-${cursor ?? "first"}`)];
      response.end(JSON.stringify({ items, next_cursor: cursor === null ? "a&b" : null }));
    };
    await answeredBy(listener, async (server) => {
      assert.deepEqual((await Sandbox.list({ server })).map(({ id }) => id), ["sb-first", "sb-a&b"]);
    });
  });

  it("that fall silent count as lost", async () => {
    const listener: http.RequestListener = (_, response) => {
      response.writeHead(200).write("x");
    };
    await answeredBy(listener, async (server) => {
      const stream = await server.open("GET", "/v1/x");
      assert.equal((await stream.next(1000))?.length, 1);
      await assert.rejects(stream.next(50), (error: unknown) => {
        assert.ok(error instanceof TransportError);
        assert.match(error.message, /silent for 50 ms/);
        return true;
      });
    });
  });

  it("go over connections that are used again, and survive one that was closed meanwhile", async () => {
    let connections = 0;
    const standIn = http.createServer((_, response) => response.end(JSON.stringify({ items: [], next_cursor: null })));
    standIn.on("connection", () => (connections += 1));
    standIn.listen(0, "127.0.0.1");
    await once(standIn, "listening");
    const server = Server.at(`http://127.0.0.1:${(standIn.address() as AddressInfo).port}`);
    for (let time = 0; time < 5; time += 1) await Sandbox.list({ server });
    assert.equal(connections, 1);
    for (let time = 0; time < 20; time += 1) {
      standIn.closeAllConnections();
      await Sandbox.list({ server });
    }
    standIn.closeAllConnections();
    standIn.close();
  });
});
