export default {
  devServer: {
    compress: false, // else `compression` holds a stream back
    proxy: [
      {
        context: ['/ticks'],
        target: 'http://127.0.0.1:8698',
        onProxyReq: leave,
        onProxyRes: breakOff,
      },
    ],
  },
};

// Without it, the program writes for a page that is closed.
function leave(question, _request, response) {
  response.on('close', () => question.destroy());
}

function breakOff(answer, _request, response) {
  answer.on('close', () => answer.complete || response.destroy());
}
