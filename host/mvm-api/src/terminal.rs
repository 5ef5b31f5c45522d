//! A process's terminal over WebSocket: its bytes both ways.

use axum::{
    extract::{
        State, WebSocketUpgrade,
        ws::{Message, WebSocket},
    },
    response::Response,
};
use mvm_contract::SandboxId;
use mvm_runtime::{Process, ProcessEvent, ProcessInput};
use serde::Deserialize;

use crate::{
    extract::PathOf,
    frames::Event,
    problem::Problem,
    route::connect,
    shapes::command::{ResultShape, SizeShape},
    state::Api,
};

/// What a client says in a text message.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
enum Word {
    Resize(SizeShape),
}

/// Join a process's terminal, by WebSocket: binary messages are its bytes both ways.
#[utoipa::path(
    get, path = "/v1/sandboxes/{id}/processes/{process}/terminal",
    params(
        ("id" = String, Path, description = "Name or identifier"),
        ("process" = u64, Path, description = "Its number"),
    ),
    responses(
        (status = 101, description = "Binary messages are the terminal's bytes, text messages events"),
        Problem
    )
)]
pub(crate) async fn terminal(
    State(api): State<Api>,
    PathOf((id, process)): PathOf<(String, u64)>,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let upgrade = upgrade.map_err(|rejection| Problem::invalid(rejection.body_text()))?;
    let sandbox = connect(&api, &id)?;
    let process = sandbox.attach(process, 0, 0, true).await?;
    let sandbox = sandbox.id().clone();
    Ok(upgrade.on_upgrade(move |socket| join(api, sandbox, process, socket)))
}

async fn join(api: Api, _sandbox: SandboxId, mut process: Process, mut socket: WebSocket) {
    let Some(mut input) = process.take_input() else {
        return;
    };
    loop {
        let message = tokio::select! {
            event = process.next_event() => match event {
                Ok(Some(ProcessEvent::Output { bytes, .. })) => {
                    Message::Binary(bytes.to_vec().into())
                }
                Ok(Some(ProcessEvent::Gap { stream, from, to })) => {
                    text(&Event::Gap { stream, from, to })
                }
                Ok(Some(ProcessEvent::Exited(exit))) => {
                    let account = process.take_account();
                    let result = ResultShape::new(&exit, account.as_ref());
                    let _ = socket.send(text(&Event::Exited { result })).await;
                    return;
                }
                Ok(None) => return,
                Err(error) => {
                    let problem = Problem::from(error);
                    let _ = socket.send(text(&Event::Failed { problem })).await;
                    return;
                }
            },
            heard = socket.recv() => match heard {
                Some(Ok(message)) => {
                    if take(&mut input, message).await.is_err() {
                        return;
                    }
                    continue;
                }
                _ => return,
            },
            () = api.ended() => return,
        };
        if socket.send(message).await.is_err() {
            return;
        }
    }
}

fn text(event: &Event<'_>) -> Message {
    Message::Text(serde_json::to_string(event).unwrap_or_default().into())
}

/// What was heard goes to the process; what has another form ends the connection.
async fn take(input: &mut ProcessInput, message: Message) -> Result<(), ()> {
    match message {
        Message::Binary(bytes) => input.write(&bytes).await.map_err(drop),
        Message::Text(text) => {
            let Word::Resize(SizeShape { columns, rows }) =
                serde_json::from_str(text.as_str()).map_err(drop)?;
            input.resize(columns, rows).await.map_err(drop)
        }
        Message::Ping(_) | Message::Pong(_) => Ok(()),
        Message::Close(_) => Err(()),
    }
}
