//! The streams of `faults` as a test asks for them.

use serde_json::Value;
use tests::Program;

/// Gives a stream a script.
pub async fn put(faults: &Program, id: &str, script: &str) {
    let request = faults.request("PUT", &format!("/streams/{id}"));
    let answer = faults.send(request.body(script.to_string())).await;
    assert!(answer.status().is_success(), "{script}: {}", answer.status());
}

/// The attempts that the server has seen of a stream.
pub async fn attempts(faults: &Program, id: &str) -> Vec<Value> {
    let answer = faults.get(&format!("/streams/{id}/attempts")).await;
    assert_eq!(answer.status(), 200);
    let seen: Value = answer.json().await.unwrap();
    seen["attempts"].as_array().unwrap().clone()
}

/// One member of each attempt.
pub fn all<'a>(attempts: &'a [Value], member: &str) -> Vec<&'a Value> {
    attempts.iter().map(|attempt| &attempt[member]).collect()
}

/// The status of an error answer, and the reason in its JSON.
pub async fn why(
    faults: &Program,
    request: reqwest::RequestBuilder,
) -> (u16, String) {
    let answer = faults.send(request.header("accept", "application/json")).await;
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap();
    (status, body["error"]["brief"].as_str().unwrap().to_string())
}

/// The faults that the program has, as it names them itself.
pub async fn known(faults: &Program) -> Vec<String> {
    let (status, reason) = why(faults, faults.request("GET", "/faults/none")).await;
    assert_eq!(status, 404);
    let names = reason.strip_prefix("the faults are: ").unwrap();
    names.split(", ").map(str::to_string).collect()
}
