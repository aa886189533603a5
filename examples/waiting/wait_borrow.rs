//! A task that borrows from the function that starts it: the compiler refuses it.
//!
//!     cargo check -p waiting --features wrong --example wait_borrow
//!
//! The page `async-tasks.md` explains it.

#[tokio::main]
async fn main() {
    // ANCHOR: main
    let name = String::from("ann");
    let task = tokio::spawn(async { println!("{name} waits") });
    // ANCHOR_END: main
    println!("{}", task.await.is_ok());
}
