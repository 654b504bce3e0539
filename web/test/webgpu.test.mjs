/** WebGPU where the browser has an adapter; a software one will do. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { assertClean, open, says, tag, tokens } from "./harness.mjs";

const SOFTWARE = ["--no-sandbox", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan"];
const { page, seen } = await open({
  args: [...SOFTWARE, "--disable-background-networking", "--disable-component-update", "--no-first-run"],
});
const found = await page.isEnabled("#provider-webgpu");

test("tags and scores are those of the CPU", { skip: !found && "this Chromium has no WebGPU adapter" }, async () => {
  await tag(page, "They ate the fish");
  const expected = await tokens(page);
  await page.check("#provider-webgpu");
  await says(page, "#notices", /Now on WebGPU/);
  await tag(page, "");
  await tag(page, "They ate the fish");
  assert.match(await page.textContent("#speed"), /WebGPU$/);
  (await tokens(page)).forEach(([word, tagged, percent], i) => {
    assert.deepEqual([word, tagged], expected[i].slice(0, 2));
    assert.ok(Math.abs(percent - expected[i][2]) < 0.2);
  });
  await page.click("#selftest");
  await says(page, "#selftest-result", /✓ Agrees/);
});

test("no errors, no requests elsewhere", () => assertClean(seen));
