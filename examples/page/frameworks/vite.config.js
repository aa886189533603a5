// Builds the pages into dist/, from where `cargo run --example page` serves them.
import { svelte } from '@sveltejs/vite-plugin-svelte';
import vue from '@vitejs/plugin-vue';
import { defineConfig } from 'vite';

const pages = ['react', 'naive', 'vue', 'svelte', 'htmx', 'datastar'];

// Development builds: only in these React's StrictMode mounts everything twice.
process.env.NODE_ENV = 'development';

export default defineConfig({
  base: './', // so that the pages also work under a prefix
  plugins: [svelte(), vue()],
  build: { rolldownOptions: { input: pages.map((name) => `${name}.html`) } },
});
