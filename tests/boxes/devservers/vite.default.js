export default {
  server: { proxy: { '/ticks': 'http://127.0.0.1:8698' } },
};
