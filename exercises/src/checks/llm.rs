//! The exercises of `llm.md`. These checks are the model server, too.

use std::time::Duration;

use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::events::{Event, Events};
use crate::fault::{Fault, Seconds, expect};
use crate::server::{Asked, Server};
use crate::subject::{Subject, has_status};

checks! {
    "llm-relay-from-nothing" => relay_from_nothing;
    "llm-answer-from-nothing" => answer_from_nothing;
    "llm-continue" => continues;
    "llm-cut-characters" => cut_characters;
    "llm-nobody-reads" => nobody_reads;
    "llm-half-an-answer" => half_an_answer;
    "llm-cap" => cap;
    "llm-system-prompt" => system_prompt;
    "llm-usage-event" => usage_event;
    "llm-stop-button" => stop_button;
    "llm-second-model" => second_model;
    "llm-trim" => trim;
    "llm-ask-again" => ask_again;
}

const PROMPT: &str = "What is a heartbeat?";
/// The address of `model` in the chapter. A server that the check has not started asks there.
const MODEL: &str = "127.0.0.1:8699";
/// How soon the model server must be asked, and be left by a program that knows why.
const SOON: Duration = Duration::from_secs(2);
/// How soon the model server must be left when nobody reads: five seconds, and some more on
/// a machine that is busy.
const GRACE: Duration = Duration::from_secs(9);
const DONE: &str = "data: [DONE]\n\n";

/// The model server, which the program is told to ask.
async fn model(program: &mut Subject, variable: &str) -> Result<Server, Fault> {
    if program.folder().is_err() {
        return Server::at(MODEL).await;
    }
    let model = Server::start().await?;
    let path = match variable {
        "UPSTREAM" => "/v1/chat/completions",
        _ => "/v1",
    };
    program.set(variable, &model.url(path))?;
    Ok(model)
}

/// The model server of a program that has answers.
async fn model_of(program: &mut Subject) -> Result<Server, Fault> {
    model(program, "OPENAI_BASE_URL").await
}

/// An event with a chunk.
fn data(chunk: &Value) -> String {
    format!("data: {chunk}\n\n")
}

/// An event with a token, as model servers send it.
fn token(text: &str) -> String {
    data(&json!({ "choices": [{ "index": 0, "delta": { "content": text } }] }))
}

/// The event that says why the model has stopped.
fn finish() -> String {
    let end = json!({ "index": 0, "delta": {}, "finish_reason": "stop" });
    data(&json!({ "choices": [end] }))
}

/// Asks, and returns the path of the answer.
async fn ask(program: &mut Subject) -> Result<String, Fault> {
    let request = program.request(Method::POST, "/answers").await?;
    let response =
        program.send(request.json(&json!({ "prompt": PROMPT }))).await?;
    let location = response.headers().get(header::LOCATION);
    let location = location.and_then(|it| it.to_str().ok());
    let path = location.and_then(|it| response.url().join(it).ok());
    let status = response.status();
    match path {
        Some(path) if status == 201 => Ok(path.path().to_string()),
        _ => {
            let came = format!("{status}\nlocation: {}", location.unwrap_or(""));
            Err(Fault::new("address", "201 Created\nlocation: answers/…", came))
        }
    }
}

/// Asks, and returns the path of the answer, a reader of it, and the model server's side.
async fn answer(
    program: &mut Subject,
    model: &Server,
) -> Result<(String, Events, Asked), Fault> {
    let path = ask(program).await?;
    let events = program.events(&path).await?;
    Ok((path, events, asked(model).await?))
}

/// The question that the model server gets.
async fn asked(model: &Server) -> Result<Asked, Fault> {
    let asked = model.asked_within(SOON).await?;
    let should = "POST /v1/chat/completions";
    asked.ok_or_else(|| Fault::new("unasked", should, ""))
}

fn question(asked: &Asked) -> Result<Value, Fault> {
    let text = String::from_utf8_lossy(&asked.body);
    let wrong = |_| Fault::new("other", "JSON", &text);
    serde_json::from_slice(&asked.body).map_err(wrong)
}

/// The reader gets this token now.
async fn gets(reader: &mut Events, name: &str, text: &str) -> Result<(), Fault> {
    let should = format!("event: token\ndata: {}", json!({ "text": text }));
    let event = reader.next().await;
    let event = event.map_err(|fault| Fault { should: should.clone(), ..fault })?;
    let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
    let is_it = event.event == "token" && data["text"] == text;
    expect(name, is_it, should, &event)
}

/// The reader gets an event of this type now.
async fn ends(reader: &mut Events, name: &str, kind: &str) -> Result<Event, Fault> {
    let should = format!("event: {kind}");
    let event = reader.next().await;
    let event = event.map_err(|fault| Fault { should: should.clone(), ..fault })?;
    expect(name, event.event == kind, should, &event)?;
    Ok(event)
}

/// The program leaves the model server within this time.
async fn leaves(asked: &mut Asked, time: Duration) -> Result<(), Fault> {
    let is_left = asked.is_left(time).await;
    let came = format!("open for {}", Seconds(time));
    expect("goes-on", is_left, "the connection is closed", came)
}

/// A reader that comes back with this id.
async fn back(
    program: &mut Subject,
    path: &str,
    id: &str,
) -> Result<Events, Fault> {
    let request = program.request(Method::GET, path).await?;
    program.events_of(request.header("last-event-id", id)).await
}

async fn relay_from_nothing(relay: &mut Subject) -> Result<(), Fault> {
    let model = model(relay, "UPSTREAM").await?;
    let message = json!({ "role": "user", "content": PROMPT });
    let sent =
        json!({ "model": "stand-in", "stream": true, "messages": [message] });
    let request = relay.request(Method::POST, "/").await?.json(&sent);
    let answers = async {
        let mut asked = asked(&model).await?;
        asked.stream(&token("One")).await?;
        Ok::<_, Fault>(asked)
    };
    let (asked, answer) = tokio::join!(answers, relay.events_of(request));
    let mut asked = asked?;
    let came = question(&asked)?;
    expect("other", came == sent, &sent, came)?;
    let late = |fault: Fault| match &*fault.name {
        "silent" => Fault::new("held", token("One").trim_end(), fault.came),
        _ => fault,
    };
    let mut reader = answer.map_err(late)?;
    for text in ["One", " two"] {
        let event = reader.next().await.map_err(late)?;
        let should = token(text);
        let is_it = event.data == should.trim_start_matches("data: ").trim_end();
        expect("held", is_it, should.trim_end(), &event)?;
        asked.write(token(" two")).await?;
    }
    drop(reader);
    // Some servers notice that a reader has left when they write.
    for _ in 0..20 {
        asked.write(token(" more")).await?;
        if asked.is_left(SOON / 20).await {
            return Ok(());
        }
    }
    leaves(&mut asked, SOON).await
}

async fn answer_from_nothing(program: &mut Subject) -> Result<(), Fault> {
    let model = model_of(program).await?;
    let (path, mut ann, mut asked) = answer(program, &model).await?;
    let content = &question(&asked)?["messages"][0]["content"];
    expect("other", content == PROMPT, PROMPT, content)?;
    asked.stream(&token("One")).await?;
    gets(&mut ann, "token", "One").await?;
    let mut bob = program.events(&path).await?;
    gets(&mut bob, "other", "One").await?;
    drop((ann, bob));
    asked.write(token(" two")).await?;
    let mut ann = back(program, &path, "1").await?;
    gets(&mut ann, "from-start", " two").await?;
    asked.write(finish() + DONE).await?;
    let done = ends(&mut ann, "other", "done").await?;
    stays_away(program, &path, &done).await?;
    breaks_off(program, &model).await?;
    left(program, &model).await
}

/// Nothing will follow this event, and a reader that comes back is told so.
async fn stays_away(
    program: &mut Subject,
    path: &str,
    last: &Event,
) -> Result<(), Fault> {
    let request = program.request(Method::GET, path).await?;
    let request = request.header("last-event-id", &last.id);
    has_status(&program.send(request).await?, 204)
}

/// An answer that ends without a word is a failure.
async fn breaks_off(program: &mut Subject, model: &Server) -> Result<(), Fault> {
    let (_, mut ann, mut asked) = answer(program, model).await?;
    asked.stream(&token("One")).await?;
    gets(&mut ann, "other", "One").await?;
    asked.close().await?;
    ends(&mut ann, "looks-whole", "failure").await?;
    Ok(())
}

/// The model server is left when nobody reads, and not before.
async fn left(program: &mut Subject, model: &Server) -> Result<(), Fault> {
    let (path, mut ann, mut asked) = answer(program, model).await?;
    asked.stream(&token("One")).await?;
    gets(&mut ann, "other", "One").await?;
    drop(ann);
    let is_left = asked.is_left(SOON / 2).await;
    let came = format!("closed within {}", Seconds(SOON / 2));
    expect("too-soon", !is_left, "open for 5 s", came)?;
    let mut ann = program.events(&path).await?;
    gets(&mut ann, "other", "One").await?;
    drop(ann);
    leaves(&mut asked, GRACE).await
}

async fn continues(program: &mut Subject) -> Result<(), Fault> {
    let model = model_of(program).await?;
    let (path, mut ann, mut asked) = answer(program, &model).await?;
    asked.stream(&(token("One") + &token(" two"))).await?;
    gets(&mut ann, "other", "One").await?;
    drop(ann);
    let mut ann = back(program, &path, "1").await?;
    gets(&mut ann, "from-start", " two").await?;
    let mut bob = back(program, &path, "99").await?;
    let unknown = |fault| Fault { name: "unknown".into(), ..fault };
    gets(&mut bob, "unknown", "One").await.map_err(unknown)
}

async fn cut_characters(program: &mut Subject) -> Result<(), Fault> {
    let model = model_of(program).await?;
    let (_, mut ann, mut asked) = answer(program, &model).await?;
    let text = "perché 👩‍🚀";
    let all = token(text) + &finish() + DONE;
    let place = all.find('👩').map_or(0, |place| place + 2);
    let (one, two) = all.as_bytes().split_at(place);
    asked.stream(one).await?;
    // The network may join what is written at once.
    let none = ann.within(SOON / 10).await?;
    let came = none.map(|event| event.to_string()).unwrap_or_default();
    expect("torn", came.is_empty(), "", came)?;
    asked.write(two).await?;
    gets(&mut ann, "torn", text).await?;
    ends(&mut ann, "torn", "done").await?;
    Ok(())
}

async fn nobody_reads(program: &mut Subject) -> Result<(), Fault> {
    let model = model_of(program).await?;
    left(program, &model).await
}

async fn half_an_answer(program: &mut Subject) -> Result<(), Fault> {
    let model = model_of(program).await?;
    breaks_off(program, &model).await?;
    let (_, mut ann, mut asked) = answer(program, &model).await?;
    asked.stream(&(token("One") + DONE)).await?;
    gets(&mut ann, "other", "One").await?;
    ends(&mut ann, "no-reason", "failure").await?;
    Ok(())
}

async fn cap(program: &mut Subject) -> Result<(), Fault> {
    let model = model_of(program).await?;
    let (_, _, asked) = answer(program, &model).await?;
    let question = question(&asked)?;
    let cap =
        question["max_completion_tokens"].as_u64().or(question["max_tokens"].as_u64());
    let should = r#""max_completion_tokens": 100"#;
    expect("no-cap", cap.is_some_and(|cap| cap > 0), should, &question)
}

async fn system_prompt(program: &mut Subject) -> Result<(), Fault> {
    let model = model_of(program).await?;
    let (_, _, asked) = answer(program, &model).await?;
    let question = question(&asked)?;
    let messages = &question["messages"];
    let list = messages.as_array().map_or(&[][..], Vec::as_slice);
    let place = |role| list.iter().position(|one| one["role"] == role);
    let system = place("system");
    let should = r#"[{"role":"system",…},{"role":"user",…}]"#;
    expect("no-system", system.is_some(), should, messages)?;
    let user = place("user").map(|place| &list[place]["content"]);
    expect("lost", user.is_some_and(|it| it == PROMPT), should, messages)?;
    expect("order", system == Some(0), should, messages)
}

async fn usage_event(program: &mut Subject) -> Result<(), Fault> {
    let model = model_of(program).await?;
    let (_, mut ann, mut asked) = answer(program, &model).await?;
    let options = &question(&asked)?["stream_options"];
    let wants = options["include_usage"] == true;
    let should = r#""stream_options": {"include_usage": true}"#;
    expect("unwanted", wants, should, options)?;
    let usage = json!({ "prompt_tokens": 4, "completion_tokens": 7 });
    let bill = data(&json!({ "choices": [], "usage": usage }));
    asked.stream(&(token("One") + &finish() + &bill)).await?;
    gets(&mut ann, "other", "One").await?;
    let came = ann.within(SOON).await?.unwrap_or_default();
    let data: Value = serde_json::from_str(&came.data).unwrap_or_default();
    let is_it = came.event == "usage" && data["completion_tokens"] == 7;
    expect("no-usage", is_it, format_args!("event: usage\ndata: {usage}"), &came)?;
    // The model server has not ended its stream.
    let early = ann.within(SOON / 10).await?;
    let came = early.map(|event| event.to_string()).unwrap_or_default();
    expect("over", came.is_empty() && !ann.ended(), "", came)?;
    asked.write(DONE).await?;
    ends(&mut ann, "over", "done").await?;
    Ok(())
}

async fn stop_button(program: &mut Subject) -> Result<(), Fault> {
    let model = model_of(program).await?;
    let (path, mut ann, mut asked) = answer(program, &model).await?;
    asked.stream(&token("One")).await?;
    gets(&mut ann, "other", "One").await?;
    let request = program.request(Method::DELETE, &path).await?;
    let status = program.send(request).await?.status();
    expect("no-stop", status.is_success(), "204 No Content", status)?;
    leaves(&mut asked, SOON).await?;
    ends(&mut ann, "other", "done").await?;
    // The button may be pressed twice.
    let again = program.request(Method::DELETE, &path).await?;
    program.send(again).await?;
    let all = program.events(&path).await?.rest().await?;
    let done = all.iter().filter(|event| event.event == "done").count();
    let came = all.iter().map(Event::to_string).collect::<Vec<_>>().join("\n\n");
    expect("twice", done == 1, "event: done (× 1)", came)
}

async fn second_model(program: &mut Subject) -> Result<(), Fault> {
    let second = Server::start().await?;
    program.set("OPENAI_SECOND_URL", &second.url("/v1"))?;
    let first = model_of(program).await?;
    let (_, mut ann, busy) = answer(program, &first).await?;
    busy.answer("503 Service Unavailable").await?;
    let asked = second.asked_within(SOON).await?;
    let should = "OPENAI_SECOND_URL: POST /v1/chat/completions";
    let mut asked = asked.ok_or_else(|| Fault::new("gave-up", should, ""))?;
    asked.stream(&(token("One") + &finish() + DONE)).await?;
    gets(&mut ann, "other", "One").await?;
    ends(&mut ann, "other", "done").await?;
    // Another error may come from a server that has begun to work.
    let (_, mut ann, broken) = answer(program, &first).await?;
    broken.answer("500 Internal Server Error").await?;
    let asked = second.asked_within(SOON / 4).await?;
    let came = asked.map(|asked| asked.head).unwrap_or_default();
    expect("twice", came.is_empty(), "event: failure", came)?;
    ends(&mut ann, "other", "failure").await?;
    Ok(())
}

async fn trim(program: &mut Subject) -> Result<(), Fault> {
    let model = model_of(program).await?;
    let (_, mut ann, mut asked) = answer(program, &model).await?;
    let all = token("Two") + &token(" things") + &token("\n- one");
    asked.stream(&(all + &finish() + DONE)).await?;
    for text in ["Two", " things", "\n- one"] {
        gets(&mut ann, "glued", text).await?;
    }
    Ok(())
}

async fn ask_again(program: &mut Subject) -> Result<(), Fault> {
    let model = model_of(program).await?;
    let (_, mut ann, mut asked) = answer(program, &model).await?;
    asked.stream(&token("One")).await?;
    gets(&mut ann, "other", "One").await?;
    asked.close().await?;
    let again = model.asked_within(SOON / 4).await?;
    let came = again.map(|asked| asked.head).unwrap_or_default();
    let came = came.lines().next().unwrap_or_default();
    expect("twice", came.is_empty(), "event: failure", came)?;
    ends(&mut ann, "other", "failure").await?;
    Ok(())
}
