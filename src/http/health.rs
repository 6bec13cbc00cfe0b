//! Owns whether the coordinator is well, for those who restart it or send it requests.

use super::App;
use super::refusal::Refusal;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How long the event loop may take to answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// `GET /healthz`: the event loop answers. One that stands by is well.
pub(super) async fn is_well(State(app): State<Arc<App>>) -> Result<Json<Value>, Refusal> {
    match app.front.census(PATIENCE).await {
        Some(_) => Ok(Json(json!({"status": "ok"}))),
        None => {
            let what = format!("the event loop did not answer in {PATIENCE:?}");
            Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, what, "see the coordinator's log; restart it"))
        }
    }
}

/// `GET /readyz`: it leads, so that it can be asked for anything.
pub(super) async fn is_ready(State(app): State<Arc<App>>) -> Result<Json<Value>, Refusal> {
    let shown = app.shown.borrow().clone();
    app.leads(&shown)?;
    Ok(Json(json!({"status": "leads"})))
}
