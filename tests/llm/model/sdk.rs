//! The official SDKs of the protocol take the stand-in for a real model.

use std::fs::File;
use std::process::Stdio;

use serde_json::{Value, json};
use tests::{Program, root, within};
use tokio::process::Command;

use super::client::{Streamed, answer, ask, content, json_of, question};

#[tokio::test]
#[ignore = "needs the openai SDKs: tests/sdk/install"]
async fn the_python_sdk_streams_from_it() {
    let mut python = Command::new(root().join("target/sdk/python/bin/python"));
    python.arg("-");
    assert_the_sdk_gets_what_plain_http_gets(python, "sdk.py").await;
}

#[tokio::test]
#[ignore = "needs the openai SDKs: tests/sdk/install"]
async fn the_node_sdk_streams_from_it() {
    let mut node = Command::new("node");
    // A script from stdin imports from the folder in which Node runs.
    node.args(["--input-type=module", "-"]);
    node.current_dir(root().join("target/sdk/node"));
    assert_the_sdk_gets_what_plain_http_gets(node, "sdk.mjs").await;
}

/// Runs a script with an SDK against the model, and compares what it got with what plain
/// HTTP gets.
async fn assert_the_sdk_gets_what_plain_http_gets(mut sdk: Command, script: &str) {
    const PROMPT: &str = "Why does a heartbeat find “readers” that left? 👩‍🚀";
    const MOST: u64 = 40;
    let model = Program::start("model").await;
    let script = File::open(root().join("tests/sdk").join(script)).unwrap();
    sdk.args([PROMPT, &MOST.to_string()]).stdin(script).stderr(Stdio::piped());
    // An empty environment, above all without a proxy, leads the SDK nowhere else.
    sdk.env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    sdk.env("OPENAI_BASE_URL", format!("{}/v1", model.url));
    sdk.env("OPENAI_API_KEY", "none").kill_on_drop(true);
    let said = within("what the SDK got", sdk.output()).await;
    let said = said.expect("tests/sdk/install installs it");
    let stderr = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "{stderr}");
    let got: Value = serde_json::from_slice(&said.stdout).expect(&stderr);

    let list = json_of(model.get("/v1/models").await).await;
    let whole = answer(&model, &question(PROMPT, json!({}))).await;
    let asked = question(PROMPT, json!({ "max_tokens": MOST }));
    let cut = answer(&model, &asked).await;
    let stream = Streamed::from(&model, &asked).await;
    let unknown = question(PROMPT, json!({ "model": "nobody" }));
    let refused = ask(&model, unknown.to_string()).await;
    let status = refused.status().as_u16();
    let refused = json_of(refused).await;
    let expected = json!({
        "models": [list["data"][0]["id"]],
        "whole": {
            "content": content(&whole),
            "finish_reason": whole["choices"][0]["finish_reason"],
            "usage": whole["usage"],
        },
        "stream": {
            "role": "assistant",
            "tokens": stream.tokens(),
            "finish_reason": stream.finish_reason(),
            "usage": cut["usage"],
        },
        "pieces": {
            "content": content(&cut),
            "finish_reason": cut["choices"][0]["finish_reason"],
        },
        "unknown": {
            "type": "NotFoundError",
            "status": status,
            "error": refused["error"],
        },
    });
    assert_eq!(got, expected);
}
