source.addEventListener('done', () => source.close()); // or it comes back, and gets it all again
