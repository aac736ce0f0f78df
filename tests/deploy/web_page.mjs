// node web_page.mjs URL OUT IMAGE ...: uses the page at URL as a person does, in Chromium; prints what it shows. An image
// is taken by the keyboard, by choice on a phone, or by dropping it, in turns; pictures of the page go to OUT.
import { readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { launch } from "../browser.mjs";

const [url, out, ...images] = process.argv.slice(2);
const SCREENS = {
  keyboard: { viewport: { width: 1100, height: 1000 }, colorScheme: "light" },
  phone: { viewport: { width: 390, height: 844 }, colorScheme: "dark", isMobile: true, hasTouch: true },
  drop: { viewport: { width: 1100, height: 1000 }, colorScheme: "dark" },
};
const GIVE = {
  async keyboard(page, image) {
    await page.keyboard.press("Tab");
    const chooser = page.waitForEvent("filechooser");
    await page.keyboard.press("Enter");
    await (await chooser).setFiles(image);
  },
  async phone(page, image) {
    const chooser = page.waitForEvent("filechooser");
    await page.tap("#drop");
    await (await chooser).setFiles(image);
  },
  async drop(page, image) {
    const content = (await readFile(image)).toString("base64");
    const files = await page.evaluateHandle(([text, name]) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([Uint8Array.from(atob(text), (one) => one.charCodeAt(0))], name));
      return transfer;
    }, [content, basename(image)]);
    await page.dispatchEvent("#drop", "drop", { dataTransfer: files });
  },
};

const browser = await launch();
const seen = { images: {}, requests: [], faults: [] };
for (const [i, image] of images.entries()) {
  const way = Object.keys(GIVE)[i % 3];
  const page = await browser.newPage(SCREENS[way]);
  page.on("request", (request) => seen.requests.push(request.url()));
  page.on("pageerror", (error) => seen.faults.push(String(error)));
  page.on("console", (message) => message.type() === "error" && seen.faults.push(message.text()));
  page.on("filechooser", () => {}); // from now on they come to this script: the first one may open at once
  page.setDefaultTimeout(120_000);
  await page.goto(url);
  await page.waitForFunction(() => /^Ready|\./.test(document.getElementById("status").textContent));
  const ready = await page.textContent("#status");
  if (i === 0) await page.screenshot({ path: join(out, "start.png") });
  const before = seen.requests.length;
  await GIVE[way](page, image);
  await page.waitForSelector("#result:not([hidden]), #status.fault");
  const json = await page.textContent("#json");
  seen.images[basename(image)] = {
    ready,
    status: await page.textContent("#status"),
    boxes: json && JSON.parse(json),
    drawn: await page.locator("#boxes polygon").count(),
    wider: await page.evaluate(() => document.documentElement.scrollWidth > innerWidth),
    milliseconds: await page.textContent("#total"),
    requests: seen.requests.slice(before),
  };
  await page.screenshot({ path: join(out, `${way}.png`), fullPage: true });
  await page.close();
}
await browser.close();
console.log(JSON.stringify(seen));
