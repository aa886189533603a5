//! The module in React, Vue and Svelte, and fragments of HTML by SSE.
