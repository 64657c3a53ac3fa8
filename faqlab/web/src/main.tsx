import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./App";
import { applyColours } from "./config";
import { getSite } from "./site";
import "./styles.css";

applyColours(document.documentElement.style);

const site = await getSite();
if (site) document.title = site.title;

const page = document.getElementById("page");
if (page) {
  createRoot(page).render(
    <StrictMode>
      <App site={site} details={new URLSearchParams(window.location.search).has("details")} />
    </StrictMode>,
  );
}
