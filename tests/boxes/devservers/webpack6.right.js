export default {
  devServer: {
    compress: false, // else `compression` holds a stream back
    proxy: [{ context: ['/ticks'], target: 'http://127.0.0.1:8698' }],
  },
};
