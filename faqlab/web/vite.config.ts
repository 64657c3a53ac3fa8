import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

export default defineConfig({
  // Relative, so that the page also works under a prefix, for example behind Jupyter's proxy.
  base: "./",
  plugins: [react()],
  // Nothing inline: the token server's Content-Security-Policy allows only files from the same server.
  // livekit-client alone exceeds Vite's default limit of 500 kB.
  build: { outDir: "dist", assetsInlineLimit: 0, modulePreload: { polyfill: false }, chunkSizeWarningLimit: 1000 },
});
