import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

export default defineConfig({
  // Relative, so that the page also works under a prefix, as behind Jupyter's proxy.
  base: "./",
  plugins: [react()],
  // Nothing inline: the token server's Content-Security-Policy lets the page run and show files of its own, and no more.
  // livekit-client alone is past Vite's default of 500 kB; the page is served from the same machine.
  build: { outDir: "dist", assetsInlineLimit: 0, modulePreload: { polyfill: false }, chunkSizeWarningLimit: 1000 },
});
