// node report_page.mjs FILE OUT POSITIONS: reads a report as a person does, in Chromium; prints what it shows.
// POSITIONS: {slider: [index, ...]}. Each slider is moved there by the keyboard; pictures of the page go to OUT.
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { launch } from "../../browser.mjs";

const [file, out, positions] = process.argv.slice(2);
const SCREENS = {
  desktop: { viewport: { width: 1200, height: 900 }, colorScheme: "light" },
  dark: { viewport: { width: 1200, height: 900 }, colorScheme: "dark" },
  phone: { viewport: { width: 390, height: 844 }, colorScheme: "light", isMobile: true, hasTouch: true },
};

const browser = await launch();

async function opened(screen, seen) {
  const page = await browser.newPage(screen);
  page.on("request", (request) => seen.requests.push(request.url()));
  page.on("pageerror", (error) => seen.faults.push(String(error)));
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && seen.faults.push(message.text()));
  page.setDefaultTimeout(120_000);
  await page.goto(pathToFileURL(file).href);
  return page;
}

/** What a panel shows: the raw values of its figures, their texts, and the rows of its table. */
const shown = (page, id) => page.evaluate((name) => {
  const figures = [...document.querySelectorAll(`#${name}-figures dd`)];
  return {
    at: document.getElementById(`${name}-at`).dataset.value,
    figures: Object.fromEntries(figures.map((one) => [one.dataset.figure, one.dataset.value])),
    texts: Object.fromEntries(figures.map((one) => [one.dataset.figure, one.textContent])),
    rows: [...document.querySelectorAll(`#${name}-rows li`)].map((row) => [...row.children].map((cell) => cell.textContent)),
    candidates: document.querySelectorAll(`#${name}-candidates input`).length,
  };
}, id);

const seen = { requests: [], faults: [], sliders: {}, wider: {}, drawn: {} };
for (const [name, screen] of Object.entries(SCREENS)) {
  const page = await opened(screen, seen);
  seen.wider[name] = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  seen.drawn[name] = await page.evaluate(() => [...document.querySelectorAll("canvas")].map((one) => {
    const { data } = one.getContext("2d").getImageData(0, 0, one.width, one.height);
    return [one.id, new Set(new Uint32Array(data.buffer)).size];
  }));
  await page.screenshot({ path: join(out, `${name}.png`), fullPage: true });
  if (name === "desktop") {
    for (const [id, wanted] of Object.entries(JSON.parse(positions))) {
      seen.sliders[id] = { start: await shown(page, id), moved: [] };
      await page.focus(`#${id}-slider`);
      for (const index of wanted) {
        await page.keyboard.press("Home");
        for (let i = 0; i < index; i++) await page.keyboard.press("ArrowRight");
        seen.sliders[id].moved.push(await shown(page, id));
        const others = page.locator(`#${id}-candidates input`);
        if (await others.count() > 1) {
          await others.nth(1).check();
          seen.sliders[id].other = await shown(page, id);
          await page.focus(`#${id}-slider`);
        }
      }
    }
    const switched = page.locator("input[name=cost][value=ms]");
    if (await switched.count() && await switched.isEnabled()) await switched.check();
    await page.emulateMedia({ colorScheme: "dark" }); // while it is open
    await page.pdf({ path: join(out, "print.pdf"), format: "A4" });
  }
  if (name === "dark") {
    await page.emulateMedia({ media: "print" });
    await page.screenshot({ path: join(out, "dark_print.png"), fullPage: true });
  }
  await page.close();
}
await browser.close();
console.log(JSON.stringify(seen));
