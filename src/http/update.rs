//! Owns `POST /`: what a learner outside has learnt goes into the model.

use super::parameters::{Change, tensors};
use super::refusal::Refusal;
use super::wanted::{Asked, Found, Wanted};
use super::{App, PERMIT};
use crate::coordinator::Unsaid;
use crate::jobs::Word;
use crate::model::Model;
use axum::Json;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::SemaphorePermit;
use tokio::time::timeout;

/// What a number takes as JSON, at most, with the space and line ends of programs that print nicely.
const BYTES_OF_A_NUMBER: usize = 40;
/// Bytes of a body beside its numbers.
const BESIDE: usize = 64 << 10;
/// How long a body may wait for others to be done.
const TURN: Duration = Duration::from_secs(10);
/// How long a change may take to be durable.
const DURABLE: Duration = Duration::from_secs(30);
/// The longest name of a change, in bytes.
const LONGEST_NAME: usize = 200;
/// Bodies above this are read in a thread.
const LARGE: usize = 256 << 10;
/// The other way to name a change.
const KEY: &str = "idempotency-key";

/// `POST /`
pub(super) async fn apply(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    asked: Asked,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    let wanted = Wanted::read(asked)?;
    let shown = app.shown.borrow().clone();
    let found = app.find(&shown, wanted.job)?;
    check_job(&found)?;
    check_type(&headers)?;
    let model = app.files.model(&found.version).await?;
    let (bytes, _permits) = app.receive(&headers, body, &model).await?;
    let change = read(bytes, model).await?;
    let id = name(&headers, change.id)?;
    let word = Word::Update {
        id,
        version: change.update.unwrap_or(found.version.number),
        parameters: change.parameters.into_iter().map(|numbers| numbers.0).collect(),
        rows: change.rows.unwrap_or(0),
    };
    let again = "send it again with the same id: it is not counted twice";
    let unavailable = |what: String| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, what, again).after(1);
    let said = timeout(DURABLE, app.front.say(found.id, word)).await.map_err(|_| {
        unavailable(format!("the store was not written in {DURABLE:?}; see the coordinator's log"))
    })?;
    let heard = said.map_err(|unsaid| match unsaid {
        Unsaid::Refused(reason) => {
            let advice = "get the newest version (GET /), learn from it, and send that change";
            Refusal::new(StatusCode::CONFLICT, reason, advice)
        }
        other => unavailable(other.to_string()),
    })?;
    if !heard.is_taken {
        return Err(unavailable("there is no room for it now".to_owned()));
    }
    Ok(Json(json!({"update": heard.version, "job": found.id.to_string()})))
}

fn check_job(found: &Found) -> Result<(), Refusal> {
    let (id, kind) = (found.id, &found.job.order.kind);
    if !found.job.is_at_work() {
        let advice = "GET / has its last model; name another with ?job=";
        return Err(Refusal::new(StatusCode::GONE, format!("job {id} has ended"), advice));
    }
    if !found.job.is_stream {
        let advice = "name one that does with ?job=, such as one that was started with client --async";
        let what = format!("job {id} ({kind}) takes no changes from outside");
        return Err(Refusal::new(StatusCode::CONFLICT, what, advice));
    }
    Ok(())
}

/// Pages of strangers can have browsers send forms and texts, but not this.
fn check_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let told = headers.get(header::CONTENT_TYPE).and_then(|told| told.to_str().ok()).unwrap_or("none");
    let told = told.split(';').next().unwrap_or_default().trim();
    if told.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let shown: String = told.chars().take(60).collect();
    let what = format!("the body is of the type {shown}");
    Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, what, "send Content-Type: application/json"))
}

impl App {
    /// The body, if it is no larger than a change of this model can be; and what it takes of the room for bodies.
    async fn receive(
        &self,
        headers: &HeaderMap,
        body: Body,
        model: &Model,
    ) -> Result<(Bytes, SemaphorePermit<'_>), Refusal> {
        let numbers: usize = tensors(model).map(|tensor| tensor.shape.iter().product::<usize>()).sum();
        let limit = numbers.saturating_mul(BYTES_OF_A_NUMBER).saturating_add(BESIDE).min(self.limits.body_budget);
        let too_large = || {
            let what = format!("the body has more than {limit} bytes, for a model of {numbers} parameters");
            Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, what, "send the change of one model, without spaces")
        };
        let told = headers.get(header::CONTENT_LENGTH).and_then(|told| told.to_str().ok()?.parse::<usize>().ok());
        let bytes = told.unwrap_or(limit);
        if bytes > limit {
            return Err(too_large());
        }
        let permits = u32::try_from(bytes.div_ceil(PERMIT)).unwrap_or(u32::MAX);
        let busy = || {
            let what = "other changes take all the room for bodies that there is";
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, what, "send it again in a moment").after(1)
        };
        let permits = timeout(TURN, self.bodies.acquire_many(permits)).await.map_err(|_| busy())?;
        let permits = permits.map_err(|_| Refusal::stops())?;
        let time = self.limits.body_time;
        let received = timeout(time, to_bytes(body, limit)).await.map_err(|_| {
            let what = format!("the body did not come in {time:?}");
            Refusal::new(
                StatusCode::REQUEST_TIMEOUT,
                what,
                "send it again, faster; with an id it is not counted twice",
            )
        })?;
        let cut =
            |e: &axum::Error| Refusal::new(StatusCode::BAD_REQUEST, format!("the body: {e}"), "send all of it");
        let bytes = received.map_err(|e| if is_too_long(&e) { too_large() } else { cut(&e) })?;
        Ok((bytes, permits))
    }
}

fn is_too_long(error: &axum::Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.to_string().contains("length limit exceeded") {
            return true;
        }
        cause = error.source();
    }
    false
}

async fn read(bytes: Bytes, model: Arc<Model>) -> Result<Change, Refusal> {
    if bytes.len() < LARGE {
        return Change::read(&bytes, &model);
    }
    let read = tokio::task::spawn_blocking(move || Change::read(&bytes, &model));
    read.await.map_err(|_| Refusal::stops())?
}

/// The name of a change; drawn if the learner gave none.
fn name(headers: &HeaderMap, id: Option<String>) -> Result<String, Refusal> {
    let advice = "name each change once, in its id or in the header Idempotency-Key, by 1 to 200 bytes";
    let wrong = |what: &str| Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, what, advice));
    let key = match headers.get(KEY).map(|key| key.to_str()) {
        Some(Err(_)) => return wrong("the Idempotency-Key is no text"),
        Some(Ok(key)) => Some(key.to_owned()),
        None => None,
    };
    match (id, key) {
        (Some(id), Some(key)) if id != key => wrong("the id and the Idempotency-Key differ"),
        (Some(name), _) | (None, Some(name)) if name.is_empty() || name.len() > LONGEST_NAME => {
            wrong("the name of the change is empty or too long")
        }
        (Some(name), _) | (None, Some(name)) => Ok(name),
        (None, None) => Ok(format!("{:032x}", rand::random::<u128>())),
    }
}
