export default {
  devServer: {
    proxy: [{ context: ['/ticks'], target: 'http://127.0.0.1:8698' }],
  },
};
