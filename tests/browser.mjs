// Chromium without a window, as the tests of pages start it.
import { createRequire } from "node:module";

const { chromium } = createRequire(new URL("../deploy/web/package.json", import.meta.url))("playwright-core");

/** Starts it. Its shared memory is in files of /tmp: in many a container /dev/shm is too small, and it dies of that. */
export const launch = () => chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"],
});
