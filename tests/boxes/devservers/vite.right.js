// ANCHOR: all
export default {
  server: {
    proxy: {
      '/ticks': {
        target: 'http://127.0.0.1:8698',
        configure: (proxy) => proxy.on('proxyRes', breakOff),
      },
    },
  },
};

// ANCHOR: break_off
// Without it, a page waits forever when the program has stopped in the middle of a stream.
function breakOff(answer, _request, response) {
  answer.on('close', () => answer.complete || response.destroy());
}
// ANCHOR_END: break_off
// ANCHOR_END: all
