//! Owns the answer to a request that cannot be granted: a status, and a JSON object that says what was wrong and what to
//! do.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, body::Bytes};
use serde::Serialize;

/// Why a request is not granted.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Refusal {
    status: StatusCode,
    said: Said,
    retry_after: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Said {
    error: String,
    advice: String,
    /// Who leads, if it is not this coordinator.
    #[serde(skip_serializing_if = "Option::is_none")]
    leader: Option<String>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, error: impl Into<String>, advice: impl Into<String>) -> Self {
        let said = Said { error: error.into(), advice: advice.into(), leader: None };
        Self { status, said, retry_after: None }
    }

    /// It may be tried again after so many seconds.
    pub(super) fn after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// It is to be tried there.
    fn at(mut self, leader: String) -> Self {
        self.said.leader = Some(leader);
        self
    }

    /// This coordinator does not lead.
    pub(super) fn stands_by(leader: String) -> Self {
        let (what, advice) = match leader.as_str() {
            "" => ("nobody leads now".to_owned(), "try again in a moment"),
            leader => {
                let advice = "ask the leader's own HTTP address; \"leader\" is where it takes clients' calls";
                (format!("this coordinator stands by; {leader} leads"), advice)
            }
        };
        Self::new(StatusCode::SERVICE_UNAVAILABLE, what, advice).after(1).at(leader)
    }

    /// It is about to end.
    pub(super) fn stops() -> Self {
        let advice = "try again in a moment, here or at a coordinator that stood by";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the coordinator is stopping", advice).after(1)
    }

    /// The address names nothing.
    pub(super) fn unknown(what: impl Into<String>) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            what,
            "GET /models tells what there is, GET /openapi.json what can be asked",
        )
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.said)).into_response();
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// What a connection is told that is one too many.
pub(super) fn too_many_connections() -> Bytes {
    let body = "{\"error\":\"there are too many connections\",\"advice\":\"try again in a moment; keep one connection \
                for all requests\"}";
    let head = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\nConnection: close";
    Bytes::from(format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
}
