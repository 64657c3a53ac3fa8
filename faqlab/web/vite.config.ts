import react from "@vitejs/plugin-react";
import { defineConfig, type Plugin } from "vite";

/**
 * What the built page may do. `ws:` and `wss:` reach whichever LiveKit server the token names. When that server refuses, livekit-client
 * asks it why over HTTP on the same address: loopback for a server on this machine, HTTPS for any other.
 */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "media-src 'self' blob: mediastream:",
  "connect-src 'self' ws: wss: https: http://127.0.0.1:* http://localhost:*",
  "base-uri 'none'",
  "form-action 'none'",
].join("; ");

/** Only in the build: Vite's development server needs the inline scripts that this policy forbids. */
function contentSecurityPolicy(): Plugin {
  return {
    name: "content-security-policy",
    apply: "build",
    transformIndexHtml: () => [
      {
        tag: "meta",
        attrs: { "http-equiv": "Content-Security-Policy", content: CONTENT_SECURITY_POLICY },
        injectTo: "head-prepend",
      },
    ],
  };
}

export default defineConfig({
  // Relative, so that the page also works under a prefix, as behind Jupyter's proxy.
  base: "./",
  plugins: [react(), contentSecurityPolicy()],
  // livekit-client alone is past Vite's default of 500 kB; the page is served from the same machine.
  build: { outDir: "dist", assetsInlineLimit: 0, modulePreload: { polyfill: false }, chunkSizeWarningLimit: 1000 },
});
