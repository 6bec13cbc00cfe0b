//! Owns the answers that have models in them: the newest as the original system told it, lists, and files.

use super::App;
use super::files;
use super::parameters::tensors;
use super::refusal::Refusal;
use super::wanted::{Asked, Awaited, Found, Wanted};
use crate::coordinator::{ShownJob, ShownVersion};
use crate::data::shared::Blob;
use crate::ledger::State;
use crate::model::files::{FORMATS, Format};
use crate::types::{Digest, JobId};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State as Shared};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::sync::Arc;

/// `GET /`
pub(super) async fn newest(
    Shared(app): Shared<Arc<App>>,
    headers: HeaderMap,
    asked: Asked,
) -> Result<Response, Refusal> {
    let wanted = Wanted::read(asked)?;
    let found = match app.wait(wanted).await? {
        Awaited::Found(found) => found,
        // Nothing newer will ever come: how it ended is news.
        Awaited::NotYet(found) if !found.job.is_at_work() => found,
        Awaited::NotYet(found) => return Ok(not_yet(&found)),
    };
    let model = app.files.model(&found.version).await?;
    let Found { id, job, version } = &found;
    let tensors: Vec<Value> =
        tensors(&model).map(|tensor| json!({"name": tensor.name, "shape": tensor.shape})).collect();
    let told = json!({
        "update": version.number,
        "model": format!("http://{}{}", app.host(&headers), path(*id, version, "safetensors")),
        "job": id.to_string(),
        "state": state(&job.state),
        "digest": version.blob.digest().to_string(),
        "takes_updates": job.is_stream && job.is_at_work(),
        "tensors": tensors,
    });
    let bytes = told.to_string();
    let tag = Digest::of(bytes.as_bytes());
    let json = HeaderValue::from_static("application/json");
    Ok(tagged(&found, &headers, tag, json, || Body::from(bytes)))
}

/// `GET /models`
pub(super) async fn all(Shared(app): Shared<Arc<App>>, asked: Asked) -> Result<Json<Value>, Refusal> {
    let wanted = Wanted::read(asked)?;
    let shown = app.shown.borrow().clone();
    // A job that is not here, and one who does not lead, are told as everywhere.
    if let Some(id) = wanted.job {
        let (id, job) = app.job(&shown, JobId(id))?;
        return Ok(Json(json!({"jobs": [told(id, job)]})));
    }
    app.leads(&shown)?;
    let jobs: Vec<Value> = shown.jobs.iter().rev().map(|(&id, job)| told(id, job)).collect();
    Ok(Json(json!({"jobs": jobs})))
}

/// `GET /models/{job}`
pub(super) async fn of_job(
    Shared(app): Shared<Arc<App>>,
    Path(job): Path<String>,
) -> Result<Json<Value>, Refusal> {
    let shown = app.shown.borrow().clone();
    let (id, job) = app.job(&shown, parse(&job)?)?;
    Ok(Json(told(id, job)))
}

/// `GET /models/{job}/{file}`
pub(super) async fn version(
    Shared(app): Shared<Arc<App>>,
    Path((job, file)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let (number, format) = file
        .split_once('.')
        .and_then(|(number, extension)| Some((number.parse::<u64>().ok()?, known(extension)?)))
        .ok_or_else(|| {
            let ways = FORMATS.iter().map(|format| format.extension).collect::<Vec<_>>().join(", ");
            Refusal::unknown(format!("a model is <version>.<format>, with a format of: {ways}"))
        })?;
    let shown = app.shown.borrow().clone();
    let (id, job) = app.job(&shown, parse(&job)?)?;
    let version = job.versions.iter().find(|version| version.number == number).cloned().ok_or_else(|| {
        let kept: Vec<String> = job.versions.iter().map(|version| version.number.to_string()).collect();
        let kept = if kept.is_empty() { "none".to_owned() } else { kept.join(", ") };
        Refusal::unknown(format!("job {id} has no version {number}; it keeps the newest only: {kept}"))
    })?;
    let found = Found { id, job: job.clone(), version };
    send(&app, &headers, &found, format.extension).await
}

/// `GET /latest.{format}`
pub(super) async fn latest(
    app: Arc<App>,
    headers: HeaderMap,
    asked: Asked,
    format: &'static str,
) -> Result<Response, Refusal> {
    match app.wait(Wanted::read(asked)?).await? {
        Awaited::Found(found) => send(&app, &headers, &found, format).await,
        Awaited::NotYet(found) => Ok(not_yet(&found)),
    }
}

/// A version as a file.
async fn send(app: &App, headers: &HeaderMap, found: &Found, format: &'static str) -> Result<Response, Refusal> {
    let file: Arc<Blob> = app.files.file(&found.version, format).await?;
    let (tag, octets) = (file.digest(), HeaderValue::from_static("application/octet-stream"));
    let mut response = tagged(found, headers, tag, octets, || Body::from(files::bytes(file)));
    let name = format!("attachment; filename=\"{}-{}.{format}\"", found.id, found.version.number);
    if let Ok(name) = HeaderValue::from_str(&name) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

/// An answer with its tag; nothing but the tag if that is known already.
fn tagged(
    found: &Found,
    headers: &HeaderMap,
    tag: Digest,
    content: HeaderValue,
    body: impl FnOnce() -> Body,
) -> Response {
    let tag = format!("\"{tag}\"");
    let is_known =
        headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|tags| tags.to_str().ok()).any(|tags| {
            tags.split(',')
                .map(|known| known.trim().trim_start_matches("W/"))
                .any(|known| known == "*" || known == tag)
        });
    let mut response = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, content)], body()).into_response()
    };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    // Numbers of jobs begin again with another store: what is kept is to be asked for.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    name(found, &mut response);
    response
}

/// There is nothing newer.
fn not_yet(found: &Found) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    name(found, &mut response);
    response
}

/// Says in the head which version it is.
fn name(found: &Found, response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert("roundtable-update", HeaderValue::from(found.version.number));
    headers.insert("roundtable-job", HeaderValue::from(found.id.0));
}

fn told(id: JobId, job: &ShownJob) -> Value {
    let version = |version: &ShownVersion| {
        let formats = FORMATS.iter().map(|format| path(id, version, format.extension)).collect::<Vec<_>>();
        json!({"update": version.number, "digest": version.blob.digest().to_string(), "files": formats})
    };
    json!({
        "job": id.to_string(),
        "kind": job.order.kind,
        "dataset": job.order.corpus.name(),
        "state": state(&job.state),
        "takes_updates": job.is_stream && job.is_at_work(),
        "versions": job.versions.iter().rev().map(version).collect::<Vec<_>>(),
    })
}

fn path(id: JobId, version: &ShownVersion, format: &str) -> String {
    format!("/models/{id}/{}.{format}", version.number)
}

fn known(extension: &str) -> Option<&'static Format> {
    FORMATS.iter().find(|format| format.extension == extension)
}

fn parse(job: &str) -> Result<JobId, Refusal> {
    let shown: String = job.chars().take(40).collect();
    job.parse().map(JobId).map_err(|_| Refusal::unknown(format!("there is no job '{shown}' here")))
}

/// How a job stands, in a word.
pub(super) fn state(state: &State) -> &'static str {
    match state {
        State::Running => "running",
        State::Done { .. } => "done",
        State::Failed { .. } => "failed",
        State::Cancelled => "cancelled",
    }
}

impl App {
    /// Where the caller has found this server.
    fn host(&self, headers: &HeaderMap) -> String {
        let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte);
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let host = host.filter(|host| !host.is_empty() && host.len() <= 255 && host.bytes().all(is_good));
        host.map_or_else(|| self.address.to_string(), str::to_owned)
    }
}
