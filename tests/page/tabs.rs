//! Many tabs and one stream: `shared.js`, and the same with a SharedWorker.
