// The life of a reload, as the vendor's client sees it in the fake tenant.
import assert from "node:assert/strict";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import reloads from "@qlik/api/reloads";

const { TENANT_URL, TOKEN, FORBIDDEN_TOKEN } = process.env;
const as = (apiKey) => ({ hostConfig: { authType: "apikey", host: TENANT_URL, apiKey }, noCache: true });
const admin = as(TOKEN);

// refused checks that a call is refused with the status and the code.
const refused = (call, status, code) =>
  assert.rejects(call, (error) => {
    assert.equal(error.status, status, error);
    assert.equal(error.data.errors[0].code, code);
    assert.ok(error.data.errors[0].title);
    return true;
  });

// finished polls a reload until it has finished.
async function finished(id) {
  for (;;) {
    const { data } = await reloads.getReload(id, admin);
    if (!["QUEUED", "RELOADING", "CANCELING"].includes(data.status)) return data;
    await sleep(50);
  }
}

async function triggered(appId, body) {
  const { status, data } = await reloads.queueReload({ appId, ...body }, admin);
  assert.equal(status, 201);
  return data;
}

const ids = (response) => response.data.data.map((reload) => reload.id);
const history = (numbers) => numbers.map((n) => "5be59decca62aa00097268" + String(n).padStart(2, "0"));
const down = (from, to) => Array.from({ length: from - to + 1 }, (_, i) => from - i);

test("a reload is triggered, runs and succeeds", async () => {
  const request = { partial: true, weight: 3, resourceId: "5be59decca62aa00097268a4", resourceType: "automate" };
  const reload = await triggered("sales", { ...request, variables: { day: "1" } });
  const { id, appId, type, status, creationTime, tenantId, userId, links, ...rest } = reload;
  assert.deepEqual({ appId, type, status }, { appId: "sales", type: "external", status: "RELOADING" });
  for (const text of [id, creationTime, tenantId, userId]) assert.ok(text);
  assert.equal(links.self.href, `${TENANT_URL}/api/v1/reloads/${id}`);
  assert.deepEqual(rest, { ...request, startTime: creationTime });
  await refused(reloads.queueReload({ appId: "sales" }, admin), 429, "RELOADS-007");

  const last = await finished(id);
  assert.equal(last.status, "SUCCEEDED");
  assert.equal(Date.parse(last.endTime) - Date.parse(last.startTime), 5000);
  assert.equal(last.engineTime, last.endTime);
  assert.match(last.log, /Reload finished successfully/);
  await refused(reloads.cancelReload(id, admin), 409, "HTTP-409");
});

test("a failed reload tells the reason", async () => {
  const { status, errorCode, errorMessage } = await finished((await triggered("failing")).id);
  assert.deepEqual({ status, errorCode, errorMessage }, {
    status: "FAILED", errorCode: "EngineConnectionError", errorMessage: "failed to complete reload: unexpected EOF",
  });
});

test("a list is filtered, sorted and read page by page", async () => {
  const list = (query) => reloads.getReloads({ appId: "history", ...query }, admin);
  const first = await list({});
  assert.deepEqual([first.status, first.prev], [200, undefined]);
  assert.deepEqual(ids(first), history(down(24, 15)), "the newest 10 reloads");
  assert.ok(!("log" in first.data.data[0]));
  const second = await first.next();
  const third = await second.next();
  assert.deepEqual(ids(second), history(down(14, 5)));
  assert.deepEqual(ids(third), history(down(4, 0)));
  assert.equal(third.next, undefined);
  assert.deepEqual(ids(await third.prev()), ids(second));

  const filter = '(status eq "FAILED" or status eq "EXCEEDED_LIMIT") and partial eq "false" and type eq "chronos"';
  assert.deepEqual(ids(await list({ filter })), history([15, 5]));
  assert.deepEqual(ids(await list({ filter, sort: "+creationTime", limit: 1 })), history([5]));
  assert.deepEqual(ids(await list({ partial: true, limit: 3, sort: "-endTime" })), history([24, 22, 20]));
  assert.equal((await list({ log: true })).data.data[0].log, "Reload finished");
  await refused(list({ limit: 101 }), 400, "HTTP-400");
  await refused(list({ filter: "status is FAILED" }), 400, "HTTP-400");
});

test("a running and a queued reload are canceled", async () => {
  const running = await triggered("slow");
  const accepted = await reloads.cancelReload(running.id, admin);
  assert.deepEqual([accepted.status, accepted.data], [202, { status: "CANCELING" }]);
  assert.equal((await finished(running.id)).status, "CANCELED");

  const queued = await triggered("queued");
  assert.equal(queued.status, "QUEUED");
  assert.equal((await reloads.cancelReload(queued.id, admin)).status, 204);
  assert.equal((await finished(queued.id)).status, "CANCELED");
});

test("requests are refused with the documented codes", async () => {
  await refused(reloads.getReload("unknown", admin), 404, "HTTP-404");
  await refused(reloads.cancelReload("unknown", admin), 404, "HTTP-404");
  await refused(reloads.queueReload({ appId: "" }, admin), 400, "HTTP-400");
  await refused(reloads.queueReload({ appId: "unknown" }, admin), 404, "RELOADS-004");
  await triggered("quota");
  await refused(reloads.queueReload({ appId: "quota" }, admin), 403, "RELOADS-013");
  await refused(reloads.queueReload({ appId: "sales" }, as(FORBIDDEN_TOKEN)), 403, "RELOADS-003");
  await refused(reloads.getReloads({ appId: "sales" }, as("wrong")), 401, "HTTP-401");
});
